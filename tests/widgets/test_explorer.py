"""The explorer without a browser: its controls are set as a page would set them."""

import html
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from ipywidgets import HTML, DOMWidget
from ipywidgets.widgets.widget import _instances

import onnxshap
from onnxshap.errors import InputError
from onnxshap.explanation import counted
from onnxshap_widgets import Explorer, Study, explore
from onnxshap_widgets.explorer.map import EARLIER, trust
from onnxshap_widgets.explorer.parts import WorkPanel, write
from tests.helpers import models

FIXTURES = Path(__file__).parents[1] / "fixtures" / "xdnn"
LABELS = [f"digit <{i}>" for i in range(10)]


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return np.load(FIXTURES / "samples.npz")["mnist_x"][:6].astype(np.float32) / 255


@pytest.fixture
def explorer(digits: np.ndarray) -> Explorer:
    return explore(FIXTURES / "mnist.onnx", digits, {"black": 0 * digits[:2]}, LABELS)


def explained(explorer: Explorer) -> onnxshap.Explanation:
    job = explorer.run()
    assert job is not None
    assert job.wait(60)
    assert job.state == "done", job.error
    assert explorer.explanation is not None
    return explorer.explanation


def ended(panel: WorkPanel) -> None:
    """Wait for what the panel was told to do last."""
    assert panel.job is not None
    assert panel.job.wait(60)
    assert panel.job.state == "done", panel.job.error


def test_it_is_what_the_explainer_finds(explorer: Explorer, digits: np.ndarray) -> None:
    found = explained(explorer)
    own = onnxshap.Explainer(FIXTURES / "mnist.onnx", 0 * digits[:2], target="top1")(digits[:1])
    largest = np.abs(own.attributions).max()
    assert np.abs(found.attributions - own.attributions).max() <= 1e-6 * largest
    assert explorer.question.target == own.targets[0]
    assert explorer.map.view.overlay is not None
    assert explorer.map.view.overlay.title == f"digit <{own.targets[0]}>"
    assert "Explained against 2 references" in explorer.map.status.value


def test_it_is_made_on_demand_by_the_package(digits: np.ndarray) -> None:
    assert isinstance(onnxshap.explore(FIXTURES / "mnist.onnx", digits), Explorer)


def test_a_change_explains_again_once_there_was_a_first(explorer: Explorer) -> None:
    explorer.ask.samples.chosen = [1]
    assert explorer.map.job is None
    explained(explorer)
    explorer.ask.samples.chosen = [2]
    assert explorer.map.job is not None
    assert explorer.map.job.wait(60)
    assert explorer.map.question is not None
    assert explorer.map.question.sample == 2
    explorer.map.live.value = False
    job = explorer.map.job
    explorer.ask.samples.chosen = [3]
    assert explorer.map.job is job


def test_classes_are_found_by_name_or_number(explorer: Explorer) -> None:
    ask = explorer.ask
    first = ask.target.index
    ask.search.value = "<7>"
    listed = [ask.ranked[k].index for _, k in ask.classes.options]
    assert set(listed) == {first, 7}
    assert ask.target.index == first  # what is chosen stays, and stays listed
    ask.search.value = "3"
    assert 3 in [ask.ranked[k].index for _, k in ask.classes.options]
    ask.search.value = ""
    assert len(ask.classes.options) == 10
    for k in range(10):
        ask.classes.value = k
        assert explorer.question.target == ask.ranked[k].target


def test_methods_have_their_own_parameters_and_keep_them(explorer: Explorer) -> None:
    menu, picker = explorer.ask.method.menu, explorer.ask.method
    for name in picker.forms:
        menu.value = name
        assert explorer.question.method.name == name
        needs = explorer.question.method.needs_background
        assert (explorer.question.references is not None) == needs
    menu.value = "integrated_gradients"
    picker._fields["integrated_gradients"]["steps"].value = 7
    menu.value = "deepshap"
    menu.value = "integrated_gradients"
    assert explorer.question.method == onnxshap.methods.IntegratedGradients(7)


