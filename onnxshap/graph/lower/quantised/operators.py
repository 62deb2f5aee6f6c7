"""com.microsoft's QLinear operators: dequantise, do what ONNX's operator does, quantise."""

from typing import Any

import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering, Rewrite
from onnxshap.graph.lower.quantised.products import rescaled
from onnxshap.graph.lower.quantised.steps import (
    count,
    given,
    number,
    operand,
    quantised,
    scalar,
    steps,
)

Outputs = list[ir.Value | None]


def add(low: Lowering, node: ir.Node) -> Outputs:
    """QLinearAdd."""
    total = low.op.Add(number(low, steps(node, 0)), number(low, steps(node, 3)))
    return [quantised(low, total, given(node, 6), operand(node, 7), given(node, 0))]


def mul(low: Lowering, node: ir.Node) -> Outputs:
    """QLinearMul: products of whole numbers, exact, scaled once."""
    op, (a, b) = low.op, (given(node, 0), given(node, 3))
    product = op.Mul(count(low, a, operand(node, 2)), count(low, b, operand(node, 5)))
    scales = [scalar(low, given(node, k)) for k in (1, 4, 6)]
    scaled = op.Mul(product, op.Div(op.Mul(scales[0], scales[1]), scales[2]))
    return [quantised(low, scaled, None, operand(node, 7), a)]


def unary(op_type: str) -> Rewrite:
    """Functions of one number with the attributes of ONNX's operator of that name."""

    def rewrite(low: Lowering, node: ir.Node) -> Outputs:
        settings = {name: a.value for name, a in node.attributes.items()}
        y = low.op.several(op_type, number(low, steps(node, 0)), **settings)[0]
        return [quantised(low, y, given(node, 3), operand(node, 4), given(node, 0))]

    return rewrite


def pool(op_type: str) -> Rewrite:
    """Means of windows: of whole numbers, scaled once; channels come last on demand."""

    def rewrite(low: Lowering, node: ir.Node) -> Outputs:
        settings = {name: a.value for name, a in node.attributes.items()}
        x, rank = given(node, 0), len(low.dims(given(node, 0)))
        last = settings.pop("channels_last", 0)
        if last:
            x = low.op.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)])
        mean = low.op.several(op_type, count(low, x, operand(node, 2)), **settings)[0]
        y = rescaled(low, mean, given(node, 1), given(node, 3), operand(node, 4), x)
        return [low.op.Transpose(y, perm=[0, *range(2, rank), 1]) if last else y]

    return rewrite


def reduce_mean(low: Lowering, node: ir.Node) -> Outputs:
    """QLinearReduceMean: the axes are an attribute."""
    axes = list(node.attributes["axes"].as_ints())
    keepdims = node.attributes.get_int("keepdims", 1)
    y = low.op.ReduceMean(number(low, steps(node, 0)), axes, keepdims=keepdims)
    return [quantised(low, y, given(node, 3), operand(node, 4), given(node, 0))]


def softmax(low: Lowering, node: ir.Node) -> Outputs:
    """QLinearSoftmax: its attribute says which opset's Softmax; before 13, over all last axes."""
    op, x = low.op, number(low, steps(node, 0))
    newer = node.attributes["opset"].as_int() >= 13
    axis = node.attributes.get_int("axis", -1)
    if newer:
        y = op.Softmax(x, axis=axis)
    else:
        axis %= len(low.dims(given(node, 0)))
        y = op.Reshape(op.Softmax(op.Flatten(x, axis=axis), axis=1), op.Shape(x))
    return [quantised(low, y, given(node, 3), operand(node, 4), given(node, 0))]


def concat(low: Lowering, node: ir.Node) -> Outputs:
    """QLinearConcat."""
    parts = [number(low, steps(node, k)) for k in range(2, len(node.inputs), 3)]
    y = low.op.Concat(*parts, axis=node.attributes["axis"].as_int())
    return [quantised(low, y, given(node, 0), given(node, 1), given(node, 2))]


def where(low: Lowering, node: ir.Node) -> Outputs:
    """QLinearWhere."""
    y = low.op.Where(given(node, 0), number(low, steps(node, 1)), number(low, steps(node, 4)))
    return [quantised(low, y, given(node, 7), given(node, 8), given(node, 1))]


def renamed(low: Lowering, node: ir.Node) -> Outputs:
    """QuantizeLinear, DequantizeLinear: what ONNX came to have as well."""
    settings: dict[str, Any] = {name: a.value for name, a in node.attributes.items()}
    y = low.op.several(node.op_type, *node.inputs, **settings)[0]
    return [y]
