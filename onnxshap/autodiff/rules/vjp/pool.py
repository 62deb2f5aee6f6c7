"""Pools. x [N, C, *size], g and y [N, C, *windows]."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.windows import (
    Windows,
    max_indices,
    max_positions,
    scatter_to_windows,
    sum_over_windows,
    zero,
)


@vjp("AveragePool", form="flat", family="exact-linear")
def average_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = sum over the windows a position is in, of g / how many positions the window counts."""
    op, kernel = ctx.op, list(ctx.attr("kernel_shape"))
    w, rank = Windows.of(ctx, kernel), len(kernel)
    include = bool(ctx.attr("count_include_pad", 0))
    if any(w.begin + w.end) or ctx.attr("ceil_mode", 0):
        ctx.known_dims(list(range(2, 2 + rank)))
        for axis, counts in enumerate(w.counts(include)):
            column = counts.reshape([-1] + [1] * (rank - axis - 1)).astype(
                ctx.layout().dtype.numpy()
            )
            g = op.Div(g, column)
    else:
        size = 1.0
        for k in kernel:
            size *= k
        g = op.Mul(g, 1.0 / size)
    channels = ctx.known_dims([1])[0]
    ones = op.Expand(op.value(1.0, g.dtype), [channels, 1, *kernel])
    return [sum_over_windows(ctx, g, ones, w, channels)]


@vjp("GlobalAveragePool", form="flat", family="exact-linear")
def global_average_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / positions, at every position."""
    op, axes = ctx.op, list(range(2, len(ctx.dims())))
    return [_expand(ctx, op.Div(g, ctx.count(axes)))]


def _expand(ctx: Context, g: ir.Value) -> ir.Value:
    """Repeat [P, C, 1, 1] over the input's positions."""
    ones = ctx.lift.shape(ctx.layout(), [1], ctx.input(0))
    return ctx.op.Expand(g, ones)


@vjp("GlobalMaxPool", form="paired")
def global_max_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g [x = y] / how many positions equal y."""
    op, x = ctx.op, ctx.x()
    axes = ctx.axes(list(range(2, len(ctx.dims()))))
    hits = op.Cast(op.Equal(x, ctx.y()), to=x.dtype)
    return [op.Mul(hits, op.Div(g, op.ReduceSum(hits, axes)))]


@vjp("MaxPool", form="paired")
def max_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g added at each window's first maximum."""
    op, x = ctx.op, ctx.input(0)
    if ctx.layout().batch == 0 and "references" not in ctx.lift.sizes:
        return [_by_batch(ctx, g)]
    indices, layout = max_positions(ctx, x)
    places = ctx.lift.flatten(ctx.spread(ctx.pair(indices, layout), layout), layout, indices)
    updates = op.Reshape(ctx.flatten(g, ctx.node.outputs[0]), [0, 0, -1])
    return [ctx.unflatten(scatter_to_windows(ctx, updates, places), x)]


def _by_batch(ctx: Context, g: ir.Value) -> ir.Value:
    """Scatter over all explicands at once: the runtime's indices count over the whole batch."""
    op, x = ctx.op, ctx.input(0)
    targets = ctx.lift.sizes["targets"]
    updates = op.Reshape(ctx.spread(g, ctx.node.outputs[0]), op.Concat(targets, [-1], axis=0))
    places = op.Expand(op.Reshape(max_indices(ctx, x), [1, -1]), op.Shape(updates))
    size = op.Reshape(op.Size(x), [1])
    zeros = op.ConstantOfShape(op.Concat(targets, size, axis=0), value=zero(g))
    placed = op.ScatterElements(zeros, places, updates, axis=1, reduction="add")
    return op.Reshape(placed, ctx.lift.shape(ctx.layout(), ctx.lift.lead(True), x))
