from collections.abc import Callable

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import CompletenessWarning, Explainer, UnsupportedOpError
from tests.helpers import models

HOSTILE = "<img src=x onerror=alert(1)>"


def families(model: onnx.ModelProto) -> dict[str, str]:
    return {n.name: n.family for n in onnxshap.check(model).nodes}


def test_families_of_a_cnn() -> None:
    assert families(models.cnn(softmax=True)) == {
        "conv0": "exact-linear",
        "relu0": "rescale",
        "pool0": "max",
        "conv1": "exact-linear",
        "relu1": "rescale",
        "pool1": "exact-linear",
        "flatten": "exact-linear",
        "fc": "exact-linear",
        "softmax": "decomposed",
    }


def test_families_of_attention() -> None:
    found = families(models.attention())
    assert {found[n] for n in ("scores", "mix")} == {"product"}
    assert {found[n] for n in ("project_q", "scale", "residual0", "pool")} == {"exact-linear"}
    assert found["gelu"] == "rescale"
    assert found["norm0"] == found["norm1"]
    assert found["norm0"] in ("decomposed", "fallback")
    assert len(found) == len(models.attention().graph.node)


def test_nodes_off_the_path_are_left_out() -> None:
    found = families(models.side_input())
    assert "look_up" not in found
    assert {"scale", "keep", "flatten", "tanh", "out"} <= set(found)


def test_report_of_a_part_of_the_model() -> None:
    report = onnxshap.check(models.cnn(softmax=True), output="logits", inputs="p0")
    assert [n.name for n in report.nodes] == ["conv1", "relu1", "pool1", "flatten", "fc"]
    assert (report.sources, report.output, report.closed) == (["p0"], "logits", True)
    open_report = onnxshap.check(models.attention(), inputs="mixed")
    assert not open_report.closed
    assert "residual: none" in str(open_report)


def test_the_report_says_whether_x_gradient_holds() -> None:
    assert "X-DNN: yes, f(a x) = a f(x)" in str(onnxshap.check(models.homogeneous())).split("\n")
    report = onnxshap.check(models.LITE0)
    assert not report.homogeneity.ok
    said = str(report).split("\n")
    assert said[-4:] == [
        "X-DNN: no, 83 node(s) break f(a x) = a^k f(x)",
        "   49  Conv         adds a bias (degree 0) to a value of degree 1",
        "   33  Clip         clips at 6",
        "    1  Gemm         adds a bias (degree 0) to a value of degree 1",
    ]
    assert "X-DNN: no, 83 node(s) break" in report._repr_html_()
    from_logits = onnxshap.check(models.cnn(bias=False, softmax=True), output="logits")
    assert from_logits.homogeneity.ok


def test_blocked_nodes_are_named_and_cost_completeness() -> None:
    model = models.graph(
        [
            models.node("Relu", ["x"], ["r"], "relu"),
            models.node("Greater", ["r", "half"], ["large"], "the_test"),
            models.node("Cast", ["large"], ["step"], "cast", to=onnx.TensorProto.FLOAT),
            models.node("Add", ["r", "step"], ["y"], "sum"),
        ],
        {"x": (np.float32, ["N", 4])},
        {"y": (np.float32, ["N", 4])},
        {"half": np.array(0.5, np.float32)},
    )
    report = onnxshap.check(model)
    assert report.ok
    assert {n.name: n.family for n in report.nodes} == {
        "relu": "rescale",
        "sum": "exact-linear",
        "the_test": "blocked",
    }
    assert 'blocked: ai.onnx@13::Greater, node "the_test"' in str(report)
    with pytest.warns(CompletenessWarning, match="by -1, more than 1e-05 .* lists blocked nodes"):
        Explainer(model, np.zeros((1, 4), np.float32), target=0)(np.ones((1, 4), np.float32))


@pytest.mark.parametrize("names", [("one",), ("a/first", "b/second", HOSTILE)])
def test_every_unsupported_node_is_listed(names: tuple[str, ...]) -> None:
    model = models.unsupported(*names)
    report = onnxshap.check(model)
    assert not report.ok
    assert [n.name for n in report.named("unsupported")] == list(names)
    with pytest.raises(UnsupportedOpError) as raised:
        Explainer(model, np.zeros((1, 4), np.float32), target=0)
    for name in names:
        assert f'unsupported: com.acme@0::Mystery, node "{name}"' in str(report)
        assert f'com.acme@0::Mystery, node "{name}"' in str(raised.value)
    assert f'{len(names)} node(s) on the path from "x" to "v{len(names)}"' in str(raised.value)
    assert "Register a rule with onnxshap.multiplier" in str(raised.value)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (models.cnn, "samples stay separate (axis 0); confirmed by a run when explaining"),
        (models.no_batch, "one pair at a time: no input has a batch axis"),
        (
            lambda: models.mixing("mean"),
            'one pair at a time: no axis of "centre" (ReduceMean "mix")',
        ),
    ],
)
def test_batch_handling_is_told(build: Callable[[], onnx.ModelProto], words: str) -> None:
    report = onnxshap.check(build())
    assert report.batch.startswith(words)
    assert f"batch: {words}" in str(report)


def test_html_escapes_every_name() -> None:
    nodes = [
        models.node("Relu", [HOSTILE], ["v"], HOSTILE),
        models.node(HOSTILE, ["v"], [f"{HOSTILE}2"], f"{HOSTILE}1", domain=HOSTILE),
    ]
    ends = {HOSTILE: (np.float32, ["N", 4])}, {f"{HOSTILE}2": (np.float32, ["N", 4])}
    page = onnxshap.check(models.graph(nodes, *ends, {}, domains=[HOSTILE]))._repr_html_()
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 5
    assert "<table>" in page


def test_check_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a session was made")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    assert onnxshap.check(models.attention()).ok
