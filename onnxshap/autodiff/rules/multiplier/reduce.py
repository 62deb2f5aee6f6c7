"""Reductions that are not linear. m: multiplier of y; x, r and y, y0: both sides.

Products telescope: prod x - prod r = sum over i of (x before i) (x_i - r_i) (r after i). Taken in
both orders and averaged, the sides are treated alike, and a product of two has its Shapley value.
"""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.products import credit, factors, last, running
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.rules.multiplier.elementwise import abs_secant, root_secant
from onnxshap.autodiff.rules.multiplier.pool import cross_max
from onnxshap.autodiff.rules.multiplier.softmax import log_form
from onnxshap.autodiff.rules.vjp.reduce import expand_reduced, keep_axes, reduced_axes
from onnxshap.autodiff.secants import exp_secant


@multiplier("CumProd", form="paired", inputs=(0,), family="decomposed")
def cumprod(ctx: Context, m: ir.Value) -> Cotangents:
    """As the gradient, with x before i and r after it, and the other way round; their mean."""
    op, line, x, r = ctx.op, running(ctx), ctx.x(), ctx.r()
    return [op.Mul(op.Add(credit(line, m, x, r), credit(line, m, r, x)), 0.5)]


@multiplier("ReduceL1", form="paired", inputs=(0,), family="decomposed")
def reduce_l1(ctx: Context, m: ir.Value) -> Cotangents:
    """m (x + r) / (|x| + |r|)."""
    m = keep_axes(ctx, m, reduced_axes(ctx))
    return [ctx.op.Mul(m, abs_secant(ctx.op, ctx.x(), ctx.r()))]


@multiplier("ReduceL2", form="paired", inputs=(0,), family="decomposed")
def reduce_l2(ctx: Context, m: ir.Value) -> Cotangents:
    """m (x + r) / (y + y0): the root's secant times the square's."""
    op, axes = ctx.op, reduced_axes(ctx)
    m = keep_axes(ctx, m, axes)
    y, y0 = (keep_axes(ctx, v, axes, forward=True) for v in (ctx.y(), ctx.y_ref()))
    return [op.Mul(op.Mul(m, root_secant(op, y, y0)), op.Add(ctx.x(), ctx.r()))]


@multiplier("ReduceLogSum", form="paired", inputs=(0,), family="decomposed")
def reduce_log_sum(ctx: Context, m: ir.Value) -> Cotangents:
    """m over the logarithmic mean of both sums."""
    op, y, y0 = ctx.op, ctx.y(), ctx.y_ref()
    mean = exp_secant(op, op.Exp(y), op.Exp(y0), op.Sub(y, y0))
    return [expand_reduced(ctx, op.Div(m, mean), reduced_axes(ctx))]


@multiplier("ReduceLogSumExp", form="paired", inputs=(0,), family="decomposed")
def reduce_log_sum_exp(ctx: Context, m: ir.Value) -> Cotangents:
    """m w, w the logarithmic mean of exp(x) and exp(r) over that of their sums."""
    axes = reduced_axes(ctx)
    weights = log_form(ctx, ctx.axes(axes))[0]
    return [ctx.op.Mul(keep_axes(ctx, m, axes), weights)]


@multiplier("ReduceMax", form="paired", inputs=(0,), family="max")
@multiplier("ReduceMin", form="paired", inputs=(0,), family="max")
def reduce_extremum(ctx: Context, m: ir.Value) -> Cotangents:
    """Cross-max over the reduced axes."""
    axes = reduced_axes(ctx)
    m = keep_axes(ctx, m, axes)
    y, y0 = (keep_axes(ctx, v, axes, forward=True) for v in (ctx.y(), ctx.y_ref()))
    sign = 1.0 if ctx.node.op_type == "ReduceMax" else -1.0
    return [cross_max(ctx, m, y, y0, ctx.axes(axes), sign)]


@multiplier("ReduceProd", form="paired", inputs=(0,), family="decomposed")
def reduce_prod(ctx: Context, m: ir.Value) -> Cotangents:
    """m (x before i) (r after i), and the other way round; their mean; axis by axis."""
    op, axes = ctx.op, reduced_axes(ctx)
    m = keep_axes(ctx, m, axes)
    sides = (factors(ctx, axes, side) for side in (ctx.x(), ctx.r()))
    for (line, x), (_, r) in reversed(list(zip(*sides, strict=True))):
        m = op.Mul(op.Add(last(line, m, x, r), last(line, m, r, x)), 0.5)
    return [m]


@multiplier("ReduceSumSquare", form="paired", inputs=(0,), family="decomposed")
def reduce_sum_square(ctx: Context, m: ir.Value) -> Cotangents:
    """m (x + r)."""
    m = keep_axes(ctx, m, reduced_axes(ctx))
    return [ctx.op.Mul(m, ctx.op.Add(ctx.x(), ctx.r()))]
