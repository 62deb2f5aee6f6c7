"""Netron as it is installed: every file that is needed, of a version that was tried."""

import gzip
import json
import re
from pathlib import Path

import pytest

from onnxshap_widgets import netron_files
from onnxshap_widgets.netron_files import MODULES, NetronError, packed, page, schemas

IMPORT = re.compile(r"(?:from\s+|import\()['\"]\./([\w-]+)\.js")


@pytest.fixture(scope="module")
def files() -> dict:
    return json.loads(gzip.decompress(packed()))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """What is known of the installed Netron, forgotten before and after."""
    netron_files.version.cache_clear()
    netron_files.packed.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    netron_files.version.cache_clear()
    netron_files.packed.cache_clear()


def test_what_is_sent_is_small_and_whole(files: dict) -> None:
    assert len(packed()) < 250e3
    assert list(files["modules"]) == list(MODULES)
    assert set(files["assets"]) == {"onnx-metadata.json"}


def test_every_static_import_is_among_the_modules(files: dict) -> None:
    for name, text in files["modules"].items():
        static = re.findall(r"^import .* from '\./([\w-]+)\.js'", text, re.M)
        assert set(static) <= set(MODULES), name


def test_known_slips_are_mended(files: dict) -> None:
    assert "entry.rx" not in files["modules"]["grapher"]
    assert "label.borderTop)) {" in files["modules"]["dagre"]
    assert netron_files.mended("dagre", "no such line") == "no such line"


def test_the_page_may_load_nothing(files: dict) -> None:
    text = files["page"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; script-src blob:; worker-src blob:;")
    assert "connect-src" not in policy
    assert "http" not in re.sub(r'(href|xmlns)="[^"]*"', "", policy)
    assert not re.search(r"<script|<link|javascript:", text)
    for name in ("target", "sidebar", "zoom-in-button", "logo-github", "message-text"):
        assert f'id="{name}"' in text
    assert "@media (prefers-color-scheme: dark)" in text


def test_a_page_of_another_make_is_refused() -> None:
    with pytest.raises(NetronError, match=r"has no index\.html as it was tried"):
        page("<html></html>", "")


def test_schemas_keep_names_and_categories_without_prose(files: dict) -> None:
    entries = json.loads(files["assets"]["onnx-metadata.json"])
    conv = [e for e in entries if e["name"] == "Conv"][-1]
    assert [i["name"] for i in conv["inputs"]] == ["X", "W", "B"]
    assert conv["category"] == "Layer"
    assert "description" not in json.dumps(conv)
    assert json.loads(schemas('[{"name": "A", "examples": [1]}]')) == [{"name": "A"}]


@pytest.mark.parametrize("found", ["9.2.5", "10.0.0", "8.1"])
def test_an_untried_version_is_refused(fresh: pytest.MonkeyPatch, found: str) -> None:
    fresh.setattr("importlib.metadata.version", lambda name: found)
    with pytest.raises(NetronError, match=r"was not tried.*netron>=9.3,<10.*graph.serve\(model\)"):
        packed()


def test_a_missing_netron_and_a_missing_file(fresh: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fresh.setattr(netron_files, "_folder", lambda: tmp_path)
    with pytest.raises(NetronError, match=r"has no index.html.*force-reinstall.*graph.serve"):
        packed()

    def missing(name: str) -> str:
        raise netron_files.importlib.metadata.PackageNotFoundError(name)

    fresh.setattr("importlib.metadata.version", missing)
    netron_files.version.cache_clear()
    with pytest.raises(NetronError, match="not installed: pip install"):
        packed()
