"""Operators on whole numbers that stand for floats: floats in their place, the same numbers."""

from collections.abc import Callable
from functools import wraps

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering, Rewrite
from onnxshap.graph.lower.quantised.dynamic import convolved, own_range, rescaled
from onnxshap.graph.lower.quantised.steps import along, count, given, nothing, operand

Outputs = list[ir.Value | None]

COMPARING = ("Clip", "Max", "MaxPool", "Min", "ReduceMax", "ReduceMin", "Resize", "TopK", "Where")
"""Operators that compare or weigh steps, which their rules can do with floats alone."""

_MOVES = {"Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split"}
_MOVES |= {"Squeeze", "Tile", "Transpose", "Unsqueeze"}
_SUMS = {"Add", "Mul", "Neg", "ReduceMax", "ReduceMin", "ReduceSum", "Relu", "Sub"}
_INT32 = ir.DataType.INT32
_READ = {"ArgMax", "ArgMin", "Cast", "Shape", "Size"}


def _product(of: Callable[[Lowering, ir.Node], ir.Value]) -> Rewrite:
    """Write the sum in floats, and so all that is done with it."""

    @wraps(of)
    def rewrite(low: Lowering, node: ir.Node) -> Outputs | None:
        if rescaled(low, node):
            return None
        _go_on(low, node.outputs[0])
        return [of(low, node)]

    return rewrite


@_product
def conv(low: Lowering, node: ir.Node) -> ir.Value:
    """ConvInteger: Conv of the whole numbers as floats."""
    after = len(low.dims(given(node, 1))) - 1
    x, w = (count(low, given(node, k), operand(node, k + 2), k * after) for k in (0, 1))
    return convolved(low, node, x, w)


@_product
def matmul(low: Lowering, node: ir.Node) -> ir.Value:
    """MatMulInteger: MatMul of the whole numbers as floats; zeros of the first go by row."""
    a, b = (count(low, given(node, k), operand(node, k + 2), 1 - k) for k in (0, 1))
    found: ir.Value = low.op.MatMul(a, b)
    return found


def _go_on(low: Lowering, whole: ir.Value) -> None:
    """Let those who read int32 read a float: what they combine it with becomes one, too."""
    waiting, seen = [whole], {whole}
    while waiting:
        whole = waiting.pop()
        if whole.is_graph_output():
            raise low.refuse(f'its whole numbers, "{whole.name}", are an output of the model.')
        for user, _ in whole.uses():
            if user.op_type in _READ:
                continue
            if user.op_type == "DequantizeLinear":
                low.stand_in(user, _dequantised(low, user))
                continue
            if user.domain or user.op_type not in _MOVES | _SUMS:
                raise low.refuse(
                    f'its whole numbers go into {user.op_type} "{user.name}". Convert them to '
                    "floats there (Cast), or explain a part of the model behind it (inputs=)."
                )
            for k, other in enumerate(user.inputs):
                if other is not None and other is not whole and low.known(other).dtype == _INT32:
                    user.replace_input_with(k, low.cast_before(user, other, ir.DataType.FLOAT))
            waiting += [o for o in user.outputs if o not in seen]
            seen.update(user.outputs)


def dequantise(low: Lowering, node: ir.Node) -> Outputs | None:
    """DequantizeLinear of what was quantised by its own range: what it was, rounded."""
    pair = own_range(low, given(node, 0))
    return [pair.number] if pair is not None and pair.scale is given(node, 1) else None


def _dequantised(low: Lowering, node: ir.Node) -> ir.Value:
    """DequantizeLinear of int32, which may become a float: (x - zero) scale."""
    op, x, zero = low.op, given(node, 0), operand(node, 2)
    rank, axis = len(low.dims(x)), node.attributes.get_int("axis", 1)
    after = max(0, rank - 1 - axis % max(1, rank))
    found = op.Cast(x, to=ir.DataType.FLOAT)
    if zero is not None:
        found = op.Sub(found, along(low, op.Cast(zero, to=ir.DataType.FLOAT), after))
    return op.Mul(found, along(low, given(node, 1), after))


def on_steps(low: Lowering, node: ir.Node) -> Outputs | None:
    """An operator on quantised tensors: on floats between DequantizeLinear and QuantizeLinear."""
    op, like = low.op, next((v for v in node.inputs if low.is_quantised(v)), None)
    if like is None:
        return None
    inputs = [
        count(low, v, None) if v is not None and low.is_quantised(v) else v for v in node.inputs
    ]
    settings = {name: a.value for name, a in node.attributes.items()}
    found = op.several(node.op_type, *inputs, outputs=len(node.outputs), **settings)
    one, zero = op.value(np.array(1, np.float32)), nothing(low, like)
    return [op.QuantizeLinear(found[0], one, zero), *found[1:]]
