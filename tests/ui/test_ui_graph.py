"""Netron inside the cell: what is drawn, chosen and told, without a server and by keyboard too."""

import pytest
from playwright.sync_api import FrameLocator, Locator, expect

from tests.helpers import models
from tests.helpers.lab import Lab, Open, Say

IMPORTS = """\
import onnxshap
from onnxshap_widgets.graph import GraphView
from tests.helpers import models"""
CNN = "view = GraphView(onnxshap.build(models.cnn(), 'deepshap'), title='A small CNN'); view"
SECONDS = 5  # in which the graph of Lite0's explanation must be there; twice that on a busy machine


def drawn(root: Locator) -> Locator:
    """Wait until the graph that was asked for last is there."""
    root.scroll_into_view_if_needed()
    expect(root).to_have_attribute("data-state", "shown", timeout=60_000)
    return root


def graph(lab: Lab, index: int = 0) -> tuple[Locator, FrameLocator]:
    root = drawn(lab.page.locator(".ox-graph").nth(index))
    return root, root.frame_locator("iframe")


def node(frame: FrameLocator, name: str) -> Locator:
    return frame.locator(f'[id="node-name-{name}"]')


def fact(root: Locator, label: str) -> Locator:
    return root.locator(f".ox-facts dt:text-is('{label}') + dd")


def test_choosing_nodes_with_the_mouse(notebook: Open) -> None:
    lab = notebook([IMPORTS, CNN])
    root, frame = graph(lab)
    count = lab.value("len(view.nodes)")
    assert root.get_attribute("data-nodes") == str(lab.value("len(view.shown)")) != str(count)
    assert root.get_attribute("data-boxed") == "true"
    colours = {"forward": "47, 109, 179", "backward": "194, 98, 27"}
    colours |= {"reference": "95, 127, 146", "seed": "123, 127, 134"}
    for side, colour in colours.items():
        path = frame.locator(f".node-item-type-ox-{side} path").first
        expect(path).to_have_css("fill", f"rgb({colour})")
        expect(frame.locator(f".ox-cluster-{side} text")).to_have_text(side)

    node(frame, "multiplier/relu0/Mul_0").locator("text").first.click()
    expect(root).to_have_attribute("data-selected", "multiplier/relu0/Mul_0")
    assert lab.value("view.selected") == "multiplier/relu0/Mul_0"
    expect(fact(root, "rule")).to_have_text("rescale")
    expect(fact(root, "formula")).to_contain_text("relu(x) + relu(r)")
    expect(fact(root, "here")).to_have_text("one for 10 nodes")
    expect(frame.locator(".ox-partner")).to_have_count(2)

    root.get_by_label("Go to the forward node relu0", exact=True).click()
    expect(root).to_have_attribute("data-selected", "relu0")
    expect(node(frame, "relu0")).to_have_class("node graph-node select")
    assert lab.value("view.selected") == "relu0"

    root.get_by_label("Show the layer of relu0").click()
    expect(root).to_have_attribute("data-nodes", "12")
    drawn(root)
    expect(root.get_by_role("status")).to_have_text(f"One layer: 12 of {count} nodes.")
    node(frame, "multiplier/relu0/Div_0").locator("text").first.click()
    root.get_by_role("button", name="Attributes and weights").click()
    bar = frame.locator("#sidebar-content")
    for text in ("backward", "rescale", "relu0", "relu(x) + relu(r)"):
        expect(bar).to_contain_text(text)
    expect(bar.get_by_role("textbox", name="onnxshap.rule")).to_have_count(1)
    frame.locator("#sidebar-closebutton").click()

    lab.run("view.focus('fc')")  # of another layer
    expect(root).to_have_attribute("data-selected", "fc")
    expect(node(drawn(root).frame_locator("iframe"), "fc")).to_have_class("node graph-node select")
    root.get_by_label("What to show").select_option("whole")
    expect(root).to_have_attribute("data-nodes", str(count))


