"""What once went wrong in silence: shared caches, changed arrays, names, sizes, control flow."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxshap
from tests.helpers import models


def model(nodes, inputs, outputs, constants=None, value_info=()) -> onnx.ModelProto:
    """Opset-18 model; inputs and outputs by name as (element type, shape)."""

    def ends(declared):
        return [helper.make_tensor_value_info(n, t, shape) for n, (t, shape) in declared.items()]

    held = [numpy_helper.from_array(a, n) for n, a in (constants or {}).items()]
    graph = helper.make_graph(
        nodes, "g", ends(inputs), ends(outputs), held, value_info=list(value_info)
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


FLOAT = TensorProto.FLOAT


def test_siblings_in_chunks_of_different_sizes_do_not_disturb_each_other() -> None:
    proto = models.cnn()
    name = proto.graph.input[0].name
    x, background = models.samples(proto, 2)[name], models.samples(proto, 23, seed=1)[name]
    few = onnxshap.Explainer(proto, background, target=0, max_memory=50_000)
    many = few.with_target([0, 1, 2, 3, 4] * 4)
    expected = [few(x).attributions, many(x).attributions]
    found = [None, None]
    streams = [few.stream(x), many.stream(x)]
    running = [True, True]
    while any(running):  # turn by turn: each finds the cache as the other left it
        for k, stream in enumerate(streams):
            partial = next(stream, None)
            running[k] = partial is not None
            found[k] = found[k] if partial is None else partial.attributions
    for got, want in zip(found, expected, strict=True):
        assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()


def test_a_background_changed_afterwards_does_not_change_what_is_kept() -> None:
    proto = models.cnn()
    name = proto.graph.input[0].name
    x, background = models.samples(proto, 2)[name], models.samples(proto, 4, seed=1)[name]
    explainer = onnxshap.Explainer(proto, background, target=0)
    before = explainer(x).attributions
    background[:] = 0
    np.testing.assert_array_equal(explainer(x).attributions, before)


def test_sizes_that_agree_for_some_batches_are_not_folded() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["size"], start=1, end=2),
        helper.make_node("Div", ["size", "sixteen"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["factor"], to=FLOAT),
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("ReduceSum", ["scaled", "axis"], ["y"], keepdims=1),
    ]
    held = {"sixteen": np.array([16], np.int64), "axis": np.array([1], np.int64)}
    proto = model(nodes, {"x": (FLOAT, ["N", "T"])}, {"y": (FLOAT, ["N", 1])}, held)
    x = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
    explanation = onnxshap.Explainer(proto, x[:1] / 2, target=0)(x)
    np.testing.assert_allclose(explanation.outputs, 2 * x.sum(1), rtol=1e-5)


def gated() -> onnx.ModelProto:
    """An If whose branches capture a value that depends on the input."""
    branches = [
        helper.make_graph(
            [helper.make_node(op, inputs, [f"o_{op}"])],
            op,
            [],
            [helper.make_tensor_value_info(f"o_{op}", FLOAT, None)],
        )
        for op, inputs in (("Mul", ["t", "two"]), ("Neg", ["t"]))
    ]
    nodes = [
        helper.make_node("Relu", ["x"], ["t"]),
        helper.make_node(
            "If", ["c"], ["u"], then_branch=branches[0], else_branch=branches[1], name="gate"
        ),
        helper.make_node("Add", ["u", "x"], ["y"]),
    ]
    held = {"c": np.array(True), "two": np.float32(2)}
    info = [helper.make_tensor_value_info("u", FLOAT, ["N", 3])]
    return model(nodes, {"x": (FLOAT, ["N", 3])}, {"y": (FLOAT, ["N", 3])}, held, info)


@pytest.mark.parametrize("method", ["deepshap", "gradient"])
def test_what_a_branch_captures_counts(method: str) -> None:
    background = np.zeros((1, 3), np.float32) if method == "deepshap" else None
    x = np.array([[1.5, 0.5, -1]], np.float32)
    found = onnxshap.Explainer(gated(), background, method=method, target=0)(x)
    slope = 3.0 if method == "gradient" else 4.5  # y = 2 relu(x) + x
    np.testing.assert_allclose(found.attributions, [[slope, 0, 0]], atol=1e-6)
    assert onnxshap.check(gated()).ok


def test_broadcasting_along_unknown_sizes_is_refused_when_it_happens() -> None:
    ends = {"x": (FLOAT, ["N", "A"]), "z": (FLOAT, ["N", "B"])}
    nodes = [
        helper.make_node("Mul", ["x", "z"], ["product"]),
        helper.make_node("ReduceSum", ["product", "axis"], ["y"], keepdims=1),
    ]
    proto = model(nodes, ends, {"y": (FLOAT, ["N", 1])}, {"axis": np.array([1], np.int64)})
    rng = np.random.default_rng(0)
    x = {"x": rng.random((2, 4), np.float32), "z": rng.random((2, 1), np.float32)}
    background = {name: array[:1] / 2 for name, array in x.items()}
    with pytest.raises(onnxshap.UnknownShapeError, match=r'"z".*shape \[1\].*\[4\]'):
        onnxshap.Explainer(proto, background, target=0)(x)


def test_the_models_own_names_may_be_ours(tmp_path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x/reference", "seed"], ["constant_0"]),
        helper.make_node("Tanh", ["constant_0"], ["x/reference/mean"]),
    ]
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    ends = {"x/reference": (FLOAT, ["N", 4])}, {"x/reference/mean": (FLOAT, ["N", 3])}
    proto = model(nodes, *ends, {"seed": weights})
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    explainer = onnxshap.Explainer(proto, x[::-1].copy(), target=1)
    explanation = explainer(x)
    outputs = np.tanh(x @ weights)[:, 1]
    np.testing.assert_allclose(explanation.outputs, outputs, atol=1e-6)
    total = explanation.attributions.sum(1)
    np.testing.assert_allclose(total, outputs - outputs.mean(), atol=1e-6)
    explainer.export(tmp_path / "again.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "again.onnx"), full_check=True)


def test_an_integer_output_has_no_derivative() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["score"]),
        helper.make_node("ArgMax", ["score"], ["class"], axis=1, keepdims=0),
    ]
    outputs = {"class": (TensorProto.INT64, ["N"]), "score": (FLOAT, ["N", 4])}
    proto = model(nodes, {"x": (FLOAT, ["N", 4])}, outputs)
    with pytest.raises(onnxshap.InputError, match=r'"class" is INT64.*float outputs: score'):
        onnxshap.Explainer(proto, np.ones((1, 4), np.float32), target=0)


def test_embedding_of_an_integer_input_is_explained() -> None:
    rng = np.random.default_rng(0)
    held = {
        "table": rng.normal(size=(10, 4)).astype(np.float32),
        "w": rng.normal(size=(12, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"], axis=0),
        helper.make_node("Flatten", ["embedded"], ["flat"]),
        helper.make_node("Tanh", ["flat"], ["bent"]),
        helper.make_node("MatMul", ["bent", "w"], ["y"]),
    ]
    proto = model(nodes, {"ids": (TensorProto.INT64, ["N", 3])}, {"y": (FLOAT, ["N", 2])}, held)
    ids = rng.integers(0, 10, (2, 3))
    background = {"ids": rng.integers(0, 10, (3, 3))}
    explanation = onnxshap.Explainer(proto, background, target=1, inputs="embedded")(ids)
    assert explanation.attributions.shape == (2, 3, 4)
    assert np.abs(explanation.residual).max() < 1e-6


def test_masks_that_differ_between_the_sides_give_numbers() -> None:
    held = {"minus": np.array(-np.inf, np.float32), "half": np.array(0.5, np.float32)}
    nodes = [
        helper.make_node("Greater", ["mask", "half"], ["open"]),
        helper.make_node("Where", ["open", "x", "minus"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=1),
    ]
    ends = {"x": (FLOAT, ["N", 4]), "mask": (FLOAT, ["N", 4])}
    proto = model(nodes, ends, {"y": (FLOAT, ["N", 4])}, held)
    rng = np.random.default_rng(0)
    x = {"x": rng.random((1, 4), np.float32), "mask": np.array([[1, 1, 1, 0]], np.float32)}
    r = {"x": rng.random((1, 4), np.float32), "mask": np.array([[1, 0, 1, 1]], np.float32)}
    assert [n.operator for n in onnxshap.check(proto).named("fallback")] == ["ai.onnx@16::Where"]
    explanation = onnxshap.Explainer(proto, r, target=0)(x)
    assert all(np.isfinite(a).all() for a in explanation.attributions.values())
    assert np.abs(explanation.residual).max() < 1e-5