def test_what_cannot_be_asked_is_told_as_text(explorer: Explorer) -> None:
    explorer.ask.method.menu.value = "integrated_gradients"
    explorer.ask.method._fields["integrated_gradients"]["steps"].value = -3
    assert explorer.run() is None
    assert "InputError" in explorer.map.status.value
    assert "-3" in explorer.map.status.value
    assert 'role="alert"' in explorer.map.status.value


def test_what_fails_is_told_as_text(explorer: Explorer) -> None:
    explorer.ask.method.menu.value = "x_gradient"  # the net has biases
    job = explorer.run()
    assert job is not None
    assert job.wait(60)
    assert job.state == "failed"
    assert "not certified" in explorer.map.status.value
    assert explorer.map.cancel_button.disabled


def test_compare_makes_a_row_a_method_and_set(explorer: Explorer) -> None:
    compare = explorer.compare
    compare.enter()
    assert compare.sets.value == ("black",)
    compare.methods._boxes["expected_gradients"].value = False
    compare.sets._boxes["zeros"].value = True
    compare.classes.value = 2
    job = compare.run()
    assert job is not None
    assert job.wait(60)
    assert job.state == "done", job.error
    names = [name for name, _ in job.result]
    assert names == ["DeepSHAP, against black", "DeepSHAP, against zeros", "Input x Gradient"]
    best = [r.label for r in explorer.ask.ranked[:2]]
    assert all([p.title for p in panels] == best for _, panels in job.result)
    first, second = (panels[0].values for _, panels in job.result[:2])
    np.testing.assert_allclose(first, second, atol=1e-5)  # black is zero
    explorer.ask.samples.chosen = [1]
    compare.enter()
    assert compare.sets.value == ("black", "zeros")  # as they were ticked


def test_nothing_ticked_is_told(explorer: Explorer) -> None:
    compare = explorer.compare
    for box in compare.methods._boxes.values():
        box.value = False
    assert compare.run() is None
    assert "tick at least one method" in compare.status.value


def test_what_is_compared_is_what_was_asked_at_the_click(explorer: Explorer) -> None:
    compare = explorer.compare
    compare.enter()
    job = compare.run()
    assert job is not None
    explorer.ask.samples.chosen = [3]  # while it runs
    compare.methods._boxes["random"].value = True
    assert job.wait(60)
    assert job.state == "done", job.error
    assert compare.grid is not None
    assert compare.grid.title == "sample 0"
    assert len(job.result) == 3
    top = explorer.study.value(0, explorer.question.output).max()
    for _, panels in job.result:
        assert float(dict(panels[0].facts)["f(x)"]) == pytest.approx(top, rel=1e-3)


def test_a_tick_box_stays_itself_while_the_names_do(explorer: Explorer) -> None:
    explorer.compare.enter()
    before = explorer.compare.sets.children
    explorer.compare.enter()
    assert explorer.compare.sets.children == before
    explorer.ask.picker.gallery.chosen = [0]  # "black (1 of 2)" is another name
    explorer.compare.enter()
    assert explorer.compare.sets.children != before
    assert all(box.comm is None for box in before)


# Whose work it is ---------------------------------------------------------------------------------


def long(digits: np.ndarray) -> Explorer:
    """An explorer whose first run takes a while."""
    return explore(FIXTURES / "mnist.onnx", digits, {"many": np.repeat(digits, 2000, axis=0)})


def first_map(explorer: Explorer) -> None:
    """Explain, and wait for a map that still refines."""
    explorer.run()
    deadline = time.monotonic() + 30
    while explorer.map.progress.value == 0 and time.monotonic() < deadline:
        time.sleep(0.001)


def test_no_panel_cancels_what_another_does(digits: np.ndarray) -> None:
    explorer = long(digits)
    job = explorer.run()
    assert job is not None
    for tab in range(len(explorer.tabs.children)):
        explorer.tabs.selected_index = tab
    explorer.compare.cancel()
    ended(explorer.xdnn)
    ended(explorer.graph)
    assert job.state == "running"
    explorer.map.cancel()
    assert job.state == "cancelled"


