"""The explorer as a person uses it: chosen, run, compared, looked into, saved."""

import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from playwright.sync_api import Locator, expect

import onnxshap
from tests.helpers.lab import Lab, Open, Say

FIXTURES = Path(__file__).parents[1] / "fixtures" / "xdnn"
LITE0 = """
import numpy as np
import onnxshap
from onnxshap.demo import assets
from PIL import Image, ImageOps

def prepare(photo):
    square = np.asarray(ImageOps.fit(photo.convert("RGB"), (224, 224)), np.float32)
    return ((square - 127) / 128).transpose(2, 0, 1)

labels = (assets() / "imagenet_classes.txt").read_text().splitlines()
photos = [assets() / "chelsea.png", assets() / "coffee.png"]
background = np.random.default_rng(0).normal(0, 0.3, (10, 3, 224, 224)).astype(np.float32)
"""
EXPLORE = """
e = onnxshap.explore(
    assets() / "efficientnet_lite0.onnx", photos, {"ten of noise": background}, labels, prepare
)
e
"""
MNIST = """
import numpy as np
import onnxshap
samples = np.load("samples.npz")
digits = samples["mnist_x"][:12].astype(np.float32) / 255
"""
RUN = "Explain"


def shoot(lab: Lab, name: str) -> None:
    lab.screenshot(name, lab.output().locator(".oxa-explorer").first)


def press(lab: Lab, name: str, index: int = -1) -> None:
    lab.output(index).get_by_role("button", name=name, exact=True).click()


def enter(lab: Lab, name: str, index: int = -1) -> None:
    lab.output(index).get_by_role("tab", name=name, exact=True).click()


def told(lab: Lab, text: str, index: int = -1, seconds: float = 60) -> Locator:
    found = lab.output(index).locator(".oxa-text", has_text=text)
    found.first.wait_for(timeout=seconds * 1000)
    return found


