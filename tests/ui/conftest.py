"""Browser tests: files ``test_ui_*.py``, each test marked ``ui``, run one after another.

    def test_slider(notebook):
        lab = notebook(["from onnxshap_widgets import Overlay", "w = Overlay(...); w"])
        lab.output().get_by_label("opacity").fill("0.5")
        lab.until("w.opacity == 0.5")
        lab.screenshot("overlay")  # into the folder ONNXSHAP_SHOTS, else a temporary one

:class:`tests.helpers.lab.Lab` has the rest. Without playwright or Chromium the tests are skipped
with the reason; where the environment variable CI is set they fail instead.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers import lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent


class Skipped(pytest.Module):
    """A test file that is not even read: it may import what is not installed."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(lab.missing(), allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> object:
    if "playwright" in lab.missing() and not os.environ.get("CI"):
        return Skipped.from_parent(parent, path=module_path)
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("ui")


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> lab.Say:
    """Tell what was measured, beside its bar: printed at the end, whether tests pass or not."""
    return lambda text: record_property("measured", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    told = [v for r in reports if r.when == "call" for k, v in r.user_properties if k == "measured"]
    if told:
        terminalreporter.section("measured")
        for text in told:
            terminalreporter.line(str(text))


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    if reason := lab.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with lab.browsing() as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, browser: "Browser") -> Iterator[lab.Server]:
    with lab.serving(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the screenshots."""
    chosen = os.environ.get("ONNXSHAP_SHOTS")
    return Path(chosen) if chosen else tmp_path_factory.mktemp("shots")


@pytest.fixture
def notebook(server: lab.Server, browser: "Browser", shots: Path) -> Iterator[lab.Open]:
    """Open a notebook of these cells, run it, return its :class:`~tests.helpers.lab.Lab`."""
    with lab.opening(server, browser, shots) as notebook:
        yield notebook
