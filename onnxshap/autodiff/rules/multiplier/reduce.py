"""Reductions that are not linear. m: multiplier of y; x, r and y, y0: both sides."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.rules.multiplier.elementwise import root_secant
from onnxshap.autodiff.rules.multiplier.pool import cross_max
from onnxshap.autodiff.rules.vjp.reduce import keep_axes, reduced_axes


@multiplier("ReduceL2", form="paired", inputs=(0,), family="decomposed")
def reduce_l2(ctx: Context, m: ir.Value) -> Cotangents:
    """m (x + r) / (y + y0): the root's secant times the square's."""
    op, axes = ctx.op, reduced_axes(ctx)
    m = keep_axes(ctx, m, axes)
    y, y0 = (keep_axes(ctx, v, axes, forward=True) for v in (ctx.y(), ctx.y_ref()))
    return [op.Mul(op.Mul(m, root_secant(op, y, y0)), op.Add(ctx.x(), ctx.r()))]


@multiplier("ReduceMax", form="paired", inputs=(0,), family="max")
@multiplier("ReduceMin", form="paired", inputs=(0,), family="max")
def reduce_extremum(ctx: Context, m: ir.Value) -> Cotangents:
    """Cross-max over the reduced axes."""
    axes = reduced_axes(ctx)
    m = keep_axes(ctx, m, axes)
    y, y0 = (keep_axes(ctx, v, axes, forward=True) for v in (ctx.y(), ctx.y_ref()))
    sign = 1.0 if ctx.node.op_type == "ReduceMax" else -1.0
    return [cross_max(ctx, m, y, y0, ctx.axes(axes), sign)]
