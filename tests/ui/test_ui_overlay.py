"""The overlay in a real notebook: controls, keys, pointer, and the page it is exported to."""

from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Locator, Page, expect

from onnxshap_widgets.overlay import Overlay
from tests.helpers.exported import opened
from tests.helpers.lab import Lab, Open, Say

HOSTILE = "<img src=x onerror=alert(1)></script>"
MADE = f"""
import numpy as np
from onnxshap_widgets.overlay import Overlay

rng = np.random.default_rng(0)
values = rng.normal(size=(3, 224, 224)).astype(np.float32)
values[:, 60:120, 80:150] += 3
photo = np.add.outer(np.arange(300), np.arange(300)).astype(float)
w = Overlay(values, photo, title={HOSTILE!r}, facts=[({HOSTILE!r}, "-1.5e-06")])
w
"""
SLOWEST = 40  # ms for a redraw: twice the bound, since the machine may be shared


def root_of(lab: Lab) -> Locator:
    return lab.output().locator(".ox-overlay")


def pixels(root: Locator) -> str:
    found: str = root.locator("canvas").evaluate("c => c.toDataURL()")
    return found


def drag(page: Page, canvas: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag between two places of the canvas, 0..1."""
    box = canvas.bounding_box()
    assert box is not None
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=3)
    page.mouse.up()


def test_controls_redraw_at_once_and_reach_the_kernel(notebook: Open, say: Say) -> None:
    lab = notebook([MADE])
    root = root_of(lab)
    expect(root.locator(".ox-title")).to_have_text(HOSTILE)
    expect(root.locator(".ox-facts dt").first).to_have_text(HOSTILE)
    expect(root.locator(".ox-facts dd").first).to_have_text("\u22121.5e\u221206")
    assert lab.page.locator("img[src=x]").count() == 0
    drawn = {pixels(root)}
    for label, choice, trait in [
        ("Attributions", "negative", "sign"),
        ("Attributions", "absolute", "sign"),
        ("Attributions", "signed", "sign"),
        ("Channels", "max-abs", "channel"),
        ("Channels", "1", "channel"),
        ("Cells", "4", "block"),
        ("Colours", "PuOr_r", "cmap"),
        ("Colours end at", "98", "percentile"),
    ]:
        root.get_by_label(label, exact=True).select_option(choice)
        expect(root).to_have_attribute(f"data-{trait}", choice)
        lab.until(f"str(w.{trait}).removesuffix('.0') == {choice!r}")
        drawn.add(pixels(root))
    assert len(drawn) == 8  # signed is drawn twice
    root.get_by_label("Opacity", exact=True).fill("0.4")
    root.get_by_label("uniform").check()
    expect(root).to_have_attribute("data-opacity", "0.4")
    lab.until("(w.opacity, w.uniform) == (0.4, True)")
    assert pixels(root) not in drawn

    root.get_by_label("Cells", exact=True).select_option("1")
    times = []
    for i in range(12):
        root.get_by_label("Opacity", exact=True).fill(f"{0.3 + i / 20:.2f}")
        expect(root).to_have_attribute("data-opacity", f"{0.3 + i / 20:.2f}".rstrip("0"))
        times.append(float(root.get_attribute("data-draw-ms") or "inf"))
    say(
        f"redraw of 224 x 224: median {np.median(times):.1f} ms, largest {max(times):.1f} ms, "
        "bar 20 ms"
    )
    assert np.median(times) < SLOWEST

    lab.run("w.limit = 1.5")
    root = lab.output(0).locator(".ox-overlay")
    expect(root).to_have_attribute("data-limit", "1.5")


def test_rectangles_and_keys(notebook: Open) -> None:
    lab = notebook([MADE])
    root, before = root_of(lab), lab.cells()
    canvas = root.locator("canvas")
    drag(lab.page, canvas, (0.25, 0.25), (0.75, 0.5))
    lab.until("w.selection")
    assert lab.value("[w.selection[k] for k in ('x0', 'y0', 'x1', 'y1')]") == [56, 56, 169, 113]
    exact = "values[:, 56:113, 56:169].sum(dtype=float)"
    assert abs(lab.value(f"float(w.selection['sum'] - {exact})")) < 1e-6
    share = f"float({exact} / values.sum(dtype=float))"
    assert abs(lab.value("w.selection['share']") - lab.value(share)) < 1e-9
    expect(root.locator(".ox-chosen")).to_contain_text("share of the total")

    canvas.press("Escape")
    lab.until("w.selection == {}")
    canvas.focus()
    for key in ["ArrowLeft", "ArrowUp", "Control+ArrowRight", "Shift+ArrowRight"]:
        canvas.press(key)
    for _ in range(2):
        canvas.press("Shift+ArrowDown")
    lab.until("w.selection")
    at = lab.value("[w.selection[k] for k in ('x0', 'y0', 'x1', 'y1')]")
    assert (at[2] - at[0], at[3] - at[1]) == (2, 3)
    expect(root.locator(".ox-readout")).to_contain_text(f"x {at[2] - 1}, y {at[3] - 1}")

    whole = pixels(root)
    canvas.press("+")
    canvas.press("+")
    expect(root).to_have_attribute("data-zoom", "2.25")
    near = pixels(root)
    root.get_by_label("Drag to move").click()
    drag(lab.page, canvas, (0.5, 0.5), (0.6, 0.6))
    assert len({whole, near, pixels(root)}) == 3
    canvas.press("0")
    expect(root).to_have_attribute("data-zoom", "1.00")
    for key in ["a", "b", "x", "d", "Delete", "Enter"]:
        canvas.press(key)
    assert lab.cells() == before

    exact = "values[:, {y0}:{y1}, {x0}:{x1}].sum(dtype=float)".format(**lab.value("w.selection"))
    lab.run(
        "values = values[:, ::-1] * 2\nfor k in range(10): w.update(values, facts=[('k', str(k))])"
    )
    root = lab.output(0).locator(".ox-overlay")
    expect(root.locator(".ox-facts dd").first).to_have_text("9")
    assert abs(lab.value(f"float(w.selection['sum'] - {exact})")) < 1e-6
    expect(root).to_have_attribute("data-zoom", "1.00")


def test_odd_maps_and_two_views_of_one(notebook: Open) -> None:
    lab = notebook([MADE, "w"])
    first, second = (lab.output(i).locator(".ox-overlay") for i in (0, 1))
    second.get_by_label("Attributions", exact=True).select_option("positive")
    expect(first).to_have_attribute("data-sign", "positive")
    lab.run("values[0, :9, :9] = np.nan; values[1, 100, 100] = np.inf; w.update(values)")
    expect(first).to_have_attribute("data-broken", "82")
    expect(first.locator(".ox-facts")).to_contain_text("82, hatched")
    lab.run("w.update(np.zeros((7, 5)))")
    expect(second.get_by_text("no attribution")).to_be_visible()
    expect(second.get_by_label("Channels", exact=True)).to_be_hidden()
    lab.run("w.update(rng.normal(size=(1500, 2048)), np.zeros((3000, 4096, 3), np.uint8))")
    expect(first.locator(".ox-facts")).to_contain_text("each cellsum of 2")
    expect(first.get_by_text("no attribution")).to_be_hidden()


def test_a_notebook_from_someone_else_shows_the_picture(notebook: Open) -> None:
    """It is not trusted, so nothing of ours runs; a still picture is safe."""
    lab = notebook([MADE])
    expect(root_of(lab)).to_be_visible()
    lab.command("docmanager:save")
    copy = lab.path.with_name("copy.ipynb")
    copy.write_text(lab.path.read_text().replace('"language_info"', '"copied": 1, "language_info"'))
    lab.page.goto(lab.page.url.replace(lab.path.name, copy.name))
    expect(lab.output(0).locator("img[src^='data:image/png']")).to_be_visible()


def test_the_exported_page_works_from_a_file(browser: Browser, tmp_path: Path, shots: Path) -> None:
    rng = np.random.default_rng(0)
    shown = Overlay(rng.normal(size=(3, 224, 224)), rng.random((224, 224)), title=HOSTILE, block=4)
    path = shown.to_html(tmp_path / "page.html")
    for width, theme in [(900, "light"), (900, "dark"), (400, "light")]:
        with opened(browser, path, width, color_scheme=theme) as page:
            root = page.locator(".ox-overlay")
            expect(root.locator(".ox-title")).to_have_text(HOSTILE)
            before = pixels(root)
            root.get_by_label("Opacity", exact=True).fill("0.4")
            expect(root).to_have_attribute("data-opacity", "0.4")
            assert pixels(root) != before
            drag(page, root.locator("canvas"), (0.1, 0.1), (0.6, 0.6))
            expect(root.locator(".ox-chosen")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            shots.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=shots / f"overlay-page-{width}-{theme}.png", full_page=True)