def test_lite0_from_a_photo_to_a_file(notebook: Open, say: Say) -> None:
    lab = notebook([LITE0, EXPLORE], size=(1400, 1150))
    out = lab.output()
    expect(out.get_by_role("radio", name="chelsea.png")).to_be_checked()
    expect(out.locator("select[multiple], select").filter(has_text="Egyptian cat")).to_be_visible()

    press(lab, RUN)
    clicked = time.monotonic()
    canvas = out.locator("canvas").first
    canvas.wait_for()
    first = time.monotonic() - clicked
    told(lab, "Explained against 10 references")
    say(f"first heatmap {first:.2f} s after the click, bar 3 s")
    assert first < 6
    told(lab, "Standard error")
    told(lab, "would bring it to 10 %")
    assert lab.value("float(abs(e.explanation.residual).max())") < 1e-4

    # Another class by searching, then another set: nothing is built again.
    out.get_by_placeholder("Search classes").fill("tiger cat")
    expect(out.locator(".oxa-classes option").filter(has_text="tiger cat")).to_have_count(1)
    out.locator(".oxa-classes select").select_option(index=1)
    lab.until("e.map.question is not None and e.map.question.target == 282", 30)
    built = "len(e.study._first)"
    before = lab.value(built)
    out.get_by_label("references", exact=True).select_option(label="blurred (9)")
    told(lab, "Explained against 9 references")
    assert lab.value(built) == before
    title = out.locator(".onnxshap", has_text="tiger cat").first
    expect(title).to_be_visible()
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        shoot(lab, f"explorer-map-{theme}")

    slider = out.get_by_label("Opacity").first
    slider.focus()
    slower = []
    for _ in range(5):
        lab.page.keyboard.press("ArrowLeft")
        root = out.locator("[data-draw-ms]").first
        slower.append(float(root.get_attribute("data-draw-ms") or "nan"))
    say(f"slider redraw {np.median(slower):.1f} ms, bar 20 ms")
    assert np.median(slower) < 40

    # Another sample, another method with its parameters.
    out.get_by_role("radio", name="coffee.png").click()
    lab.until("e.map.question.sample == 1 and e.explanation.complete", 30)
    out.get_by_label("Method", exact=True).select_option(label="Input x Gradient")
    told(lab, "Explained in")
    assert lab.value("e.explanation.method") == "input_x_gradient"
    out.get_by_label("Method", exact=True).select_option(label="DeepSHAP")
    told(lab, "Explained against 9 references")

    enter(lab, "Compare")
    expect(told(lab, "Standard error")).to_be_visible()  # always in view
    press(lab, "Compare")
    told(lab, "Choose two panels", seconds=90)
    shoot(lab, "explorer-compare-dark")
    lab.set_theme("light")
    shoot(lab, "explorer-compare-light")

    enter(lab, "X-Gradient")
    expect(out.locator(".oxa-badge")).to_contain_text("Bias-free: no", timeout=30_000)
    expect(out.locator(".oxa-table")).to_contain_text("clips at 6")
    shoot(lab, "explorer-xgradient-light")
    lab.set_theme("dark")
    shoot(lab, "explorer-xgradient-dark")

    enter(lab, "Graph")
    graph = out.locator("[data-load-ms]").first
    graph.wait_for(timeout=60_000)
    took = float(graph.get_attribute("data-load-ms") or "nan") / 1000
    say(f"graph of the explanation {took:.2f} s, bar 5 s")
    assert took < 10
    conv = lab.value("e.graph.view.nodes[0]")
    out.frame_locator("iframe").locator(f'[id="node-name-{conv}"] text').first.click()
    lab.until("e.graph.view.selected == e.graph.view.nodes[0]")
    expect(out.locator(".ox-facts").filter(has_text="forward")).to_be_visible()
    shoot(lab, "explorer-graph-dark")
    lab.set_theme("light")
    press(lab, "Sums over depth")
    lab.until("e.graph.view is not None and e.graph.view._profile", 60)
    lab.page.wait_for_timeout(1500)  # Netron lays it out again
    shoot(lab, "explorer-graph-light")

    enter(lab, "Save")
    for name, file in (
        ("One-shot ONNX", "explanation.onnx"),
        ("Figure, PNG", "explanation.png"),
        ("Arrays, NPZ", "explanation.npz"),
        ("Page, HTML", "explanation.html"),
    ):
        press(lab, name)
        told(lab, f"Wrote {file}")
        assert (lab.folder / file).stat().st_size > 1000
    shoot(lab, "explorer-save-light")
    lab.set_theme("dark")
    shoot(lab, "explorer-save-dark")

    saved = onnxshap.Explanation.load(lab.folder / "explanation.npz")
    session = onnxruntime.InferenceSession(
        lab.folder / "explanation.onnx", providers=["CPUExecutionProvider"]
    )
    names = [o.name for o in session.get_outputs()]
    found = session.run(["input/attribution"], {"input": saved.data})[0]
    assert "residual" in names
    largest = np.abs(saved.attributions).max()
    assert np.abs(np.squeeze(found) - np.squeeze(saved.attributions)).max() <= 1e-5 * largest


def test_an_x_dnn_is_certified_and_agrees(notebook: Open) -> None:
    files = [FIXTURES / "x_mnist.onnx", FIXTURES / "mnist.onnx", FIXTURES / "samples.npz"]
    lab = notebook([MNIST, "e = onnxshap.explore('x_mnist.onnx', digits); e"], files=files)
    out = lab.output()
    enter(lab, "X-Gradient")
    expect(out.locator(".oxa-badge")).to_contain_text("Bias-free: yes", timeout=30_000)
    press(lab, "Measure")
    told(lab, "One backward pass is enough: they agree to")
    shoot(lab, "explorer-xdnn")

    # Its twin with biases: named, stripped, certified, and then they agree as well.
    lab.run("twin = onnxshap.explore('mnist.onnx', digits); twin")
    out = lab.output()
    enter(lab, "X-Gradient")
    expect(out.locator(".oxa-badge")).to_contain_text("Bias-free: no", timeout=30_000)
    expect(out.locator(".oxa-table")).to_contain_text("adds a bias")
    press(lab, "Measure")
    told(lab, "They differ by up to")
    told(lab, "this is what X-Gradient misses")
    press(lab, "Strip biases")
    expect(out.locator(".oxa-badge")).to_contain_text("biases: yes", timeout=30_000)
    press(lab, "Measure")
    told(lab, "One backward pass is enough")


