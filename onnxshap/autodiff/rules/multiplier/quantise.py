"""Quantisation: a step's slope between two points. m: multiplier of y; d = x - r."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.rules.vjp.quantise import straight


@multiplier("QuantizeLinear", form="flat", inputs=(0,))
def quantize_linear(ctx: Context, m: ir.Value) -> Cotangents:
    """m (y - y0) / d;  straight through, m / scale, where d = 0."""
    op, d = ctx.op, ctx.delta()
    dtype = d.dtype
    rise = op.Sub(*(op.Cast(v, to=dtype) for v in (ctx.y(), ctx.y_ref())))
    same = op.Equal(d, 0.0)
    slope = op.Where(same, straight(ctx), op.Div(rise, op.Where(same, 1.0, d)))
    return [op.Mul(op.Cast(m, to=dtype), slope)]
