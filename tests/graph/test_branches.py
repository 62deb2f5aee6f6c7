"""An If whose condition is constant: its branch stands in its place."""

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxshap.graph.model import load
from onnxshap.graph.normalize import normalise
from tests.helpers import models
from tests.helpers.models import node

FLOAT = onnx.TensorProto.FLOAT


def body(
    nodes: list[onnx.NodeProto], outputs: list[str], **constants: np.ndarray
) -> onnx.GraphProto:
    ends = [helper.make_tensor_value_info(name, FLOAT, ["N", 3]) for name in outputs]
    held = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in constants.items()]
    return helper.make_graph(nodes, "body", [], ends, held)


def branched(condition: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    """Two outputs of an If in an If; both branches of both use the same names."""
    deep = {
        "then_branch": body([node("Mul", ["t", "c"], ["u"], "n")], ["u"], c=np.full(3, 2)),
        "else_branch": body([node("Add", ["t", "c"], ["u"], "n")], ["u"], c=np.full(3, 3)),
    }
    inner = [node("Sin", ["x"], ["t"], "n"), helper.make_node("If", ["flag"], ["v"], "m", **deep)]
    twice = body([*inner, node("Neg", ["v"], ["w"], "o")], ["w", "w"])
    tensor = numpy_helper.from_array(np.full((2, 3), 7, np.float32))
    held = helper.make_node("Constant", [], ["k"], value=tensor)
    other = body([held, node("Sub", ["x", "c"], ["w"], "n")], ["w", "k"], c=np.full(3, 5))
    choice = helper.make_node(
        "If", ["flag"], ["a", "b"], "if", then_branch=twice, else_branch=other
    )
    nodes = [*condition, choice, node("Mul", ["a", "b"], ["y"], "last")]
    ends = {"x": (np.float32, ["N", 3])}, {"y": (np.float32, ["N", 3]), "a": (np.float32, ["N", 3])}
    return models.graph(nodes, *ends, constants, 18)


def check(proto: onnx.ModelProto) -> list[str]:
    """Outputs stay what they were; returns the operators that are left."""
    found = ir.serde.serialize_model(normalise(proto))
    onnx.checker.check_model(found, full_check=True)
    x = {"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)}
    expected, arrays = (ReferenceEvaluator(p).run(None, x) for p in (proto, found))
    for array, own in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, own)
    values = [v for n in found.graph.node for v in n.output]
    assert len(values) == len(set(values))
    names = [n.name for n in found.graph.node]
    assert len(names) == len(set(names))
    return [n.op_type for n in found.graph.node]


def test_the_branch_is_taken_through_all_levels() -> None:
    proto = branched([], flag=np.array(True))
    assert check(proto) == ["Sin", "Mul", "Neg", "Identity", "Mul"]


def test_a_constant_that_a_branch_gives_is_a_constant() -> None:
    assert check(branched([], flag=np.array(False))) == ["Sub", "Mul"]


def test_a_condition_on_sizes_is_folded() -> None:
    sizes = [
        node("Shape", ["x"], ["columns"], "shape", start=1),
        node("Equal", ["columns", "three"], ["flag"], "equal"),
    ]
    assert check(branched(sizes, three=np.array([3]))) == ["Sin", "Mul", "Neg", "Identity", "Mul"]


def test_a_condition_on_the_batch_stays() -> None:
    sizes = [
        node("Shape", ["x"], ["samples"], "shape", end=1),
        node("Equal", ["samples", "one"], ["flag"], "equal"),
    ]
    assert check(branched(sizes, one=np.array([1]))) == ["Shape", "Equal", "If", "Mul"]


def test_a_vector_of_one_number_is_a_limit() -> None:
    """As in ONNX's own definition of AffineGrid; runtimes take it where they do not see it."""
    proto = models.graph(
        [
            node("Range", ["zero", "count", "one"], ["steps"], "range"),
            node("Cast", ["steps"], ["row"], "cast", to=FLOAT),
            node("Mul", ["x", "row"], ["y"], "mul"),
        ],
        {"x": (np.float32, ["N", 3])},
        {"y": (np.float32, ["N", 3])},
        {"zero": np.array(0), "count": np.array([3]), "one": np.array(1)},
        18,
    )
    graph = load(proto).normalised.graph
    assert [n.op_type for n in graph] == ["Cast", "Mul"]
