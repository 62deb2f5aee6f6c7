"""Reductions and running sums."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.products import credit, factors, last, running
from onnxshap.autodiff.registry import Cotangents, vjp


def reduced_axes(ctx: Context) -> list[int]:
    """Own axes a reduction runs over; none where it is told to do nothing."""
    rank = len(ctx.dims())
    if ctx.has(1):
        axes = [int(a) % rank for a in ctx.require(1, "axes").ravel()]
        if axes:
            return axes
    return [] if ctx.attr("noop_with_empty_axes", 0) else list(range(rank))


def keep_axes(ctx: Context, value: ir.Value, axes: list[int], forward: bool = False) -> ir.Value:
    """Put back, with size 1, the axes a reduction dropped; in the rule's form.

    ``forward``: the value is an output of the node, not what flows backward. It has no lead axes
    in front of its batch that it would only broadcast along, and needs none put back there.
    """
    if ctx.attr("keepdims", 1) or not axes:
        return value
    batch = ctx.layout().batch
    if forward and batch is not None and ctx.output_layout().batch == 0:
        axes = [a for a in axes if a > batch]
    if not axes:
        return value
    return ctx.op.Unsqueeze(value, sorted(ctx.axes(axes)))


@vjp("CumProd", form="paired", inputs=(0,))
def cumprod(ctx: Context, g: ir.Value) -> Cotangents:
    """dx_i = (product before i) (sum over k >= i of g_k times the product from i to k, less i)."""
    return [credit(running(ctx), g, ctx.x(), ctx.x())]


@vjp("CumSum", form="flat", inputs=(0,), family="exact-linear")
def cumsum(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = running sum of g from the other end."""
    axis = int(ctx.require(1, "axis").ravel()[0]) % len(ctx.dims())
    turned = 1 - ctx.attr("reverse", 0)
    total = ctx.op.CumSum(
        g, ctx.op.value(axis, ir.DataType.INT64), reverse=turned, exclusive=ctx.attr("exclusive", 0)
    )
    return [total]


@vjp("ReduceL1", form="paired", inputs=(0,))
def reduce_l1(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g sign(x)."""
    return [ctx.op.Mul(keep_axes(ctx, g, reduced_axes(ctx)), ctx.op.Sign(ctx.x()))]


@vjp("ReduceL2", form="paired", inputs=(0,))
def reduce_l2(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g x / y;  0 where y = 0."""
    op, axes = ctx.op, reduced_axes(ctx)
    g, y = keep_axes(ctx, g, axes), keep_axes(ctx, ctx.y(), axes, forward=True)
    zero = op.Cast(op.Equal(y, 0.0), to=y.dtype)
    return [op.Mul(ctx.x(), op.Div(g, op.Add(y, zero)))]


@vjp("ReduceLogSum", form="paired", inputs=(0,))
def reduce_log_sum(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g exp(-y)."""
    return [expand_reduced(ctx, ctx.op.Mul(g, ctx.op.Exp(ctx.op.Neg(ctx.y()))), reduced_axes(ctx))]


@vjp("ReduceLogSumExp", form="paired", inputs=(0,))
def reduce_log_sum_exp(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g exp(x - y)."""
    op, axes = ctx.op, reduced_axes(ctx)
    g, y = keep_axes(ctx, g, axes), keep_axes(ctx, ctx.y(), axes, forward=True)
    return [op.Mul(g, op.Exp(op.Sub(ctx.x(), y)))]


@vjp("ReduceMax", form="paired", inputs=(0,))
@vjp("ReduceMin", form="paired", inputs=(0,))
def reduce_extremum(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g [x = y] / how many elements equal y."""
    op, x, axes = ctx.op, ctx.x(), reduced_axes(ctx)
    g, y = keep_axes(ctx, g, axes), keep_axes(ctx, ctx.y(), axes, forward=True)
    hits = op.Cast(op.Equal(x, y), to=x.dtype)
    count = op.ReduceSum(hits, ctx.axes(axes)) if axes else 1.0
    return [op.Mul(hits, op.Div(g, count))]


@vjp("ReduceMean", form="paired", inputs=(0,), family="exact-linear")
def reduce_mean(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / n."""
    axes = reduced_axes(ctx)
    return [expand_reduced(ctx, ctx.op.Div(g, ctx.count(axes)), axes)]


@vjp("ReduceProd", form="paired", inputs=(0,))
def reduce_prod(ctx: Context, g: ir.Value) -> Cotangents:
    """dx_i = g times the product of all elements but i."""
    axes = reduced_axes(ctx)
    g = keep_axes(ctx, g, axes)
    for line, x in reversed(factors(ctx, axes, ctx.x())):
        g = last(line, g, x, x)
    return [g]


@vjp("ReduceSum", form="paired", inputs=(0,), family="exact-linear")
def reduce_sum(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g."""
    return [expand_reduced(ctx, g, reduced_axes(ctx))]


@vjp("ReduceSumSquare", form="paired", inputs=(0,))
def reduce_sum_square(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = 2 g x."""
    g = keep_axes(ctx, g, reduced_axes(ctx))
    return [ctx.op.Mul(g, ctx.op.Mul(ctx.x(), 2.0))]


def expand_reduced(ctx: Context, g: ir.Value, axes: list[int]) -> ir.Value:
    """Repeat a reduced cotangent along the reduced axes."""
    return ctx.repeat(keep_axes(ctx, g, axes))
