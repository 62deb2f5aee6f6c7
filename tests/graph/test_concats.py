"""Concats that repeat an earlier one's inputs read its result."""

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

import onnxshap
from tests.helpers import models
from tests.helpers.models import node


def dense(axes: tuple[int, int, int] = (1, 1, 1)) -> onnx.ModelProto:
    """Three Concats, of x and two functions of it, then three, then a permutation of the first."""
    concats = [["x", "a"], ["x", "a", "b"], ["a", "x"]]
    nodes = [node("Relu", ["x"], ["a"]), node("Neg", ["x"], ["b"])]
    nodes += [
        node("Concat", inputs, [f"c{k}"], axis=axis)
        for k, (inputs, axis) in enumerate(zip(concats, axes, strict=True))
    ]
    nodes += [node("ReduceSum", [f"c{k}", "axes"], [f"s{k}"], keepdims=0) for k in range(3)]
    nodes += [node("Sum", ["s0", "s1", "s2"], ["y"])]
    constants = {"axes": np.array([1, 2])}
    return models.graph(
        nodes, {"x": (np.float32, ["N", 2, 3])}, {"y": (np.float32, ["N"])}, constants
    )


def inputs_of_concats(proto: onnx.ModelProto) -> list[list[str]]:
    graph = onnxshap.load(proto).normalised.graph
    return [[str(v.name) for v in n.inputs if v] for n in graph if n.op_type == "Concat"]


def test_a_longer_concat_reads_the_shorter_one() -> None:
    assert inputs_of_concats(dense()) == [["x", "a"], ["c0", "b"], ["a", "x"]]


def test_not_along_another_axis() -> None:
    proto = dense((2, 1, 1))
    assert inputs_of_concats(proto)[1] == ["x", "a", "b"]


def test_outputs_do_not_change() -> None:
    proto = dense()
    x = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    expected = ReferenceEvaluator(proto).run(None, {"x": x})[0]
    normalised = ir.serde.serialize_model(onnxshap.load(proto).normalised)
    np.testing.assert_array_equal(ReferenceEvaluator(normalised).run(None, {"x": x})[0], expected)


def test_sums_that_flow_back_grow_with_the_depth_not_its_square() -> None:
    depth = 40
    nodes = []
    for k in range(depth):
        before = ["x", *(f"f{i}" for i in range(k))]
        nodes.append(node("Concat", before, [f"c{k}"], axis=1))
        nodes.append(node("ReduceSum", [f"c{k}", "axes"], [f"f{k}"], keepdims=1))
    constants = {"axes": np.array([1])}
    shape = ["N", 1]
    end = f"f{depth - 1}"
    proto = models.graph(nodes, {"x": (np.float32, shape)}, {end: (np.float32, shape)}, constants)
    graph = onnxshap.build(onnxshap.load(proto), method="gradient").normalised.graph
    assert sum(n.op_type == "Add" for n in graph) < 3 * depth