def test_keyboard_alone_in_light_and_dark(notebook: Open) -> None:
    profile = """\
from onnxshap.depth import depth_profile
image = models.samples(models.cnn(), 3)["image"]
profile = depth_profile(models.cnn(), image[:1], image[1:])
view = GraphView(onnxshap.build(models.cnn(), "deepshap"), profile=profile); view"""
    lab = notebook([IMPORTS, profile])
    cells = lab.cells()
    root, frame = graph(lab)
    keys = lab.page.keyboard

    root.get_by_label("Search nodes").focus()
    keys.type("backward max")
    matching = lab.value("[n.name for n in view._anatomy.nodes.values() if n.rule == 'max']")
    expect(root.get_by_label("Nodes", exact=True).locator("option")).to_have_count(len(matching))
    keys.press("Tab")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    expect(root).to_have_attribute("data-selected", matching[1])
    expect(root.locator(".ox-node b")).to_have_text("MaxPool backward")

    depth = root.get_by_role("slider", name="Depth of the cut")
    depth.focus()
    keys.press("Home")
    expect(depth).to_have_attribute("aria-valuenow", "0")
    expect(root).to_have_attribute("data-selected", "")  # an input: no node makes it
    for _ in range(4):
        keys.press("ArrowRight")
    expect(depth).to_have_attribute("aria-valuenow", "4")
    expect(root).to_have_attribute("data-selected", "conv1")
    expect(root.get_by_role("img", name="Attributions of c1, 6 x 6")).to_be_visible()
    assert lab.value("[view.selected, view._cut]") == ["conv1", 4]
    assert lab.cells() == cells

    page, drawing = frame.locator("html"), frame.locator("#target")
    expect(drawing).to_have_css("background-color", "rgb(255, 255, 255)")
    lab.set_theme("dark")
    expect(page).to_have_css("color-scheme", "dark")
    expect(drawing).to_have_css("background-color", "rgb(33, 33, 33)")
    expect(frame.locator(".graph-item-input path").first).to_have_css("fill", "rgb(64, 64, 64)")
    lab.screenshot("graph-depth-dark", root)
    lab.set_theme("light")
    expect(page).to_have_css("color-scheme", "light")
    expect(frame.locator(".graph-item-input path").first).to_have_css("fill", "rgb(238, 238, 238)")


def test_several_views_and_names_that_are_markup(notebook: Open) -> None:
    hostile = """\
bad = "<img src=x onerror=alert(1)>"
model = models.mlp()
for n in model.graph.node[:1]: n.name = bad
model.graph.node[1].doc_string = model.graph.name = bad
other = GraphView(model, title=bad); other"""
    lab = notebook([IMPORTS, CNN, "view", hostile])
    _, first = graph(lab, 0)
    roots = [graph(lab, k)[0] for k in range(3)]
    shown = str(lab.value("len(view.shown)"))
    assert [r.get_attribute("data-nodes") for r in roots] == [shown, shown, "5"]
    node(first, "conv0").scroll_into_view_if_needed()
    node(first, "conv0").locator("text").first.click()
    expect(roots[1]).to_have_attribute("data-selected", "conv0")
    expect(roots[2]).to_have_attribute("data-selected", "")

    root, frame = graph(lab, 2)
    expect(root.locator(".ox-title")).to_have_text("<img src=x onerror=alert(1)>")
    root.get_by_label("Nodes", exact=True).select_option(index=0)
    expect(root.locator(".ox-node")).to_contain_text("<img src=x onerror=alert(1)>")
    root.get_by_role("button", name="Attributes and weights").click()
    expect(frame.locator("#sidebar-content")).to_contain_text("<img src=x onerror=alert(1)>")
    assert frame.locator("img").count() == root.locator("img").count() == 0


@pytest.mark.skipif(not models.LITE0.exists(), reason=f"{models.LITE0.name} is not there")
def test_lite0_is_there_in_seconds(notebook: Open, say: Say) -> None:
    build = "model = onnxshap.build(models.LITE0, 'deepshap')"
    lab = notebook([IMPORTS, build, "view = GraphView(model, title='EfficientNet-Lite0'); view"])
    root, _ = graph(lab)
    load, draw = (int(root.get_attribute(f"data-{k}-ms") or 0) for k in ("load", "draw"))
    count = lab.value("len(view.nodes)")
    say(
        f"graph of Lite0's explanation: {load} ms with Netron, bar {SECONDS} s, {draw} ms of them "
        f"to draw {root.get_attribute('data-nodes')} nodes for {count}"
    )
    assert load < 2 * 1000 * SECONDS
    assert f"{count} nodes, seconds" in root.get_by_label("What to show").inner_text()
    lab.screenshot("graph-lite0-light", root)
    lab.set_theme("dark")
    lab.screenshot("graph-lite0-dark", root)


def test_an_untried_netron_is_told_in_the_cell(notebook: Open) -> None:
    untried = "from onnxshap_widgets import netron_files as n; n.TESTED = (9, 0), (9, 1)"
    lab = notebook([IMPORTS, f"{untried}; n.version.cache_clear()", CNN])
    root = lab.page.locator(".ox-graph")
    expect(root).to_have_attribute("data-state", "failed")
    expect(root.locator(".ox-cover")).to_contain_text("onnxshap_widgets.graph.serve(model)")
