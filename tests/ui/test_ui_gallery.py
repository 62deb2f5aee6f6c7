"""The gallery and the reference picker in JupyterLab: mouse, keyboard alone, a thousand items."""

import re

from playwright.sync_api import Locator, expect

from tests.helpers.lab import Lab, Open

EVIL = "<img src=x onerror=alert(1)>"

MAKE = """
import io
import numpy as np
from PIL import Image
from onnxshap_widgets import Gallery, ReferencePicker, ReferenceSet

def png(i):
    file = io.BytesIO()
    Image.new("RGB", (96, 96), f"hsl({(37 * i) % 360}, 60%, 55%)").save(file, "PNG")
    return file.getvalue()

def tiles(count, first="item"):
    return [(png(i), f"{first} {i}", f"detail of {i}") for i in range(count)]
"""


def gallery(lab: Lab, cell: int = 1) -> Locator:
    return lab.output(cell).locator(".ox-gallery")


def chosen(root: Locator, places: str) -> None:
    expect(root).to_have_attribute("data-chosen", places)
    ticked = root.locator("[aria-checked='true']")
    expect(ticked).to_have_count(len(places.split()))


def focused(lab: Lab) -> str:
    found: str = lab.page.evaluate("document.activeElement.getAttribute('aria-label') ?? ''")
    return found


def test_one_is_chosen_by_mouse_and_by_arrow_keys(notebook: Open) -> None:
    lab = notebook([MAKE, "g = Gallery(tiles(30), label='samples'); g", "g"], size=(700, 900))
    root, second = gallery(lab), gallery(lab, 2)
    group = root.get_by_role("radiogroup", name="samples")
    expect(group.get_by_role("radio")).to_have_count(30)
    chosen(root, "0")

    group.get_by_role("radio", name="item 3,").click()
    chosen(root, "3")
    chosen(second, "3")
    lab.until("g.chosen == [3]")

    tops = group.get_by_role("radio").evaluate_all("all => all.map(tile => tile.offsetTop)")
    columns = tops.count(tops[0])
    before = lab.cells()
    for key, place in (
        ("ArrowRight", 4),
        ("ArrowDown", 4 + columns),
        ("ArrowLeft", 3 + columns),
        ("ArrowUp", 3),
        ("End", 29),
        ("Home", 0),
        ("ArrowLeft", 0),
    ):
        lab.page.keyboard.press(key)
        lab.until(f"g.chosen == [{place}]")
        chosen(root, str(place))
        assert focused(lab).startswith(f"item {place},")
    for key in ("a", "b", "x", "d", "d", "1"):
        lab.page.keyboard.press(key)
    assert lab.cells() == before

    lab.run("g.chosen = [7]")
    chosen(root, "7")
    expect(group.locator("[tabindex='0']")).to_have_count(1)
    expect(group.locator("[tabindex='0']")).to_have_attribute("aria-label", re.compile("item 7,"))

    lab.run(f"g.show([(None, {EVIL!r}, {EVIL!r}), (png(1), 'short', '')])")
    for one in (root, second):
        chosen(one, "0")
        expect(one.get_by_role("radio")).to_have_count(2)
        expect(one.get_by_text(EVIL).first).to_be_visible()
    expect(root.locator("img")).to_have_count(1)
    lab.run("g.show([])")
    expect(root.get_by_role("radio")).to_have_count(0)
    chosen(root, "")


RGB = """(name) => {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.querySelector(".ox-gallery").append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}"""


