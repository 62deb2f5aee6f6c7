"""Indices that count over the batch: what tells samples apart in the model, not among pairs."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxshap.errors import UnsupportedOpError
from onnxshap.graph.model import load
from onnxshap.methods import build_program, named
from tests.helpers.gradcheck import evaluator


def model_of(nodes: list[onnx.NodeProto], shape: list[Any], **constants: Any) -> onnx.ModelProto:
    held = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, shape)
    y = onnx.ValueInfoProto(name="y")
    y.type.tensor_type.elem_type = TensorProto.DOUBLE
    graph = helper.make_graph(nodes, "indexed", [x], [y], held)
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def places(column: int) -> list[onnx.NodeProto]:
    """Nodes that compute ``where`` [N, 1, 2]: element ``column`` of every sample."""
    steps = [
        ("Shape", ["x"], "shape", {"end": 1}),
        ("Squeeze", ["shape"], "count", {}),
        ("Range", ["zero", "count", "one"], "samples", {}),
        ("Unsqueeze", ["samples", "last"], "rows", {}),
        ("Mul", ["rows", "zero"], "zeros", {}),
        ("Add", ["zeros", f"column{column}"], "columns", {}),
        ("Concat", ["rows", "columns"], "pairs", {"axis": 1}),
        ("Unsqueeze", ["pairs", "middle"], "where", {}),
    ]
    return [helper.make_node(op, ins, [out], **attrs) for op, ins, out, attrs in steps]


INTEGERS = {"zero": 0, "one": 1, "last": [-1], "middle": [1], "column2": 2, "tail": [1]}


def check_complete_and_exact(model: onnx.ModelProto, x: np.ndarray, r: np.ndarray) -> None:
    """Three samples against two references: gradients by differences, and completeness."""
    forward, rng = evaluator(model), np.random.default_rng(0)
    (y,), (y0,) = forward({"x": x}).values(), forward({"x": r}).values()
    seed = rng.normal(size=(2, *y.shape))
    step = 1e-6
    expected = np.zeros((2, *x.shape))
    for place in np.ndindex(x.shape):
        moved = x.copy()
        moved[place] += step
        (near,) = forward({"x": moved}).values()
        expected[(slice(None), *place)] = (seed * (near - y)).sum(axis=tuple(range(1, seed.ndim)))
    for method in ("gradient", "deepshap"):
        program = build_program(load(model), named(method))
        assert program.separable, program.mixing
        feeds = {"x": x, "seed": seed} | dict.fromkeys(program.references.values(), r)
        found = evaluator(ir.serde.serialize_model(program.model))(feeds)
        contributions = found[program.contributions["x"]]
        if method == "gradient":
            np.testing.assert_allclose(contributions, expected / step, atol=1e-5)
        else:
            apart = (y[:, None] - y0[None]).reshape(3, 2, -1)
            change = np.einsum("kny,nmy->knm", seed.reshape(2, 3, -1), apart)
            np.testing.assert_allclose(contributions.sum(axis=-1), change, atol=1e-12)


@pytest.mark.parametrize("op", ["GatherND", "ScatterND"])
def test_coordinates_of_samples_become_those_of_pairs(op: str, rng: np.random.Generator) -> None:
    if op == "GatherND":
        last = [helper.make_node(op, ["x", "where"], ["y"])]
    else:
        last = [
            helper.make_node("Slice", ["x", "tail", "stop", "tail"], ["part"]),
            helper.make_node(op, ["x", "where", "part"], ["y"]),
        ]
    model = model_of([*places(2), *last], ["N", 4], stop=[2], **INTEGERS)
    check_complete_and_exact(model, rng.normal(size=(3, 4)), rng.normal(size=(2, 4)))


def test_constant_indices_of_samples_are_refused() -> None:
    node = helper.make_node("ScatterND", ["x", "at", "with"], ["y"])
    model = model_of([node], ["N", 4], at=[[0, 2]], **{"with": np.ones(1)})
    with pytest.raises(UnsupportedOpError, match=r"its indices name samples of the batch by numb"):
        build_program(load(model), named("gradient"))


def test_unpooling_undoes_pooling_in_a_batch(rng: np.random.Generator) -> None:
    k2 = {"kernel_shape": [2], "strides": [2]}
    nodes = [
        helper.make_node("Unsqueeze", ["x", "middle"], ["line"]),
        helper.make_node("MaxPool", ["line"], ["top", "at"], **k2),
        helper.make_node("MaxUnpool", ["top", "at"], ["long"], **k2),
        helper.make_node("Squeeze", ["long", "middle"], ["y"]),
    ]
    model = model_of(nodes, ["N", 6], middle=[1])
    program = build_program(load(model), named("gradient"))
    x, seed = rng.normal(size=(3, 6)), rng.normal(size=(2, 3, 6))
    found = evaluator(ir.serde.serialize_model(program.model))({"x": x, "seed": seed})
    kept = x.reshape(3, 3, 2) == x.reshape(3, 3, 2).max(-1, keepdims=True)
    np.testing.assert_allclose(found[program.contributions["x"]], seed * kept.reshape(3, 6))


def test_a_slice_may_pick_nothing(rng: np.random.Generator) -> None:
    nodes = [
        helper.make_node("Slice", ["x", "three", "two", "tail"], ["none"]),
        helper.make_node("Concat", ["none", "x"], ["joined"], axis=1),
        helper.make_node("Mul", ["joined", "joined"], ["y"]),
    ]
    model = model_of(nodes, ["N", 4], three=[3], two=[2], tail=[1])
    check_complete_and_exact(model, rng.normal(size=(3, 4)), rng.normal(size=(2, 4)))
