"""The explorer without a browser: its controls are set as a page would set them."""

import html
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap.errors import InputError
from onnxshap_widgets import Explorer, explore
from onnxshap_widgets.explorer.map import trust
from onnxshap_widgets.explorer.parts import write
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


def idle(explorer: Explorer) -> None:
    """Wait for whatever runs; a job submitted now would cancel it."""
    worker = explorer.map._worker
    while worker.busy:
        job = worker._current
        if job is not None:
            job.wait(60)


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
    job = compare.run()
    assert job.wait(60)
    assert "tick at least one method" in compare.status.value


def test_the_certificate_and_the_model_without_biases(explorer: Explorer) -> None:
    xdnn = explorer.xdnn
    explorer.tabs.selected_index = 2
    idle(explorer)
    assert "Bias-free: no" in xdnn.badge.value
    assert "adds a bias" in xdnn.reasons.value
    job = xdnn.strip()
    assert job.wait(60)
    assert xdnn.certificate is not None
    assert xdnn.certificate.ok
    assert "biases: yes" in xdnn.badge.value
    job = xdnn.measure()
    assert job.wait(60)
    assert job.state == "done", job.error
    assert all(f.largest <= 1e-4 for f in job.result)
    assert all(abs(f.summed - f.expected) <= 1e-4 * abs(f.expected) for f in job.result)
    assert "One backward pass is enough" in xdnn.result.value


def test_a_net_with_biases_shows_the_gap(explorer: Explorer) -> None:
    job = explorer.xdnn.measure()
    assert job.wait(60)
    assert job.result[0].method == "x_gradient"
    assert max(f.largest for f in job.result) > 0.01
    assert "They differ by up to" in explorer.xdnn.result.value


def test_the_graph_is_drawn_once_for_a_question(explorer: Explorer) -> None:
    explorer.tabs.selected_index = 3
    idle(explorer)
    view = explorer.graph.view
    assert view is not None
    explorer.tabs.selected_index = 0
    explorer.tabs.selected_index = 3
    idle(explorer)
    assert explorer.graph.view is view
    job = explorer.graph.profile()
    assert job.wait(60)
    assert job.state == "done", job.error
    assert explorer.graph.view._profile


def test_every_kind_of_file_is_written(
    explorer: Explorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = explorer.save.save("npz")
    assert job.wait(60)
    assert "there is no explanation yet" in explorer.save.status.value
    found = explained(explorer)
    for kind in ("onnx", "png", "npz", "html"):
        job = explorer.save.save(kind)
        assert job.wait(60)
        assert job.state == "done", job.error
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
    made.compare.run().wait(60)
    texts = [w for w in made.map.children + made.compare.children if hasattr(w, "value")]
    pages = [w.value for w in [*texts, made.ask.picker.facts] if isinstance(w.value, str)]
    assert not any(hostile in page for page in pages)
    made.compare.sets._boxes[hostile].value = False  # and an error that has the name in it
    made.compare.run().wait(60)
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


def test_several_inputs_and_no_pictures() -> None:
    net = models.two_inputs()
    made = explore(net, models.samples(net, 3), models.samples(net, 4, seed=1))
    explained(made)
    assert made.map.view.overlay is None
    assert "<img" in made.map.view.children[0].value
    with pytest.raises(InputError, match="samples"):
        explore(net, {})
