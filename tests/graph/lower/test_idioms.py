"""Softmaxes and guarded divisions that exporters spell out, and what only looks like them."""

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import Explainer
from onnxshap.methods.draft import Draft
from tests.helpers import models
from tests.helpers.models import node

WIDTH = 5
Nodes = list[onnx.NodeProto]
CONSTANTS = {"last": np.array([1]), "zero": 0.0, "one": 1.0, "low": -np.inf}


def model(nodes: Nodes, dtype: type = np.float32, output: str = "y") -> onnx.ModelProto:
    held = {k: a if isinstance(a, np.ndarray) else np.array(a, dtype) for k, a in CONSTANTS.items()}
    ends = {"x": (dtype, ["N", WIDTH])}, {output: (dtype, ["N", WIDTH])}
    return models.graph(nodes, *ends, held)


def operators(proto: onnx.ModelProto, inputs: list[str] | None = None) -> list[str]:
    """Operators that the explained output hangs on, in order."""
    report = onnxshap.check(proto, inputs=inputs)
    return [n.operator.partition("::")[2] for n in report.nodes]


def kept(keepdims: int = 1) -> Nodes:
    """Numerators over their sum, after the maximum is taken off."""
    top = [
        node("ReduceMax", ["x", "last"], ["top"], "top", keepdims=keepdims),
        node("Max", ["low", "top"], ["bound"], "bound"),
    ]
    total = [node("ReduceSum", ["e", "last"], ["sum"], "sum", keepdims=keepdims)]
    if not keepdims:
        top.append(node("Unsqueeze", ["bound", "last"], ["s"], "s"))
        total.append(node("Unsqueeze", ["sum", "last"], ["total"], "total"))
    s, t = ("bound", "sum") if keepdims else ("s", "total")
    nodes = [*top, node("Sub", ["x", s], ["t"], "less"), node("Exp", ["t"], ["e"], "exp"), *total]
    return [*nodes, node("Div", ["e", t], ["y"], "quotient")]


BARE = [
    node("Exp", ["x"], ["e"], "exp"),
    node("ReduceSum", ["e", "last"], ["sum"], "sum"),
    node("Div", ["e", "sum"], ["y"], "quotient"),
]
LOG = [
    *kept()[:4],
    node("ReduceSum", ["e", "last"], ["sum"], "sum"),
    node("Log", ["sum"], ["l"], "log"),
    node("Sub", ["t", "l"], ["y"], "rest"),
]
OF_LOGS = [node("LogSoftmax", ["x"], ["l"], "logs"), node("Exp", ["l"], ["y"], "exp")]
LOG_OF = [node("Softmax", ["x"], ["p"], "softmax", axis=1), node("Log", ["p"], ["y"], "log")]


@pytest.mark.parametrize(
    ("nodes", "operator"),
    [
        (kept(), "Softmax"),
        (kept(0), "Softmax"),
        (BARE, "Softmax"),
        (OF_LOGS, "Softmax"),
        (LOG, "LogSoftmax"),
        (LOG_OF, "LogSoftmax"),
    ],
    ids=["sizes kept", "sizes dropped", "no maximum", "of logarithms", "logarithm", "logarithm of"],
)
def test_a_softmax_is_one(nodes: Nodes, operator: str) -> None:
    proto = model(nodes)
    assert operators(proto) == [operator]
    x, references = logits(3, 0), logits(4, 1)
    found = Explainer(proto, references, target=1)(x)
    known = model([node(operator, ["x"], ["y"], "softmax", axis=1)])
    expected = Explainer(known, references, target=1)(x)
    np.testing.assert_array_equal(found.attributions, expected.attributions)
    np.testing.assert_allclose(found.outputs, models.run(proto, {"x": x})["y"][:, 1], rtol=1e-5)


def logits(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def test_far_logits_stay_complete() -> None:
    """Quotients of exponentials would be 0/0 to a multiplier: 100 apart, one of them underflows."""
    x, references = 40 * logits(3, 0), 40 * logits(4, 1)
    found = Explainer(model(kept()), references, target=1)(x)
    assert np.abs(found.residual).max() < 1e-5


MORE = node("Add", ["sum", "one"], ["more"], "more")
LOOKALIKES = {
    "one more": [*BARE[:2], MORE, node("Div", ["e", "more"], ["y"], "quotient")],
    "not the exponential": [*BARE[:2], node("Div", ["x", "sum"], ["y"], "quotient")],
    "of others": [BARE[0], node("ReduceSum", ["x", "last"], ["sum"], "sum"), BARE[2]],
    "not its logarithm": [*BARE[:2], LOG[5], node("Sub", ["e", "l"], ["y"], "rest")],
}


@pytest.mark.parametrize("nodes", LOOKALIKES.values(), ids=LOOKALIKES)
def test_what_only_looks_like_one_stays(nodes: Nodes) -> None:
    assert not {"Softmax", "LogSoftmax"} & set(operators(model(nodes)))


def test_a_value_on_the_way_that_is_explained_stays() -> None:
    assert operators(model(kept()), ["e"]) == ["ReduceSum", "Div"]
    assert operators(model(kept()), ["t"]) == ["Softmax"]
    assert operators(model(OF_LOGS), ["l"]) == ["Exp"]
    assert operators(model(LOG_OF), ["p"]) == ["Log"]


# Division where it is possible --------------------------------------------------------------------


def scaled(first: bool = True, dtype: type = np.float32) -> onnx.ModelProto:
    """x over its range, 0 where it has none: (x - min) / (max - min)."""
    test = [node("Equal", ["b", "zero"], ["none"], "none")]
    if not first:
        test.append(node("Not", ["none"], ["some"], "some"))
    return model(
        [
            node("ReduceMin", ["x", "last"], ["least"], "least"),
            node("Sub", ["x", "least"], ["a"], "a"),
            node("ReduceMax", ["a", "last"], ["b"], "range"),
            node("Div", ["a", "b"], ["q"], "quotient"),
            *test,
            node("Where", ["none", "zero", "q"] if first else ["some", "q", "zero"], ["y"], "safe"),
        ],
        dtype,
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_division_where_it_is_possible(first: bool) -> None:
    """Flat explicands and references, where 0 / 0 stands behind the choice."""
    proto = scaled(first)
    report = onnxshap.check(proto)
    assert not report.named("fallback")
    assert not report.named("blocked")
    x, references = logits(3, 0), logits(4, 1)
    x[1], references[2] = 0.5, -1
    found = Explainer(proto, references, target=1)(x, per_reference=True)
    y, y0 = (models.run(proto, {"x": a})["y"][:, 1] for a in (x, references))
    np.testing.assert_allclose(found.per_reference.sum(2), y[:, None] - y0, atol=1e-5)
    assert not found.per_reference[1, 2].any()
    gradients = Explainer(proto, None, method="gradient", target=1)(x).attributions
    assert np.isfinite(gradients).all()


def test_the_numbers_stay() -> None:
    x = logits(3, 0)
    x[1] = 0.5
    draft = Draft(onnxshap.load(scaled()), None, None)
    assert "Reciprocal" in {n.op_type for n in draft.graph}
    found = Explainer(scaled(), logits(2, 1), target=2)(x).outputs
    np.testing.assert_allclose(found, models.run(scaled(), {"x": x})["y"][:, 2], rtol=1e-6)


def test_a_choice_by_another_test_is_completed() -> None:
    proto = scaled()
    (equal,) = (n for n in proto.graph.node if n.op_type == "Equal")
    equal.input[0] = "least"
    assert [n.name for n in onnxshap.check(proto).named("fallback")] == ["safe"]
