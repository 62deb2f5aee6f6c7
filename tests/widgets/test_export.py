import base64
import json
import re
from html.parser import HTMLParser

import ipywidgets
import numpy as np
import pytest

from onnxshap.errors import InputError
from onnxshap_widgets.compare import CompareGrid, Panel
from onnxshap_widgets.export import to_html
from onnxshap_widgets.overlay import Overlay

HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Tags of a page, and the text of its scripts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.scripts, self.title = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        last = self.tags[-1][0] if self.tags else ""
        if last == "script":
            self.scripts.append(data)
        if last == "title" and not self.title:
            self.title = data


def written(widget, tmp_path, **options):
    return Page(widget.to_html(tmp_path / "page.html", **options).read_text(encoding="utf-8"))


def test_a_page_holds_module_state_and_bytes(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    page = written(Overlay(array, title="cat", facts=[("sum", "+66")]), tmp_path)
    held = json.loads(page.scripts[0])
    assert "export default { render }" in held["module"]
    state = held["state"]
    assert state["title"] == page.title == "cat"
    assert state["_facts"] == [["sum", "+66"]]
    assert not {"layout", "_esm", "_css", "_model_name", "comm"} & set(state)
    sent = np.frombuffer(base64.b64decode(state["_values"]["$bytes"]), np.float32)
    np.testing.assert_array_equal(sent, array.ravel())


def test_bytes_are_found_in_lists(tmp_path):
    photo = np.full((2, 2), 7, np.uint8)
    made = CompareGrid([("", [Panel("a", np.ones((2, 2)), image=photo)])])
    state = json.loads(written(made, tmp_path).scripts[0])["state"]
    assert state["_photos"] == [{"$bytes": "BwcHBw=="}]


def test_no_text_ends_the_script_or_becomes_markup(tmp_path):
    overlay = Overlay(np.ones((2, 2)), title=HOSTILE, facts=[(HOSTILE, HOSTILE)])
    page = written(overlay, tmp_path)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert [attrs.get("src", "")[:22] for tag, attrs in page.tags if tag == "img"] == [
        "data:image/png;base64,"
    ]
    assert json.loads(page.scripts[0])["state"]["_facts"] == [[HOSTILE, HOSTILE]]
    assert page.title == HOSTILE


def test_a_page_may_ask_for_nothing(tmp_path):
    path = Overlay(np.ones((2, 2))).to_html(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|@import|url\(", text)


def test_an_existing_page_is_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")
    overlay = Overlay(np.ones((2, 2)))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            to_html(overlay, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert to_html(overlay, path, title="mine") == path
    assert "<title>mine</title>" in path.read_text(encoding="utf-8")


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match="a VBox has no page of its own"):
        to_html(ipywidgets.VBox(), tmp_path / "page.html")
    with pytest.raises(InputError, match="there is no folder"):
        Overlay(np.ones((2, 2))).to_html(tmp_path / "none" / "page.html")
