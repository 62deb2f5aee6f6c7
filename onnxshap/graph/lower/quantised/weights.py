"""Quantised constants as floats that a runtime computes once, when it loads the model.

Behind a DequantizeLinear a runtime may multiply by them as integers and round the other operand to
8 bits for it, which a gradient must not be.
"""

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering
from onnxshap.graph.lower.quantised.steps import along, given, operand

Outputs = list[ir.Value | None]


def dequantise(low: Lowering, node: ir.Node) -> Outputs | None:
    """DequantizeLinear of a constant: (x - zero) scale."""
    op, x, scale, zero = low.op, given(node, 0), given(node, 1), operand(node, 2)
    if any(v is not None and v.const_value is None for v in node.inputs):
        return None
    dims = low.dims(x)
    axis = node.attributes.get_int("axis", 1) % max(1, len(dims))
    size, after = node.attributes.get_int("block_size", 0), max(0, len(dims) - 1 - axis)

    def laid_out(value: ir.Value) -> ir.Value:
        if not size:
            return along(low, value, after)
        blocks = np.arange(low.size(x, axis, "size")) // size
        return op.Gather(value, blocks, axis=axis)

    found, zeros = op.Cast(x, to=scale.dtype), low.known(zero).value
    if zero is not None and (zeros is None or zeros.any()):
        found = op.Sub(found, laid_out(op.Cast(zero, to=scale.dtype)))
    return [op.Mul(found, laid_out(scale))]
