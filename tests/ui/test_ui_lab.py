"""The harness itself: it runs cells, reads values, and sees what it must not let pass.

And what every widget builds on: keys stay out of JupyterLab, colours follow its theme.
"""

import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.helpers.lab import Open, Server, leaves, opening

# What a test can do -------------------------------------------------------------------------------


def test_cells_run_and_values_are_read(notebook: Open) -> None:
    lab = notebook(["import os, sys", "x = 6 * 7"])
    assert lab.run("print('said'); x") == "said\n42"
    assert lab.cells() == ["import os, sys", "x = 6 * 7", "print('said'); x"]
    assert lab.value("[x, 'y', None]") == [42, "y", None]
    assert lab.value("[sys.executable, os.getcwd()]") == [sys.executable, str(lab.folder)]

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        lab.run("1 / 0")
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        lab.run_all()
    with pytest.raises(AssertionError, match="y: NameError: name 'y' is not defined"):
        lab.value("y")

    lab.reopen()
    expect(lab.output(2)).to_contain_text("said")
    with pytest.raises(AssertionError, match="NameError"):
        lab.value("x")


# What a page may not do ---------------------------------------------------------------------------

OUTSIDE = "https://example.com"
FAULTS = {  # what must be said: how it is planted
    "console error: logged": "console.error('logged')",
    "page error: thrown": "setTimeout(() => { throw new Error('thrown') })",
    "page error: refused": "void Promise.reject(new Error('refused'))",
    f"{OUTSIDE}/fetch": f"fetch('{OUTSIDE}/fetch').catch(() => 0)",
    f"{OUTSIDE}/picture": f"new Image().src = '{OUTSIDE}/picture'",
    "wss://example.com/socket": "void new WebSocket('wss://example.com/socket')",
    f"{OUTSIDE}/frame": f"""document.body.append(Object.assign(document.createElement('iframe'),
        {{srcdoc: "<script>fetch('{OUTSIDE}/frame')</script>"}}))""",
    f"{OUTSIDE}/worker": f"""void new Worker(URL.createObjectURL(new Blob(
        ["fetch('{OUTSIDE}/worker').catch(() => 0)"])))""",
}


def unsaid(text: str) -> list[str]:
    return [said for said in FAULTS if said not in text]


def test_every_fault_is_seen_and_fails_the_test(
    server: Server, browser: Browser, shots: Path
) -> None:
    def planted() -> None:
        with opening(server, browser, shots) as notebook:
            lab = notebook([], run=False)
            assert len(server.api("kernels")) == 1
            lab.watch.verify()
            for script in FAULTS.values():
                lab.page.evaluate(f"() => {{ {script} }}")
            for _ in range(100):
                if unsaid("\n".join(lab.watch.faults)):
                    lab.page.wait_for_timeout(50)

    with pytest.raises(AssertionError) as caught:
        planted()
    assert unsaid(str(caught.value)) == []
    assert server.api("kernels") == []


@pytest.mark.parametrize(
    ("url", "out"),
    [
        ("http://127.0.0.1:8888/lab", False),
        ("ws://localhost:8888/api", False),
        ("blob:http://127.0.0.1:8888/1-2", False),
        ("data:text/plain,x", False),
        ("https://127.0.0.1.example.com", True),
        ("http://localhost@example.com", True),
        ("wss://example.com", True),
        ("http://192.168.0.1", True),
    ],
)
def test_addresses_off_the_machine(url: str, out: bool) -> None:
    assert leaves(url) is out


# What every widget builds on ----------------------------------------------------------------------

COUNTER = """
import anywidget, ipywidgets, traitlets
from onnxshap_widgets.static_files import STATIC

class Counter(anywidget.AnyWidget):
    _esm = (STATIC / "lib.js").read_text() + '''
export default { render({ model, el }) {
  const button = element("button", { "aria-label": "more" }, String(model.get("count")));
  button.onclick = () => { model.set("count", model.get("count") + 1); model.save_changes(); };
  const root = element("div", { className: "onnxshap", "data-count": 0 }, button);
  if (model.get("keeps")) keepKeys(root);
  el.append(root);
  return onChange(model, ["count"], () => {
    root.dataset.count = button.textContent = model.get("count");
  });
} };'''
    _css = (STATIC / "common.css").read_text()
    count = traitlets.Int(0).tag(sync=True)
    keeps = traitlets.Bool(True).tag(sync=True)

counter = Counter()
choice = ipywidgets.Dropdown(options=["one", "two"])
ipywidgets.VBox([counter, choice])
"""


def test_values_travel_both_ways_and_colours_follow_the_theme(notebook: Open) -> None:
    lab = notebook([COUNTER], theme="dark")
    root, button = lab.output().locator(".onnxshap"), lab.output().get_by_label("more")
    button.click()
    expect(root).to_have_attribute("data-count", "1")
    lab.until("counter.count == 1")
    lab.run("counter.count = 7")
    button = lab.output(0).get_by_label("more")
    expect(button).to_have_text("7")
    lab.output(0).get_by_role("combobox").select_option("two")
    lab.until("choice.value == 'two'")
    with pytest.raises(AssertionError, match=r"not within 0.1 s: counter.count == 1"):
        lab.until("counter.count == 1", seconds=0.1)

    root = lab.output(0).locator(".onnxshap")
    assert brightness(style(root, "color")) > 0.7
    assert style(root, "backgroundColor") == "rgba(0, 0, 0, 0)"
    assert lab.screenshot("counter-dark").stat().st_size > 1000
    lab.set_theme("light")
    assert brightness(style(root, "color")) < 0.3


def style(of: Locator, name: str) -> str:
    found: str = of.evaluate("(e, name) => getComputedStyle(e)[name]", name)
    return found


def brightness(colour: str) -> float:
    """0 for black, 1 for white, of CSS's `rgb(r, g, b)` or `rgba(r, g, b, a)`."""
    return sum(float(v) for v in re.findall(r"[\d.]+", colour)[:3]) / 765


def test_keys_reach_jupyterlab_only_where_nobody_keeps_them(notebook: Open) -> None:
    lab = notebook([COUNTER])
    before = lab.cells()
    button = lab.output().get_by_label("more")
    for key in ["a", "b", "x", "ArrowUp", "ArrowDown", "Enter"]:
        button.press(key)
    expect(button).to_have_text("1")  # Enter is the button's own
    assert lab.cells() == before

    lab.run("Counter(keeps=False)")
    lab.output().get_by_label("more").press("a")
    assert len(lab.cells()) == len(before) + 2
