"""Operators that are functions of others: replaced by their bodies, and nothing else changes."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.model import load
from onnxshap.graph.normalize import OPSETS

Arrays = dict[str, np.ndarray]

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


IMAGE, LABELS = normal(3, 4, 2, 5), RNG.integers(0, 4, (3, 2, 5))

USES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("CastLike", [normal(3, 4), np.zeros(2, np.int64)], {}),
    ("CastLike", [normal(3, 4), np.zeros(2, np.float64)], {}),
    ("CausalConvWithState", [normal(3, 4, 6), normal(4, 1, 3), normal(4)], {}),
    (
        "CausalConvWithState",
        [normal(3, 4, 6), normal(4, 1, 3), normal(4), normal(3, 4, 2)],
        {"activation": "silu"},
    ),
    ("Celu", [normal(3, 4)], {}),
    ("Celu", [normal(3, 4)], {"alpha": 2.0}),
    ("CenterCropPad", [IMAGE, np.array([3, 4, 4, 3])], {}),
    ("CenterCropPad", [IMAGE, np.array([1, 8])], {"axes": [-2, 3]}),
    ("GroupNormalization", [IMAGE, normal(4), normal(4)], {"num_groups": 2}),
    ("GroupNormalization", [IMAGE, normal(4), normal(4)], {"num_groups": 4, "epsilon": 0.1}),
    ("MeanVarianceNormalization", [IMAGE], {}),
    ("MeanVarianceNormalization", [IMAGE], {"axes": [1, 2]}),
    ("NegativeLogLikelihoodLoss", [IMAGE, LABELS], {}),
    ("NegativeLogLikelihoodLoss", [IMAGE, LABELS, normal(4) ** 2], {"ignore_index": 2}),
    ("NegativeLogLikelihoodLoss", [IMAGE, LABELS, normal(4)], {"reduction": "none"}),
    ("RotaryEmbedding", [normal(3, 2, 5, 8), normal(3, 5, 4), normal(3, 5, 4)], {}),
    (
        "RotaryEmbedding",
        [normal(3, 5, 16), normal(9, 2), normal(9, 2), RNG.integers(0, 9, (3, 5))],
        {"num_heads": 2, "rotary_embedding_dim": 4, "interleaved": 1},
    ),
    ("SoftmaxCrossEntropyLoss", [IMAGE, LABELS], {}),
    ("SoftmaxCrossEntropyLoss", [IMAGE, LABELS, normal(4) ** 2], {"reduction": "sum"}),
    ("SoftmaxCrossEntropyLoss", [IMAGE, LABELS], {"reduction": "none", "ignore_index": 0}),
    ("SwiGLU", [normal(3, 4), normal(3, 4)], {}),
    ("SwiGLU", [normal(3, 4), normal(3, 4)], {"alpha": 1.7}),
]


def model_of(
    op: str, inputs: list[np.ndarray], attrs: dict[str, Any], opset: int, outputs: int = 1
) -> ModelProto:
    """The operator between two others; the first axis is symbolic where it counts samples."""
    names = [f"x{i}" for i in range(len(inputs))]
    free, held = [], []
    for name, array in zip(names, inputs, strict=True):
        if array.ndim and len(array) == 3:
            free.append(declared(name, array))
        else:
            held.append(onnx.numpy_helper.from_array(array, name))
    made = [f"y{k}" for k in range(max(outputs, onnx.defs.get_schema(op).min_output))]
    nodes = [
        helper.make_node("Identity", ["x0"], ["before"], "first"),
        helper.make_node(op, ["before", *names[1:]], made, "node", **attrs),
        *(helper.make_node("Identity", [y], [f"out{k}"], f"last{k}") for k, y in enumerate(made)),
    ]
    ends = [onnx.ValueInfoProto(name=f"out{k}") for k in range(len(made))]
    graph = helper.make_graph(nodes, "g", free, ends, held)
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    for end, y in zip(model.graph.output, run(model, inputs), strict=True):
        end.CopyFrom(declared(end.name, y))
    return model


def declared(name: str, array: np.ndarray) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, dtype, [None] * array.ndim)


def run(model: ModelProto, inputs: list[np.ndarray]) -> list[np.ndarray]:
    feeds = {v.name: inputs[int(v.name[1:])] for v in model.graph.input}
    return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]


def uses() -> list[Any]:
    """Every use under every version of its operator, and in the newest opset."""
    found = []
    for op, inputs, attrs in USES:
        newest = onnx.defs.get_schema(op).since_version
        first = {
            max(opset, newest if newest > OPSETS[-1] else 0)
            for opset in OPSETS
            if newest > OPSETS[-1] or onnx.defs.has(op, opset, "")
        }
        for opset in sorted(first):
            if op == "GroupNormalization" and opset < 21:  # deprecated: ONNX's checker refuses it
                continue
            note = ",".join(f"{k}={v}" for k, v in attrs.items())
            found.append(pytest.param(op, inputs, attrs, opset, id=f"{op}-{note}-{opset}"))
    return found


@pytest.mark.parametrize(("op", "inputs", "attrs", "opset"), uses())
def test_outputs_are_unchanged(
    op: str, inputs: list[np.ndarray], attrs: dict[str, Any], opset: int
) -> None:
    model = model_of(op, inputs, attrs, opset)
    found = load(model).normalised
    assert not EXPANDED & {node.op_type for node in found.graph}
    assert not found.functions
    proto = onnx.ModelProto.FromString(serialized(found))
    onnx.checker.check_model(proto, full_check=True)
    expected, got = run(model, inputs), run(proto, inputs)
    for y, again in zip(expected, got, strict=True):
        assert y.dtype == again.dtype
        np.testing.assert_allclose(again, y, rtol=2e-5, atol=2e-5)


def serialized(model: Any) -> bytes:
    import onnx_ir as ir

    data: bytes = ir.serde.serialize_model(model).SerializeToString()
    return data


def test_a_second_output_survives() -> None:
    model = model_of("SoftmaxCrossEntropyLoss", [IMAGE, LABELS], {}, 18, outputs=2)
    proto = onnx.ModelProto.FromString(serialized(load(model).normalised))
    for y, again in zip(run(model, [IMAGE, LABELS]), run(proto, [IMAGE, LABELS]), strict=True):
        np.testing.assert_allclose(again, y, rtol=2e-5, atol=2e-5)


def test_bodies_inside_functions_and_twice() -> None:
    inner = helper.make_function(
        "org.example",
        "Twice",
        ["a", "b"],
        ["c"],
        [
            helper.make_node("CastLike", ["a", "b"], ["t"]),
            helper.make_node("CastLike", ["t", "a"], ["c"]),
        ],
        [helper.make_opsetid("", 18)],
    )
    nodes = [
        helper.make_node("Twice", ["x", "w"], ["h"], domain="org.example"),
        helper.make_node("Twice", ["h", "w"], ["y"], domain="org.example"),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in "xy")
    weight = onnx.numpy_helper.from_array(np.zeros(1, np.float64), "w")
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("org.example", 1)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], [weight]),
        functions=[inner],
        opset_imports=imports,
        ir_version=10,
    )
    found = load(model).normalised
    assert [node.op_type for node in found.graph] == ["Cast"] * 4
    assert [v.name for v in found.graph.outputs] == ["y"]
    assert len({node.name for node in found.graph}) == 4
