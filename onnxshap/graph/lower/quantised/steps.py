"""Between numbers and the steps they are quantised to: number = (step - zero) scale.

Sums of products of steps are whole numbers, which float32 adds up exactly below 2^24, in any
order: a product of steps, scaled once at its end, gives the numbers of an integer kernel, to the
bit where its sums stay below.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering


@dataclass(frozen=True)
class Steps:
    """A quantised tensor; ``axis``: along which scales and zeros go where they are vectors."""

    value: ir.Value
    scale: ir.Value
    zero: ir.Value | None
    axis: int = 1


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input; None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def given(node: ir.Node, index: int) -> ir.Value:
    """Return an input that every node of its operator has."""
    found = operand(node, index)
    assert found is not None, f'{node.op_type} "{node.name}" has no input {index}'
    return found


def steps(node: ir.Node, first: int, axis: int = 1) -> Steps:
    """Return what three inputs in a row are: a quantised tensor, its scale, its zero."""
    return Steps(given(node, first), given(node, first + 1), operand(node, first + 2), axis)


def number(low: Lowering, x: Steps) -> ir.Value:
    """Return a tensor with one scale as floats."""
    zeros = [] if x.zero is None else [scalar(low, x.zero)]
    found: ir.Value = low.op.DequantizeLinear(x.value, scalar(low, x.scale), *zeros)
    return found


def count(low: Lowering, value: ir.Value, zero: ir.Value | None, after: int = 0) -> ir.Value:
    """Return ``value - zero`` as floats. ``after``: how many axes follow that of the zeros.

    By Cast: behind a DequantizeLinear runtimes multiply as integers, and make some of weights that
    are floats.
    """
    op, known = low.op, low.known(zero).value
    floats: ir.Value = op.Cast(value, to=ir.DataType.FLOAT)
    if zero is None or (known is not None and not known.any()):
        return floats
    difference: ir.Value = op.Sub(floats, along(low, op.Cast(zero, to=ir.DataType.FLOAT), after))
    return difference


def quantised(
    low: Lowering, value: ir.Value, scale: ir.Value | None, zero: ir.Value | None, like: ir.Value
) -> ir.Value:
    """Return the steps of a number, or of so many steps where there is no scale.

    ``like``: has the dtype of the steps, where there is no zero to tell it.
    """
    op = low.op
    unit = op.value(1.0, value.dtype) if scale is None else scalar(low, scale)
    zero = nothing(low, like) if zero is None else scalar(low, zero)
    found: ir.Value = op.QuantizeLinear(value, unit, zero)
    return found


def nothing(low: Lowering, like: ir.Value) -> ir.Value:
    """Return the zero of the dtype of ``like``."""
    dtype = low.known(like).dtype
    assert dtype is not None
    return low.op.value(np.array(0, dtype.numpy()))


def scalar(low: Lowering, value: ir.Value) -> ir.Value:
    """Return the one element of a value, which files write as ``[]`` or ``[1]``."""
    if low.known(value).dims == ():
        return value
    found: ir.Value = low.op.Reshape(value, [])
    return found


def along(low: Lowering, value: ir.Value, after: int) -> ir.Value:
    """Lay a scalar or a vector out to broadcast along an axis that ``after`` others follow."""
    dims = low.dims(value)
    if dims == (1,):
        return scalar(low, value)
    if not after or len(dims) != 1:
        return value
    found: ir.Value = low.op.Reshape(value, [-1] + [1] * after)
    return found
