"""Quantisation: a step's slope between two points. m: multiplier of y; d = x - r."""

import onnx_ir as ir

from onnxshap.autodiff.completion import require_explained
from onnxshap.autodiff.context import Context, ReferenceContext
from onnxshap.autodiff.registry import Cotangents, multiplier, vjp
from onnxshap.autodiff.rules.vjp.quantise import over_input, over_scale, straight
from onnxshap.autodiff.secants import ratio


@multiplier("QuantizeLinear", form="flat", inputs=(0, 1))
def quantize_linear(ctx: Context, m: ir.Value) -> Cotangents:
    """m (y - y0) / d;  within a step m / scale, and by c^2 / sum c^2, c = m d, what is left out.

    Within a step y - y0 is 0 or a whole step, however small d is: ties are common, as means of four
    steps are, and two sides of one differ by rounding alone. A quotient would be anything. A scale
    that moves with x is credited with nothing, one that moves alone with m (y - y0) / dscale.
    """
    require_explained(ctx)
    if not ctx.varies(0):
        return [None, _of_scale(ctx, m)]
    op, d = ctx.op, ctx.delta()
    m, scale = op.Cast(m, to=d.dtype), op.Cast(over_input(ctx, ctx.x(1), 1), to=d.dtype)
    rise = op.Sub(*(op.Cast(v, to=d.dtype) for v in (ctx.y(), ctx.y_ref())))
    near = op.Less(op.Abs(d), scale)
    through = op.Mul(op.Add(straight(ctx), straight(ReferenceContext.beside(ctx))), 0.5)
    slope = op.Mul(m, op.Where(near, through, op.Div(rise, op.Where(near, 1.0, d))))
    credit = op.Mul(slope, d)
    missing = _sum(ctx, op.Where(near, op.Sub(op.Mul(m, rise), credit), op.value(0.0, d.dtype)))
    largest = _over_sample(ctx, "ReduceMax", op.Abs(credit))
    share = ratio(op, credit, largest)  # at most 1: squares of multipliers could underflow
    total = op.Mul(_sum(ctx, op.Mul(share, share)), largest)
    dx = op.Mul(slope, op.Add(op.Mul(share, ratio(op, missing, total)), 1.0))
    return [dx, op.Mul(ctx.x(1), 0.0) if ctx.needs(1) else None]


def _of_scale(ctx: Context, m: ir.Value) -> ir.Value:
    op, d = ctx.op, ctx.delta(1)
    rise = op.Sub(*(op.Cast(v, to=d.dtype) for v in (ctx.y(), ctx.y_ref())))
    still, along = op.Equal(d, 0.0), ctx.by(vjp, m)[1]
    change = over_scale(ctx, op.Mul(op.Cast(m, to=d.dtype), rise))
    found: ir.Value = op.Where(still, along, op.Div(change, op.Where(still, 1.0, d)))
    return found


def _sum(ctx: Context, value: ir.Value) -> ir.Value:
    return _over_sample(ctx, "ReduceSum", value)


def _over_sample(ctx: Context, reduction: str, value: ir.Value) -> ir.Value:
    """Reduce over all axes but the batch, which keep their place."""
    layout = ctx.layout()
    axes = [k for k in range(len(layout.dims)) if k != layout.batch]
    return ctx.op.several(reduction, value, axes, keepdims=1)[0] if axes else value