def test_cancel_ends_a_run_at_once_and_the_kernel_stays_free(notebook: Open, say: Say) -> None:
    many = "many = np.random.default_rng(1).normal(0, 0.3, (200, 3, 224, 224)).astype(np.float32)"
    explore = EXPLORE.replace('"ten of noise": background', '"many": many')
    lab = notebook([LITE0 + many, explore])
    press(lab, RUN)
    lab.output().locator("canvas").first.wait_for()
    assert lab.run("6 * 7") == "42"  # while it runs
    lab.until("e.map.job is not None and not e.map.job.done")
    clicked = time.monotonic()
    press(lab, "Cancel", 1)
    told(lab, "Cancelled.", 1)
    said = time.monotonic() - clicked
    assert lab.value("e.map.job.wait(0.5)") is True
    ended = time.monotonic() - clicked
    say(f"cancelled: told after {said:.2f} s, ended after {ended:.2f} s, bar 0.5 s")
    assert ended < 1.0
    assert lab.value("e.explanation.complete") is False
    assert 0 < lab.value("e.explanation.references") < 200
    press(lab, RUN, 1)  # and it can be run again
    lab.until("not e.map.job.done")
    press(lab, "Cancel", 1)


def test_two_explorers_in_a_notebook_do_not_mind_each_other(notebook: Open) -> None:
    files = [FIXTURES / "x_mnist.onnx", FIXTURES / "samples.npz"]
    lab = notebook(
        [
            MNIST,
            "a = onnxshap.explore('x_mnist.onnx', digits); a",
            "b = onnxshap.explore('x_mnist.onnx', digits[:4], {'black': 0 * digits[:1]}); b",
        ],
        files=files,
    )
    press(lab, RUN, 1)
    press(lab, RUN, 2)
    told(lab, "Explained", 1)
    told(lab, "Explained against 1 reference ", 2)
    lab.output(2).get_by_role("radio").nth(3).click()
    lab.until("b.map.question.sample == 3 and b.explanation.complete")
    assert lab.value("[a.map.question.sample, a.question.references.name]")[0] == 0
    assert lab.value("float(abs(a.explanation.attributions - b.explanation.attributions).max())")


def test_a_photo_of_twelve_megapixels(notebook: Open) -> None:
    large = "photos = [Image.open(assets() / 'chelsea.png').resize((4000, 3000))]"
    lab = notebook([LITE0 + large, EXPLORE])
    press(lab, RUN)
    told(lab, "Explained against 10 references")
    expect(lab.output().locator("canvas").first).to_be_visible()
    # A map as large as that is summed over squares, and says so.
    lab.run(
        "from onnxshap_widgets import Overlay\n"
        "rows = np.arange(3000, dtype=np.float32)[:, None]\n"
        "Overlay(np.broadcast_to(np.sin(rows / 300), (3000, 4000)), np.asarray(photos[0]))"
    )
    expect(lab.output().locator("canvas").first).to_be_visible()
    expect(lab.output()).to_contain_text("4 × 4")


def test_a_table_of_features(notebook: Open) -> None:
    files = [FIXTURES / "mlp.onnx", FIXTURES / "samples.npz"]
    cells = [
        "import numpy as np, onnxshap\nrows = np.load('samples.npz')['mlp_x']",
        "e = onnxshap.explore('mlp.onnx', rows[:20], rows[20:60], ['malignant', 'benign']); e",
    ]
    lab = notebook(cells, files=files)
    press(lab, RUN)
    told(lab, "Explained against 40 references")
    figure = lab.output().locator("img.oxa-figure")
    expect(figure).to_be_visible()
    assert "residual" in (figure.get_attribute("alt") or "")
    shoot(lab, "explorer-table")
    lab.output().get_by_role("radio").nth(1).click()
    lab.until("e.map.question.sample == 1 and e.explanation.complete")
    enter(lab, "Compare")
    press(lab, "Compare")
    told(lab, "Choose two panels")


