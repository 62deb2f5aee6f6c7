"""Small good models to start from: hostile files and mutants are changes of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]


def weights(name: str, *shape: int) -> TensorProto:
    rng = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)


def ints(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def model(
    nodes: list[NodeProto],
    initializers: tuple[TensorProto, ...] = (),
    *,
    inputs: dict[str, list[Any]] | None = None,
    outputs: dict[str, list[Any]] | None = None,
    functions: tuple[Any, ...] = (),
    opsets: list[Any] | None = None,
) -> ModelProto:
    def ends(shapes: dict[str, list[Any]]) -> list[Any]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    graph = helper.make_graph(
        nodes,
        "main",
        ends({"x": ["N", 4]} if inputs is None else inputs),
        ends({"y": ["N", 4]} if outputs is None else outputs),
        list(initializers),
    )
    return helper.make_model(
        graph, functions=list(functions), opset_imports=opsets or OPSETS, ir_version=10
    )


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attributes)


def cnn() -> ModelProto:
    return model(
        [
            node("Conv", "x w b", "c", "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Relu", "c", "r", "relu"),
            node("MaxPool", "r", "p", "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", "p", "f", "flat"),
            node("Gemm", "f v", "y", "fc"),
        ],
        (weights("w", 4, 3, 3, 3), weights("b", 4), weights("v", 64, 4)),
        inputs={"x": ["N", 3, 8, 8]},
    )


def slicing() -> ModelProto:
    return model(
        [
            node("MatMul", "x w", "h", "mul"),
            node("Slice", "h starts ends axes", "s", "slice"),
            node("Gather", "s index", "g", "gather", axis=1),
            node("Constant", "", "shape", "const", value=ints("", -1, 4)),
            node("Reshape", "g shape", "y", "reshape"),
        ],
        (
            weights("w", 4, 8),
            *(ints("starts", 0), ints("ends", 6), ints("axes", 1), ints("index", 0, 2, 3, 5)),
        ),
    )


def branch(op: str) -> Any:
    end = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    return helper.make_graph([node(op, "h", "out")], op.lower(), [], [end])


def controlled() -> ModelProto:
    """If, Loop, and a function that calls another."""
    value, tensor = helper.make_tensor_value_info, TensorProto
    body = helper.make_graph(
        [node("Identity", "on", "on_out"), node("Add", "h_in h_in", "h_out", "double")],
        "body",
        [value("i", tensor.INT64, []), value("on", tensor.BOOL, []), value("h_in", 1, None)],
        [value("on_out", tensor.BOOL, []), value("h_out", 1, None)],
    )
    inner = helper.make_function(
        "local", "inner", ["a"], ["b"], [node("Tanh", "a", "b", "tanh")], OPSETS
    )
    outer_nodes = [node("inner", "a", "t", domain="local"), node("Add", "t a", "b")]
    outer = helper.make_function("local", "outer", ["a"], ["b"], outer_nodes, OPSETS)
    nodes = [
        node("outer", "x", "h", "call", domain="local"),
        node("ReduceSum", "h", "sum", "total", keepdims=0),
        node("Greater", "sum zero", "cond", "test"),
        node("If", "cond", "k", "if", then_branch=branch("Relu"), else_branch=branch("Neg")),
        node("Loop", "trips true k", "y", "loop", body=body),
    ]
    constants = (
        ints("trips", 3),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.bool_(True), "true"),
    )
    return model(nodes, constants, functions=(inner, outer))


def wide() -> ModelProto:
    """Two tensors large enough for a side file, and one that is not."""
    return model(
        [
            node("MatMul", "x w", "h", "first"),
            node("MatMul", "h v", "k", "second"),
            node("Add", "k b", "y", "bias"),
        ],
        (weights("w", 4, 500), weights("v", 500, 4), weights("b", 4)),
    )


def holding(tensor: TensorProto) -> ModelProto:
    """A model with the tensor as an unused initializer."""
    return model([node("Relu", "x", "y")], (tensor,))


SEEDS: dict[str, Callable[[], ModelProto]] = {
    "cnn": cnn,
    "slicing": slicing,
    "controlled": controlled,
}


def external(folder: Path, *, location: str = "w.bin", **entries: str) -> Path:
    """Write a one-node model with its weight (4x4 floats, at byte 64) in another file."""
    proto = model([node("MatMul", "x w", "y", "mul")], (weights("w", 4, 4),))
    weight = proto.graph.initializer[0]
    (folder / "w.bin").write_bytes(b"\0" * 64 + weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "64", "length": "64", **entries}.items():
        if value:
            weight.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path
