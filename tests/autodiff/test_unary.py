"""A Where that one tensor decides is that tensor's function; others are completed."""

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import Explainer
from tests.helpers import models
from tests.helpers.compare import close
from tests.helpers.models import node

FEATURES = 6


def net(nodes: list[onnx.NodeProto], **held: float | np.ndarray) -> onnx.ModelProto:
    """``nodes`` make y of t = x W; the output is y V."""
    held = models.weights(0, np.float64, W=(FEATURES, FEATURES), V=(FEATURES, 2)) | {
        name: np.asarray(value, np.float64) for name, value in held.items()
    }
    ends = {"x": (np.float64, ["N", FEATURES])}, {"out": (np.float64, ["N", 2])}
    first, last = (
        node("MatMul", ["x", "W"], ["t"], "in"),
        node("MatMul", ["y", "V"], ["out"], "end"),
    )
    return models.graph([first, *nodes, last], *ends, held)


def where(*inputs: str, to: str = "y") -> onnx.NodeProto:
    return node("Where", list(inputs), [to], f"choose {to}")


ABOVE = node("Greater", ["t", "zero"], ["c"], "above")
EXP = [node("Exp", ["t"], ["e"], "exp"), node("Sub", ["e", "one"], ["low"], "low")]
BELOW = [node("Less", ["zero", "t"], ["d"], "below"), node("Not", ["d"], ["c"], "not below")]
HIGH = node("Greater", ["t", "two"], ["high"], "high")
INSIDE = [node("Abs", ["t"], ["a"], "size"), node("Less", ["a", "one"], ["in"], "inside")]
SIN = node("Sin", ["t"], ["s"], "sin")
ENDS = {"zero": 0, "one": 1, "two": 2, "minus": -1}
SIDES = {
    "elu": net([ABOVE, *EXP, where("c", "t", "low")], **ENDS),
    "elu, below": net([*BELOW, *EXP, where("c", "low", "t")], **ENDS),
    "elu, twice": net(
        [ABOVE, *EXP, where("c", "zero", "low", to="under"), where("c", "t", "under")], **ENDS
    ),
}
STEPS = {
    "step": net([ABOVE, where("c", "one", "minus")], **ENDS),
    "staircase": net(
        [ABOVE, HIGH, where("c", "one", "minus", to="s"), where("high", "two", "s")], **ENDS
    ),
    "jump": net([ABOVE, where("c", "t", "one")], **ENDS),
    "window": net([*INSIDE, SIN, where("in", "s", "one")], **ENDS),
}
NAMES = [*SIDES, *STEPS]


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(4, FEATURES)), rng.normal(size=(5, FEATURES))


@pytest.mark.parametrize("name", NAMES)
def test_one_tensor_decides(name: str) -> None:
    """Rescale, complete, the secant of y between both sides of t, and nothing by least norm."""
    model = (SIDES | STEPS)[name]
    report = onnxshap.check(model)
    assert not report.named("fallback")
    assert not report.named("blocked")
    assert all(n.family == "rescale" for n in report.nodes if n.operator.endswith("::Where"))
    x, references = data()
    found = Explainer(model, references, target=1)(x, per_reference=True)
    (t, y), (t0, y0) = (models.run(shown(model), {"x": a}).values() for a in (x, references))
    held = models.weights(0, np.float64, W=(FEATURES, FEATURES), V=(FEATURES, 2))
    secant = (y[:, None] - y0) / (t[:, None] - t0)
    expected = (secant * held["V"][:, 1]) @ held["W"].T * (x[:, None] - references)
    close(found.per_reference, expected, 1e-9)
    assert np.abs(found.residual).max() < 1e-12


def shown(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model giving t and y."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for name in ("t", "y"):
        copy.graph.output.add().name = name
    return copy


@pytest.mark.parametrize("name", SIDES)
def test_as_the_operator(name: str) -> None:
    x, references = data()
    elu = net([node("Elu", ["t"], ["y"], "elu")])
    expected = Explainer(elu, references, target=1)(x).attributions
    close(Explainer(SIDES[name], references, target=1)(x).attributions, expected, 1e-12)


def test_where_both_sides_are_alike_it_is_the_derivative() -> None:
    x = np.abs(data()[0][:1])
    model = SIDES["elu"]
    gradient = Explainer(model, None, method="gradient", target=1)(x).attributions
    near = Explainer(model, x + 1e-7, target=1)(x).attributions / -1e-7
    close(near, gradient, 1e-5)
    assert not Explainer(model, x, target=1)(x).attributions.any()


@pytest.mark.parametrize(
    "nodes",
    [
        [ABOVE, node("Relu", ["x"], ["r"], "other"), where("c", "t", "r")],
        [node("Greater", ["t", "x"], ["c"], "above"), where("c", "t", "zero")],
    ],
    ids=["a branch of another tensor", "a condition on two tensors"],
)
def test_others_are_completed(nodes: list[onnx.NodeProto]) -> None:
    model = net(nodes, zero=0)
    assert [n.name for n in onnxshap.check(model).named("fallback")] == ["choose y"]
    x, references = data()
    assert np.abs(Explainer(model, references, target=1)(x).residual).max() < 1e-12


@pytest.mark.parametrize("rules", ["exact", "shap"])
def test_rules_of_shap_keep_it(rules: str) -> None:
    x, references = data()
    found = Explainer(STEPS["jump"], references, target=0, rules=rules)(x)
    assert np.abs(found.residual).max() < 1e-12