def test_after_cancel_nothing_more_is_said(digits: np.ndarray) -> None:
    explorer = long(digits)
    for _ in range(5):
        first_map(explorer)
        explorer.map.cancel()
        told = explorer.map.status.value
        assert "Cancelled." in told
        assert explorer.map.job is not None
        assert explorer.map.job.wait(60)
        assert explorer.map.status.value == told
        assert explorer.map.cancel_button.disabled


def test_what_is_saved_is_what_was_on_view_at_the_click(
    digits: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    explorer = long(digits)
    first_map(explorer)
    explorer.save.name.value = "part.npz"
    shown = explorer.explanation
    explorer.save.save("npz")
    ended(explorer.save)
    assert explorer.map.job is not None
    assert explorer.map.job.state == "running"  # saving stops nothing
    explorer.map.cancel()
    assert "Wrote part.npz" in explorer.save.status.value
    loaded = onnxshap.Explanation.load(tmp_path / "part.npz")
    assert not loaded.complete
    assert f"over the first {loaded.references} references" in explorer.save.status.value
    assert shown is not None
    assert shown.references <= loaded.references < 12000


def test_a_large_set_is_listed_by_number(digits: np.ndarray) -> None:
    few = explore(FIXTURES / "mnist.onnx", digits).ask.picker
    assert all(item["picture"] for item in few.gallery._items)
    many = long(digits).ask.picker
    assert many.gallery.count == many.value.size
    assert not any(item["picture"] for item in many.gallery._items)


def test_a_map_of_another_question_looks_like_one(explorer: Explorer) -> None:
    answer = explorer.map.view
    explained(explorer)
    assert EARLIER not in answer._dom_classes
    explorer.map.live.value = False
    explorer.ask.samples.chosen = [1]
    assert EARLIER in answer._dom_classes
    assert "Not what is asked" in explorer.map.status.value
    explorer.ask.samples.chosen = [0]
    assert EARLIER not in answer._dom_classes
    assert "This is what is asked" in explorer.map.status.value
    explorer.map.live.value = True
    explorer.ask.method.menu.value = "x_gradient"  # refused: the map stays DeepSHAP's
    assert explorer.map.job is not None
    assert explorer.map.job.wait(60)
    assert "not certified" in explorer.map.status.value
    assert EARLIER in answer._dom_classes
    explorer.ask.method.menu.value = "gradient"
    ended(explorer.map)
    assert EARLIER not in answer._dom_classes


def test_a_run_that_goes_on_does_not_answer_a_later_question(digits: np.ndarray) -> None:
    explorer = long(digits)
    first_map(explorer)
    explorer.map.live.value = False
    explorer.ask.classes.value = 3
    before = explorer.map.progress.value
    deadline = time.monotonic() + 30
    while explorer.map.progress.value == before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert explorer.map.progress.value > before  # it goes on
    explorer.map.cancel()
    assert EARLIER in explorer.map.view._dom_classes


def test_a_change_before_the_first_map_is_followed(digits: np.ndarray) -> None:
    explorer = long(digits)
    explorer.run()
    explorer.ask.samples.chosen = [2]  # no map yet
    explorer.ask.picker.choose("zeros")
    ended(explorer.map)
    assert explorer.map.question == explorer.question


def test_spread_of_references_belongs_to_the_class_asked(explorer: Explorer) -> None:
    explained(explorer)
    assert "f(reference)" in explorer.ask.picker.facts.value
    explorer.map.live.value = False
    explorer.run()
    explorer.ask.classes.value = 3  # meanwhile
    ended(explorer.map)
    assert "f(reference)" not in explorer.ask.picker.facts.value
    assert "Not what is asked" in explorer.map.status.value


def test_a_closed_explorer_leaves_nothing(digits: np.ndarray) -> None:
    before = set(_instances)
    explorer = long(digits)
    job = explorer.run()
    assert job is not None
    explorer.close()
    assert job.wait(60)
    assert job.state == "cancelled"
    left = [w for key, w in _instances.items() if key not in before]
    assert not [w for w in left if isinstance(w, DOMWidget)]


# Files, pictures, words ---------------------------------------------------------------------------


def test_the_certificate_and_the_model_without_biases(explorer: Explorer) -> None:
    xdnn = explorer.xdnn
    explorer.tabs.selected_index = 2
    ended(xdnn)
    assert "Bias-free: no" in xdnn.badge.value
    assert "adds a bias" in xdnn.reasons.value
    job = xdnn.strip()
    assert job.wait(60)
    assert xdnn.proof is not None
    assert xdnn.proof.certificate.ok
    assert "biases: yes" in xdnn.badge.value
    job = xdnn.measure()
    assert job.wait(60)
    assert job.state == "done", job.error
    assert all(f.largest <= 1e-4 for f in job.result.findings)
    expected = job.result.difference
    assert all(abs(f.summed - expected) <= 1e-4 * abs(expected) for f in job.result.findings)
    assert "One backward pass is enough" in xdnn.result.value


def test_a_net_with_biases_shows_the_gap(explorer: Explorer) -> None:
    job = explorer.xdnn.measure()  # which proves first
    assert job.wait(60)
    found = job.result
    assert found.findings[0].method == "x_gradient"
    assert max(f.largest for f in found.findings) > 0.01
    assert "They differ by up to" in explorer.xdnn.result.value
    assert "Bias-free: no" in explorer.xdnn.badge.value
    # One number for all: X-Gradient, too, is held against f(x) - f(0), and misses it.
    model, x = onnxshap.load(FIXTURES / "mnist.onnx"), explorer.study.samples.feeds(0)
    output, index = explorer.question.output, explorer.ask.target.index
    nothing = {name: 0 * a for name, a in x.items()}
    whole, none = (Study(model, s).value(0, output)[index] for s in (x, nothing))
    assert found.difference == pytest.approx(whole - none, rel=1e-5)
    assert abs(found.findings[0].summed - found.difference) > 0.01 * abs(found.difference)


def test_a_measure_says_whose_it_is_when_the_sample_changes_meanwhile(explorer: Explorer) -> None:
    own = f"sample 0, {explorer.ask.target.label}"
    job = explorer.xdnn.measure()
    explorer.ask.samples.chosen = [1]
    assert job.wait(60)
    assert html.escape(own) in explorer.xdnn.result.value


def test_a_bias_free_net_is_never_called_another(digits: np.ndarray) -> None:
    made = explore(FIXTURES / "x_mnist.onnx", digits)
    made.tabs.selected_index = 2
    made.xdnn.measure()  # before it is proven: the proof is cancelled, and done again
    ended(made.xdnn)
    assert "Bias-free: yes" in made.xdnn.badge.value
    assert "One backward pass is enough" in made.xdnn.result.value


def test_the_graph_is_drawn_once_for_a_question(explorer: Explorer) -> None:
    explorer.tabs.selected_index = 3
    ended(explorer.graph)
    view = explorer.graph.view
    assert view is not None
    explorer.tabs.selected_index = 0
    explorer.tabs.selected_index = 3
    ended(explorer.graph)
    assert explorer.graph.view is view
    explorer.graph.profile()
    ended(explorer.graph)
    assert explorer.graph.view._profile
    assert f"sums of sample 0, {explorer.ask.target.label}" in explorer.graph.view.title
    assert view.comm is None  # what is replaced is given back


def test_a_graph_that_was_not_shown_is_drawn_on_the_next_look(explorer: Explorer) -> None:
    explorer.tabs.selected_index = 3
    explorer.ask.method.menu.value = "gradient"  # while it is drawn: the first is cancelled
    explorer.ask.method.menu.value = "deepshap"
    ended(explorer.graph)
    assert explorer.graph.view is not None
    assert explorer.graph.view.title.startswith("deepshap")
    explorer.ask.method.menu.value = "integrated_gradients"
    explorer.ask.method._fields["integrated_gradients"]["steps"].value = -3
    assert "-3" in explorer.graph.status.value
    explorer.ask.method._fields["integrated_gradients"]["steps"].value = 4
    ended(explorer.graph)
    assert explorer.graph.view.title.startswith("integrated_gradients")


def test_every_kind_of_file_is_written(
    explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert explorer.save.save("npz") is None
    assert "there is no explanation yet" in explorer.save.status.value
    found = explained(explorer)
    for kind in ("onnx", "png", "npz", "html"):
        explorer.save.save(kind)
        ended(explorer.save)
        assert f"Wrote explanation.{kind}" in explorer.save.status.value
    loaded = onnxshap.Explanation.load(tmp_path / "explanation.npz")
    np.testing.assert_array_equal(loaded.attributions, found.attributions)
    onnx.checker.check_model(onnx.load(tmp_path / "explanation.onnx"))


def test_its_picture_is_the_sample_first_and_then_the_map(explorer: Explorer) -> None:
    before = explorer.png()
    explained(explorer)
    after = explorer.png()
    assert before[:4] == after[:4] == b"\x89PNG"
    assert before != after
    data, _ = explorer._repr_mimebundle_()
    assert {"image/png", "application/vnd.jupyter.widget-view+json"} <= set(data)


def test_names_are_escaped_wherever_they_are_markup(digits: np.ndarray) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    made = explore(FIXTURES / "mnist.onnx", digits, {hostile: 0 * digits[:1]}, [hostile] * 10)
    explained(made)
    made.compare.run()
    ended(made.compare)
    made.xdnn.measure()
    ended(made.xdnn)
    pages = [w.value for w in list(_instances.values()) if isinstance(w, HTML)]
    assert any(html.escape(hostile) in page for page in pages)
    assert not any(hostile in page for page in pages)
    made.compare.sets._boxes[hostile].value = False  # and an error that has the name in it
    assert made.compare.run() is None
    assert "tick at least one reference set" in made.compare.status.value
    write(made.map.status, hostile, "error")
    assert html.escape(hostile) in made.map.status.value


@pytest.mark.parametrize(
    ("error", "said", "kind"),
    [(0.05, "settled", "good"), (0.3, "rough", "warn"), (1.3, "mostly noise", "warn")],
)
def test_the_standard_error_is_put_into_words(error: float, said: str, kind: str) -> None:
    ones = np.ones((1, 4), np.float32)
    explanation = onnxshap.Explanation(
        ones, np.ones(1), np.zeros(1, np.int64), standard_error=error * ones, references=10
    )
    text, found = trust(explanation)
    assert said in text
    assert found == kind
    assert ("would bring it to 10 %" in text) == (error > 0.1)


def test_a_map_of_zeros_is_said_to_be_one() -> None:
    flat = np.zeros((1, 4), np.float32)
    nothing = onnxshap.Explanation(
        flat, np.ones(1), np.zeros(1, np.int64), standard_error=flat, references=10
    )
    assert trust(nothing) == ("Every attribution is 0.", "warn")
    # Blurs that leave a class's sum as it is: the first partial map is 0, and no reason to fail.
    dense = models.dense()
    assert explained(explore(dense, models.samples(dense, 2))).complete


def test_a_table_refines_and_shows_what_is_told(explorer: Explorer) -> None:
    net = models.mlp()
    made = explore(net, models.samples(net, 3), np.zeros((3000, 30), np.float32))
    first_map(made)
    made.map.cancel()
    assert made.explanation is not None
    assert not made.explanation.complete
    assert f" of {counted(3000)}" in made.map.view._figure.value  # drawn, though not whole


def test_several_inputs_and_no_pictures() -> None:
    net = models.two_inputs()
    made = explore(net, models.samples(net, 3), models.samples(net, 4, seed=1))
    explained(made)
    assert made.map.view.overlay is None
    assert "<img" in made.map.view.children[0].value
    with pytest.raises(InputError, match="samples"):
        explore(net, {})