def test_several_are_ticked_and_all_looks_well(notebook: Open) -> None:
    shown = [
        MAKE,
        "g = Gallery(tiles(9), multiple=True, label='references'); g",
        "s = Gallery(tiles(12), label='samples'); s",
        "t = Gallery([(None, f'row {i}', '0.12, -1.3, 4, 0.7, 12, …') for i in range(5)]); t",
    ]
    lab = notebook(shown, scale=2)
    root = gallery(lab)
    boxes = root.get_by_role("group", name="references").get_by_role("checkbox")
    expect(boxes).to_have_count(9)
    boxes.first.focus()
    for key in ("Space", "ArrowRight", "ArrowRight", "Enter"):
        lab.page.keyboard.press(key)
    lab.until("g.chosen == [0, 2]")
    chosen(root, "0 2")
    lab.page.keyboard.press("Space")
    lab.until("g.chosen == [0]")
    boxes.nth(2).click()
    boxes.nth(6).click(modifiers=["Shift"])
    lab.until("g.chosen == [0, 2, 3, 4, 5, 6]")
    lab.page.keyboard.press("Tab")  # one stop, whatever there is to tick
    assert not root.evaluate("root => root.contains(document.activeElement)")

    expect(gallery(lab, 2).locator("img")).to_have_count(12)
    ring = "tile => getComputedStyle(tile.querySelector('.ox-face')).outlineColor"
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        expect(lab.page.locator("#jupyterlab-splash")).to_have_count(0)
        lab.screenshot(f"gallery-{theme}")
        tile = gallery(lab, 2).get_by_role("radio").first
        assert tile.evaluate(ring) == lab.page.evaluate(RGB, "--ox-accent")
    expect(root.locator("[aria-checked='false'] img").first).to_have_css("filter", "grayscale(1)")
    expect(root.locator("[aria-checked='true'] img").first).to_have_css("filter", "none")
    box = gallery(lab, 3).get_by_role("radio").first.bounding_box()
    assert box is not None
    assert box["height"] < 26 < 300 < box["width"]  # without a picture, one line an item


def test_a_thousand_items_are_loaded_as_they_come_into_view(notebook: Open) -> None:
    lab = notebook([MAKE, "g = Gallery(tiles(1000), label='samples'); g"])
    root = gallery(lab)
    tiles, pictures = root.get_by_role("radio"), root.locator("img")
    expect(tiles).to_have_count(1000)
    expect(pictures.first).to_be_visible()
    assert pictures.count() < 200
    box = root.bounding_box()
    assert box is not None
    assert box["height"] <= 266

    tiles.first.focus()
    scrolled = lab.page.evaluate("document.scrollingElement.scrollTop")
    lab.page.keyboard.press("End")
    lab.until("g.chosen == [999]")
    last = tiles.last.locator("img")
    expect(last).to_be_in_viewport()
    assert last.evaluate("img => img.decode().then(() => img.naturalWidth)") == 96
    assert lab.page.evaluate("document.scrollingElement.scrollTop") == scrolled
    assert pictures.count() < 400


def test_the_picker_ticks_references_in_and_out(notebook: Open) -> None:
    lab = notebook(
        [
            MAKE,
            "sets = [ReferenceSet(n, {'x': np.arange(m * 2.0).reshape(m, 2) + m}, 'a note')"
            f" for n, m in (('blurred', 9), ({EVIL!r}, 3))]\n"
            "p = ReferencePicker(sets, pictures=lambda s: tiles(s.size, s.name)); p",
        ]
    )
    output, root = lab.output(1), gallery(lab)
    boxes = root.get_by_role("checkbox")
    expect(boxes).to_have_count(9)
    boxes.nth(4).click()
    lab.until("p.value.name == 'blurred (8 of 9)'")
    expect(output.get_by_text("8 references")).to_be_visible()
    expect(output.get_by_text(lab.value("p.value.short_hash"))).to_be_visible()

    output.get_by_role("button", name="none").click()
    expect(output.get_by_text("None is ticked: still compared with blurred (8 of")).to_be_visible()
    output.get_by_role("button", name="all").click()
    lab.until("p.value is sets[0]")
    lab.screenshot("picker")

    output.get_by_label("references", exact=True).select_option(f"{EVIL} (3)")
    lab.until("p.value is sets[1]")
    expect(boxes).to_have_count(3)
    expect(root.get_by_text(f"{EVIL} 0")).to_be_visible()
    boxes.first.click()
    lab.until("p.value.size == 2")
