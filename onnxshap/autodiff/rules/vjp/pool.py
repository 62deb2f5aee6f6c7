"""Pools. x [N, C, *size], g and y [N, C, *windows]."""

import math

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.adjoint import adjoint
from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.scatter import scatter_along
from onnxshap.autodiff.windows import (
    Windows,
    max_indices,
    max_positions,
    scatter_to_windows,
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
    return [over_windows(ctx, g, w)]


def over_windows(ctx: Context, g: ir.Value, w: Windows) -> ir.Value:
    """Sum of g over the windows each position is in; flat form."""
    channels = ctx.known_dims([1])[0]
    ones = ctx.op.Expand(ctx.op.value(1.0, g.dtype), [channels, 1, *w.kernel])
    return adjoint(ctx, g, ones, (channels, 1), w, channels)


@vjp("GlobalAveragePool", form="paired", family="exact-linear")
def global_average_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / positions, at every position."""
    axes = list(range(2, len(ctx.dims())))
    return [ctx.repeat(ctx.op.Div(g, ctx.count(axes)))]


@vjp("GlobalLpPool", form="paired")
def global_lp_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g sign(x) (|x| / y)^(p-1)."""
    return [ctx.op.Mul(_lp_outer(ctx, g), _lp_inner(ctx))]


def lp_order(ctx: Context) -> int:
    """The p of y = (sum |x|^p)^(1/p)."""
    return int(ctx.attr("p", 2))


def _lp_inner(ctx: Context) -> ir.Value:
    """sign(x) |x|^(p-1)."""
    op, x, p = ctx.op, ctx.x(), lp_order(ctx)
    if p == 2:
        return x
    sign: ir.Value = op.Sign(x)
    return op.Mul(sign, op.Pow(op.Abs(x), float(p - 1))) if p > 1 else sign


def _lp_outer(ctx: Context, g: ir.Value) -> ir.Value:
    """g y^(1-p); g where y = 0, since x is 0 there."""
    op, y, p = ctx.op, ctx.y(), lp_order(ctx)
    if p == 1:
        return g
    y = op.Add(y, op.Cast(op.Equal(y, 0.0), to=y.dtype))
    found: ir.Value = op.Div(g, y if p == 2 else op.Pow(y, float(p - 1)))
    return found


@vjp("GlobalMaxPool", form="paired")
def global_max_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g [x = y] / how many positions equal y."""
    op, x = ctx.op, ctx.x()
    axes = ctx.axes(list(range(2, len(ctx.dims()))))
    hits = op.Cast(op.Equal(x, ctx.y()), to=x.dtype)
    return [op.Mul(hits, op.Div(g, op.ReduceSum(hits, axes)))]


@vjp("LpPool", form="flat")
def lp_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = sign(x) |x|^(p-1) times the sum, over the windows a position is in, of g y^(1-p)."""
    w = Windows.of(ctx, list(ctx.attr("kernel_shape")))
    return [ctx.op.Mul(over_windows(ctx, _lp_outer(ctx, g), w), _lp_inner(ctx))]


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


@vjp("MaxRoiPool", form="flat")
def max_roi_pool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g [x = y] / how many positions of the bin equal y;  drois = 0, as they are rounded."""
    op = ctx.op
    parts = op.Mul(roi_shares(ctx, ctx.x(), ctx.y()), op.Reshape(g, [0, 0, -1, 1]))
    return [from_rois(ctx, parts), op.Mul(ctx.x(1), 0.0) if ctx.needs(1) else None]


def roi_shares(ctx: Context, x: ir.Value, y: ir.Value) -> ir.Value:
    """Shares [R, C, bins, H W] of each bin's maximum y that positions of x have; equal ones share.

    x [N, C, H, W], y [R, C, *bins].
    """
    op, (channels, height, width) = ctx.op, ctx.known_dims([1, 2, 3])
    samples, inside = _bins(ctx, height, width)
    picked = op.Reshape(op.Gather(x, samples, axis=0), [-1, channels, 1, height * width])
    found = op.Cast(op.Equal(picked, op.Reshape(y, [0, 0, -1, 1])), to=x.dtype)
    hits = op.Mul(found, op.Cast(inside, to=x.dtype))
    return op.Div(hits, op.Max(op.ReduceSum(hits, [-1]), op.value(1.0, x.dtype)))


def from_rois(ctx: Context, parts: ir.Value) -> ir.Value:
    """Sum [R, C, bins, H W] over bins, and over the regions of each sample."""
    op, sizes = ctx.op, ctx.known_dims([1, 2, 3])
    samples, _ = _bins(ctx, *sizes[1:])
    regions = op.Reshape(op.ReduceSum(parts, [2], keepdims=0), [-1, *sizes])
    return scatter_along(ctx, regions, 0, samples, ctx.dims()[0])


def _bins(ctx: Context, height: int, width: int) -> tuple[ir.Value, ir.Value]:
    """Sample [R] of each region, and whether a position is in a bin: [R, 1, bins, H W]."""
    op, rois = ctx.op, ctx.x(1)
    scale, pooled = float(ctx.attr("spatial_scale", 1.0)), ctx.attr("pooled_shape")
    corners = op.Mul(op.Slice(rois, [1], [5], [1]), scale)
    corners = op.Mul(op.Sign(corners), op.Floor(op.Add(op.Abs(corners), 0.5)))
    corners = op.Cast(corners, to=ir.DataType.INT64)
    sides = []
    for place, bins, size in ((1, pooled[0], height), (0, pooled[1], width)):
        first, last = (op.Slice(corners, [k], [k + 1], [1]) for k in (place, place + 2))
        extent, k = op.Max(op.Add(op.Sub(last, first), [1]), [1]), np.arange(bins)
        starts = op.Add(first, op.Div(op.Mul(extent, k), [bins]))
        ends = op.Add(first, op.Div(op.Add(op.Mul(extent, k + 1), [bins - 1]), [bins]))
        starts, ends, at = op.Unsqueeze(starts, [2]), op.Unsqueeze(ends, [2]), np.arange(size)
        sides.append(op.And(op.LessOrEqual(starts, at), op.Less(at, ends)))
    inside = op.And(op.Unsqueeze(sides[0], [2, 4]), op.Unsqueeze(sides[1], [1, 3]))
    flat = op.Reshape(inside, [-1, 1, math.prod(pooled), height * width])
    samples = op.Cast(op.Squeeze(op.Slice(rois, [0], [1], [1]), [1]), to=ir.DataType.INT64)
    return samples, flat


@vjp("MaxUnpool", form="flat", inputs=(0,), family="exact-linear")
def max_unpool(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g at the places x was put."""
    op, rank = ctx.op, len(ctx.dims()) - 2
    axes = list(range(2, 2 + rank))
    if ctx.has(2):  # indices count in the size without it, which lies at the output's beginning
        kernel, pads = ctx.attr("kernel_shape"), ctx.attr("pads", [0] * 2 * rank)
        strides, sizes = ctx.attr("strides", [1] * rank), ctx.known_dims(axes)
        ends = [
            (n - 1) * s - pads[i] - pads[rank + i] + k
            for i, (n, s, k) in enumerate(zip(sizes, strides, kernel, strict=True))
        ]
        g = op.Slice(g, [0] * rank, ends, axes)
    plane = op.ReduceProd(op.Shape(g, start=2), [0])
    places = op.Reshape(op.Mod(ctx.x(1), plane), [0, 0, -1])
    picked = op.GatherElements(op.Reshape(g, [0, 0, -1]), places, axis=2)
    return [op.Reshape(picked, ctx.shape(0))]