def test_names_that_look_like_markup_are_shown_as_text(notebook: Open) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    files = [FIXTURES / "x_mnist.onnx", FIXTURES / "samples.npz"]
    cells = [
        MNIST + f"name = {hostile!r}",
        "sets = {name: 0 * digits[:2]}\n"
        "e = onnxshap.explore('x_mnist.onnx', digits, sets, [name + str(i) for i in range(10)]); e",
    ]
    lab = notebook(cells, files=files)
    opened: list[str] = []
    lab.page.on("dialog", lambda dialog: (opened.append(dialog.message), dialog.dismiss()))
    press(lab, RUN)
    told(lab, "Explained")
    enter(lab, "Compare")
    press(lab, "Compare")
    told(lab, "Choose two panels")
    expect(lab.output().get_by_text(hostile).first).to_be_attached()
    assert lab.output().locator("img[src=x]").count() == 0
    assert not opened


def test_errors_are_text_in_the_panel(notebook: Open, tmp_path: Path) -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 4])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 4])
    node = onnx.helper.make_node("Det2", ["x"], ["y"], name="strange", domain="odd")
    odd = onnx.helper.make_opsetid("odd", 1)
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18), odd])
    onnx.save(model, tmp_path / "odd.onnx")
    files = [tmp_path / "odd.onnx", FIXTURES / "x_mnist.onnx", FIXTURES / "samples.npz"]
    lab = notebook([MNIST, "e = onnxshap.explore('x_mnist.onnx', digits); e"], files=files)
    with pytest.raises(AssertionError, match=r"odd:Det2.* is not a registered"):
        lab.run("onnxshap.explore('odd.onnx', np.zeros((1, 4), np.float32))")
    # A method that refuses says so in the panel, and the explorer lives on.
    out = lab.output(1)
    out.get_by_label("Method", exact=True).select_option(label="Integrated Gradients")
    out.get_by_label("steps").fill("-3")
    lab.page.keyboard.press("Enter")
    press(lab, RUN, 1)
    told(lab, "InputError", 1)
    out.get_by_label("steps").fill("16")
    lab.page.keyboard.press("Enter")
    press(lab, RUN, 1)
    told(lab, "Explained", 1)


def test_a_reopened_notebook_shows_the_picture(notebook: Open) -> None:
    files = [FIXTURES / "x_mnist.onnx", FIXTURES / "samples.npz"]
    show = "e = onnxshap.explore('x_mnist.onnx', digits); e.run().wait(60); e"
    lab = notebook([MNIST, show], files=files)
    lab.output().locator(".oxa-explorer").first.wait_for()
    drawn = "e => getComputedStyle(e, '::after').content.startsWith('url')"
    assert not lab.output().locator(".onnxshap-still").evaluate(drawn)

    lab.reopen()  # one's own: trusted, but JupyterLab has kept no state of the widget
    assert lab.output().locator(".onnxshap-still").evaluate(drawn)
    expect(lab.output().get_by_text("Error displaying widget")).to_be_hidden()
    lab.screenshot("explorer-reopened", lab.output())
    gone = "widget model not found"  # ipywidgets may log that, and nothing else is let pass
    lab.watch.faults[:] = [fault for fault in lab.watch.faults if gone not in fault]

    lab.reopen(trusted=False)
    picture = lab.output().locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("i => i.naturalWidth") > 300
    assert not lab.output().locator("style").count()


def test_keys_stay_in_the_explorer(notebook: Open) -> None:
    files = [FIXTURES / "x_mnist.onnx", FIXTURES / "samples.npz"]
    lab = notebook([MNIST, "e = onnxshap.explore('x_mnist.onnx', digits); e"], files=files)
    out, before = lab.output(), lab.cells()
    controls = [
        out.locator(".oxa-classes select"),
        out.get_by_label("Method", exact=True),
        out.get_by_role("button", name="Explain", exact=True),
        out.get_by_role("checkbox", name="on every change"),
        out.get_by_role("tab", name="Compare", exact=True),
        out.get_by_role("radio").first,
    ]
    for control in controls:
        control.focus()
        for key in ("a", "b", "x", "ArrowDown", "1"):
            lab.page.keyboard.press(key)
        assert lab.cells() == before, control
    # Every control is reached by Tab, in the order it is read, and says what it is.
    named = lab.page.evaluate(
        """() => [...document.querySelectorAll(
             '.oxa-explorer :is(button, input, select, textarea, [tabindex="0"])')]
           .filter(e => e.checkVisibility())
           .filter(e => !(e.ariaLabel || e.labels?.length || e.innerText?.trim() || e.placeholder
                          || e.getAttribute('aria-labelledby') || e.title))
           .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert named == []
