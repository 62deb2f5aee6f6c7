"""Reading images between their elements. x [N, C, *size], g and y [N, C, *positions]."""

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.sampling import Mode, Reads, Taps, add_back, moves, reads, taps, values
from onnxshap.autodiff.scatter import scatter_along


@vjp("DeformConv", form="flat")
def deform_conv(ctx: Context, g: ir.Value) -> Cotangents:
    """Columns W' g, added back where x was read, and times x's slopes; dW = g columns'."""
    op, offset_group = ctx.op, int(ctx.attr("offset_group", 1))
    channels, *sizes = ctx.known_dims([1, 2, 3])
    outputs, shared, *kernel = ctx.known_dims([0, 1, 2, 3], 1)
    group, area = int(ctx.attr("group", 1)), math.prod(kernel)
    r = _deformed_reads(ctx, kernel, sizes)
    places, each = math.prod(_outputs(ctx)), [-1, channels // offset_group]
    g_rows = op.Reshape(g, [-1, group, outputs // group, places])
    kernels = op.Reshape(ctx.x(1), [group, outputs // group, shared * area])
    columns = op.MatMul(op.Transpose(kernels, perm=[0, 2, 1]), g_rows)
    columns = op.Reshape(columns, [*each, area * places])
    mask = op.Reshape(ctx.x(4), [-1, 1, area * places]) if ctx.has(4) else None
    owed = op.Unsqueeze(columns if mask is None else op.Mul(columns, mask), [-1])
    dx = doffset = dw = dmask = None
    if ctx.needs(0):
        dx = op.Reshape(add_back(op, owed, r, math.prod(sizes)), ctx.shape(0))
    if any(ctx.needs(i) for i in (1, 2, 4)):
        read = values(op, op.Reshape(ctx.x(), [*each, math.prod(sizes)]), r)
        sampled = op.ReduceSum(op.Mul(read, op.Unsqueeze(r.weight, [1])), [-1], keepdims=0)
        if ctx.needs(1):
            held = sampled if mask is None else op.Mul(sampled, mask)
            held = op.Reshape(held, [-1, group, shared * area, places])
            products = op.MatMul(g_rows, op.Transpose(held, perm=[0, 1, 3, 2]))
            dw = op.Reshape(op.ReduceSum(products, [0], keepdims=0), ctx.shape(1))
        if ctx.needs(2):
            parts = [op.Reshape(part, [-1, area, 1, places]) for part in moves(op, owed, read, r)]
            doffset = op.Reshape(op.Concat(*parts, axis=2), ctx.shape(2))
        if ctx.needs(4):
            total = op.ReduceSum(op.Mul(columns, sampled), [1], keepdims=0)
            dmask = op.Reshape(total, ctx.shape(4))
    db = op.ReduceSum(g, [0, 2, 3], keepdims=0) if ctx.needs(3) else None
    return [dx, dw, doffset, db, dmask]


def _outputs(ctx: Context) -> list[int]:
    return ctx.known_dims([2, 3], 2)


def _deformed_reads(ctx: Context, kernel: list[int], sizes: list[int]) -> Reads:
    """Where each element of the kernel reads, at each position: [N offset_group, kernel places]."""
    op, ones = ctx.op, [1, 1]
    strides, dilations = ctx.attr("strides", ones), ctx.attr("dilations", ones)
    pads, outputs, area = ctx.attr("pads", [0] * 4), _outputs(ctx), math.prod(kernel)
    offsets = op.Reshape(ctx.x(2), [-1, area, 2, math.prod(outputs)])
    axes = []
    for i, size in enumerate(sizes):
        tap = np.arange(kernel[i]) * dilations[i] - pads[i]
        at = tap[:, None] + np.arange(outputs[i]) * strides[i]  # [kernel, output] of this axis
        at = at[:, None, :, None] if i == 0 else at[None, :, None, :]
        whole = np.broadcast_to(at, (*kernel, *outputs)).reshape(area, -1)
        moved = op.Squeeze(op.Slice(offsets, [i], [i + 1], [2]), [2])
        x = op.Reshape(op.Add(moved, op.Cast(whole.astype(np.int64), to=moved.dtype)), [0, -1])
        axes.append(taps(op, x, size, "linear", "zeros", (0.0, size - 1.0)))
    return reads(op, axes, sizes)


_MODES: dict[str, Mode] = {"bilinear": "linear", "bicubic": "cubic"}


@vjp("GridSample", form="flat", family="product")
def grid_sample(ctx: Context, g: ir.Value) -> Cotangents:
    """dX = g added where it was read, as weighted;  dgrid = g times the slope of X there."""
    op, rank = ctx.op, len(ctx.dims()) - 2
    sizes = ctx.known_dims(list(range(2, 2 + rank)))
    found = ctx.attr("mode", "linear")
    mode: Mode = _MODES.get(found, found)
    aligned, padding = bool(ctx.attr("align_corners", 0)), ctx.attr("padding_mode", "zeros")
    grid = op.Reshape(ctx.x(1), [0, -1, rank])
    axes = []
    scales = [(n - 1) / 2 if aligned else n / 2 for n in sizes]
    for i, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        own = op.Squeeze(op.Slice(grid, [rank - 1 - i], [rank - i], [2]), [2])
        x = op.Add(op.Mul(own, scale), (size - 1) / 2)
        edges = (0.0, size - 1.0) if aligned else (-0.5, size - 0.5)
        axes.append(taps(op, x, size, mode, padding, edges))
    r, flat = reads(op, axes, sizes), op.Reshape(g, [0, 0, -1, 1])
    dx = dgrid = None
    if ctx.needs(0):
        dx = op.Reshape(add_back(op, flat, r, math.prod(sizes)), ctx.shape(0))
    if ctx.needs(1):
        read = values(op, op.Reshape(ctx.x(), [0, 0, -1]), r)
        parts = [
            op.Unsqueeze(op.Mul(part, scale), [-1])
            for part, scale in zip(moves(op, flat, read, r), scales, strict=True)
        ]
        dgrid = op.Reshape(op.Concat(*reversed(parts), axis=-1), ctx.shape(1))
    return [dx, dgrid]


@vjp("AffineGrid", form="flat", inputs=(0,), family="exact-linear")
def affine_grid(ctx: Context, g: ir.Value) -> Cotangents:
    """dtheta = g' [x y z 1] over all positions; [x y z] is what the node makes of the identity."""
    op, rank = ctx.op, len(ctx.output_dims()) - 2
    ones = np.array([1], np.int64)
    size = op.Concat(ones, op.Slice(ctx.input(1), [1], [rank + 2], [0]), axis=0)
    identity = op.Cast(np.eye(rank, rank + 1)[None], to=g.dtype)
    grid = op.AffineGrid(identity, size, align_corners=ctx.attr("align_corners"))
    grid = op.Pad(op.Reshape(grid, [1, -1, rank]), [0, 0, 0, 0, 0, 1], op.value(1.0, g.dtype))
    return [op.MatMul(op.Transpose(op.Reshape(g, [0, -1, rank]), perm=[0, 2, 1]), grid)]


@dataclass(frozen=True)
class _Samples:
    """Where a region is sampled along one axis, S samples in each of B bins; [R, B, S]."""

    x: ir.Value
    counts: ir.Value
    """1 where there is a sample, 0 beyond a region's own number of them."""
    number: ir.Value
    """Samples in a bin, [R, 1, 1]."""
    starts: ir.Value
    ends: ir.Value
    """Slopes of x in the region's two edges."""


@vjp("RoiAlign", form="flat", inputs=(0, 1))
def roi_align(ctx: Context, g: ir.Value) -> Cotangents:
    """dX = g where a bin's samples, or the largest of their terms, were read;  drois = g X'."""
    op, (channels, *sizes) = ctx.op, ctx.known_dims([1, 2, 3])
    grids = [_roi_samples(ctx, i) for i in (0, 1)]
    shape = op.Concat(
        *(op.Shape(grids[i].x, start=a, end=a + 1) for a, i in ((0, 0), (1, 0), (1, 1))),
        *(op.Shape(grid.x, start=2) for grid in grids),
        axis=0,
    )

    def over_bins(value: ir.Value, i: int) -> ir.Value:
        """[R, B, S] of one axis, for each sample of each bin: [R, L], bins first."""
        return op.Reshape(
            op.Expand(op.Unsqueeze(value, [2, 4] if i == 0 else [1, 3]), shape), [0, -1]
        )

    axes, held = [], op.Mul(over_bins(grids[0].counts, 0), over_bins(grids[1].counts, 1))
    for i, size in enumerate(sizes):
        x = over_bins(grids[i].x, i)
        near = op.And(op.GreaterOrEqual(x, -1.0), op.LessOrEqual(x, float(size)))
        within = op.And(op.Greater(x, 0.0), op.Less(x, size - 1.0))
        x = op.Clip(x, op.value(0.0, x.dtype), op.value(size - 1.0, x.dtype))
        own = taps(op, x, size, "linear", "border", (0.0, size - 1.0))
        near, within = (op.Unsqueeze(op.Cast(v, to=x.dtype), [-1]) for v in (near, within))
        slope = op.Mul(op.Mul(own.slope, within), near)
        axes.append(Taps(own.place, op.Mul(own.weight, near), slope))
    r = reads(op, axes, sizes)
    images = op.Gather(op.Reshape(ctx.x(), [0, 0, -1]), ctx.x(2), axis=0)
    bins = op.Reshape(g, [0, 0, -1, 1])
    if ctx.attr("mode", "avg") == "avg":
        number = op.Max(op.Mul(grids[0].number, grids[1].number), op.value(1.0, g.dtype))
        owed = op.Div(bins, op.Unsqueeze(number, [-1]))
        read = None
    else:
        read = values(op, images, r)
        terms = op.Mul(read, op.Unsqueeze(r.weight, [1]))
        # The runtime's own maximum is rounded otherwise: what is equal to it must be found here.
        there = op.Cast(op.Unsqueeze(held, [1, 3]), to=ir.DataType.BOOL)
        by_bin = op.Concat(op.Shape(bins, end=3), [-1], axis=0)
        terms = op.Reshape(op.Where(there, terms, -math.inf), by_bin)
        hits = op.Cast(op.Equal(terms, op.ReduceMax(terms, [-1])), to=g.dtype)
        shares = op.Div(hits, op.ReduceSum(hits, [-1]))
        owed = op.Reshape(op.Mul(shares, bins), op.Shape(read))
    if read is None:  # all samples of a bin share alike
        spread = op.Concat(
            op.Shape(bins, end=3),
            op.Div(op.Shape(held, start=1), op.Shape(bins, start=2, end=3)),
            axis=0,
        )
        owed = op.Reshape(op.Expand(owed, spread), [0, channels, -1, 1])
        owed = op.Mul(owed, op.Unsqueeze(held, [1, 3]))
    dx = drois = None
    if ctx.needs(0):
        regions = op.Reshape(add_back(op, owed, r, math.prod(sizes)), [-1, channels, *sizes])
        dx = scatter_along(ctx, regions, 0, ctx.x(2), ctx.dims()[0])
    if ctx.needs(1):
        parts = moves(op, owed, values(op, images, r) if read is None else read, r)
        edges = [
            op.ReduceSum(op.Mul(parts[i], over_bins(edge, i)), [-1])
            for edge, i in (
                (grids[1].starts, 1),
                (grids[0].starts, 0),
                (grids[1].ends, 1),
                (grids[0].ends, 0),
            )
        ]
        drois = op.Concat(*edges, axis=1)
    return [dx, drois]


def _roi_samples(ctx: Context, i: int) -> _Samples:
    """Samples along spatial axis ``i``."""
    op, rois = ctx.op, ctx.x(1)
    scale, least = float(ctx.attr("spatial_scale", 1.0)), op.value(1.0, rois.dtype)
    half = ctx.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    bins = int(ctx.attr(("output_height", "output_width")[i], 1))
    start, end = (
        op.Unsqueeze(op.Sub(op.Mul(op.Slice(rois, [k], [k + 1], [1]), scale), 0.5 * half), [-1])
        for k in (1 - i, 3 - i)
    )
    extent, free = op.Sub(end, start), least
    if not half:
        free = op.Cast(op.Greater(extent, 1.0), to=rois.dtype)
        extent = op.Max(extent, least)
    step, ratio = op.Div(extent, float(bins)), int(ctx.attr("sampling_ratio", 0))
    number = op.Add(op.Mul(step, 0.0), float(ratio)) if ratio > 0 else op.Ceil(step)
    zero, one = (op.value(k, ir.DataType.INT64) for k in (0, 1))
    most = op.Max(op.ReduceMax(op.Cast(number, to=ir.DataType.INT64), keepdims=0), one)
    index = op.Cast(op.Reshape(op.Range(zero, most, one), [1, 1, -1]), to=rois.dtype)
    counts = op.Cast(op.Less(index, number), to=rois.dtype)
    own = op.Cast(np.arange(bins).reshape(1, -1, 1), to=rois.dtype)
    at = op.Add(own, op.Div(op.Add(index, 0.5), op.Max(number, least)))
    ends = op.Mul(op.Mul(at, free), scale / bins)
    return _Samples(op.Add(start, op.Mul(at, step)), counts, number, op.Sub(scale, ends), ends)
