"""Operators that pick or place elements by index: no derivative for the indices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.scatter import scatter_along
from onnxshap.autodiff.windows import zero
from onnxshap.errors import UnsupportedOpError


@vjp("Compress", form="flat", inputs=(0,), family="exact-linear")
def compress(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g added at the kept slices."""
    op = ctx.op
    kept = op.Squeeze(op.NonZero(ctx.input(1)), [0])
    axis = ctx.attr("axis")
    if axis is not None:
        axis %= len(ctx.dims())
        return [scatter_along(ctx, g, axis, kept, ctx.dims()[axis])]
    zeros = op.ConstantOfShape(op.Reshape(op.Size(ctx.input(0)), [1]), value=zero(g))
    flat = op.ScatterElements(zeros, kept, g, axis=0, reduction="add")
    return [op.Reshape(flat, ctx.shape(0))]


@vjp("Gather", form="flat", inputs=(0,), family="exact-linear")
def gather(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g added at the picked rows."""
    op, axis = ctx.op, ctx.attr("axis", 0) % len(ctx.dims())
    if ctx.layout(1).batch is not None:
        raise UnsupportedOpError(
            f'Gather "{ctx.node.name}": indices differ from sample to sample while the data has a '
            "batch axis too; use GatherElements or GatherND with batch_dims in the model."
        )
    rank = len(ctx.dims(1))
    if rank == 0:
        g = op.Unsqueeze(g, [axis])
    elif rank > 1:
        before, after = op.Shape(g, end=axis), op.Shape(g, start=axis + rank)
        parts = [p for p, there in ((before, axis), (after, axis + 1 < len(ctx.dims()))) if there]
        parts.insert(1 if axis else 0, op.value([-1]))
        g = op.Reshape(g, op.Concat(*parts, axis=0))
    index = op.Reshape(ctx.input(1), [-1])
    return [scatter_along(ctx, g, axis, index, ctx.dims()[axis])]


@vjp("GatherElements", form="flat", inputs=(0,), family="exact-linear")
def gather_elements(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g added at the picked elements."""
    zeros = _zeros(ctx, g)
    axis = ctx.attr("axis", 0)
    return [ctx.op.ScatterElements(zeros, ctx.x(1), g, axis=axis, reduction="add")]


def _zeros(ctx: Context, g: ir.Value) -> ir.Value:
    """Zeros shaped like input 0, whose batch axis stands where g has it."""
    op, layout = ctx.op, ctx.layout()
    batch = ctx.output_layout().batch
    lead = [] if batch is None else [op.Shape(g, start=batch, end=batch + 1)]
    return op.ConstantOfShape(op.value(ctx.lift.shape(layout, lead, ctx.input(0))), value=zero(g))


@vjp("GatherND", form="flat", inputs=(0,), family="exact-linear")
def gather_nd(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g added at the picked places."""
    op, zeros = ctx.op, _zeros(ctx, g)
    return [op.ScatterND(zeros, _places(ctx, ctx.attr("batch_dims", 0)), g, reduction="add")]


def _places(ctx: Context, batch_dims: int = 0) -> ir.Value:
    """Indices [.., depth] of input 1 into all leading axes of input 0; flat form.

    A coordinate along the batch counts explicands in the model, all pairs here: it is replaced by
    the position of the pair.
    """
    op, index, own = ctx.op, ctx.x(1), ctx.layout(1)
    depth, rank, batch = own.dims[-1], len(own.dims), ctx.layout().batch
    assert depth is not None
    parts: list[ir.Value] = []
    for axis in range(batch_dims):
        parts.append(_positions(op, index, axis, rank, op.Shape(index, start=axis, end=axis + 1)))
    column = -1 if batch is None else batch - batch_dims
    if not 0 <= column < depth:
        parts.append(index)
    elif own.batch is None:
        raise UnsupportedOpError(
            f'{ctx.node.op_type} "{ctx.node.name}": its indices name samples of the batch by '
            "number. Index below the batch axis, by GatherElements or ScatterElements."
        )
    else:
        count = op.Shape(index, start=own.batch, end=own.batch + 1)
        before, after = ([0], [column]), ([column + 1], [depth])
        parts += [op.Slice(index, *before, [-1])] if column else []
        parts.append(_positions(op, index, own.batch, rank, count))
        parts += [op.Slice(index, *after, [-1])] if column + 1 < depth else []
    return op.Concat(*parts, axis=-1) if len(parts) > 1 else parts[0]


def _positions(op: Any, index: ir.Value, axis: int, rank: int, count: ir.Value) -> ir.Value:
    """Position along ``axis`` of each entry of ``index`` [.., depth], as [.., 1]."""
    row = op.Range(op.value(0, index.dtype), op.Squeeze(count, [0]), op.value(1, index.dtype))
    column = op.Reshape(row, [-1] + [1] * (rank - axis - 1))
    everywhere = op.Concat(op.Shape(index, end=rank - 1), [1], axis=0)
    found: ir.Value = op.Expand(column, everywhere)
    return found


@vjp("OneHot", form="flat", inputs=(2,), family="exact-linear")
def one_hot(ctx: Context, g: ir.Value) -> Cotangents:
    """dvalues = [sum of g where off, sum of g where on]."""
    op, axis = ctx.op, ctx.attr("axis", -1)
    assert g.dtype is not None
    hot = op.OneHot(ctx.x(0), ctx.input(1), np.array([0, 1], g.dtype.numpy()), axis=axis)
    on = op.ReduceSum(op.Mul(g, hot), keepdims=0)
    off = op.Sub(op.ReduceSum(g, keepdims=0), on)
    return [None, None, op.Concat(op.Unsqueeze(off, [0]), op.Unsqueeze(on, [0]), axis=0)]


@vjp("ReverseSequence", form="flat", inputs=(0,), family="exact-linear")
def reverse_sequence(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g reversed alike."""
    axes = {name: ctx.attr(name) for name in ("batch_axis", "time_axis")}
    return [ctx.op.ReverseSequence(g, ctx.x(1), **axes)]


@vjp("ScatterElements", form="flat", inputs=(0, 2))
def scatter_elements(ctx: Context, g: ir.Value) -> Cotangents:
    """ddata = g, zero where overwritten;  dupdates = g at the indices."""
    op, axis, index = ctx.op, ctx.attr("axis", 0), ctx.x(1)

    def gather(value: ir.Value) -> ir.Value:
        return op.GatherElements(value, index, axis=axis)

    def scatter(value: ir.Value, updates: ir.Value, reduction: str) -> ir.Value:
        return op.ScatterElements(value, index, updates, axis=axis, reduction=reduction)

    return _placed(ctx, g, gather, scatter)


@vjp("ScatterND", form="flat", inputs=(0, 2))
def scatter_nd(ctx: Context, g: ir.Value) -> Cotangents:
    """ddata = g, zero where overwritten;  dupdates = g at the places."""
    op, index = ctx.op, _places(ctx)

    def gather(value: ir.Value) -> ir.Value:
        return op.GatherND(value, index)

    def scatter(value: ir.Value, updates: ir.Value, reduction: str) -> ir.Value:
        return op.ScatterND(value, index, updates, reduction=reduction)

    return _placed(ctx, g, gather, scatter)


def _placed(
    ctx: Context,
    g: ir.Value,
    gather: Callable[[ir.Value], ir.Value],
    scatter: Callable[[ir.Value, ir.Value, str], ir.Value],
) -> list[ir.Value | None]:
    """Cotangents of data and updates u placed into it, for each reduction.

    add: g and g. mul: g times the product of the other factors. max, min: g to those that are
    equal to y, in equal shares.
    """
    op, reduction = ctx.op, ctx.attr("reduction", "none")
    data = updates = None
    if reduction in ("none", "add"):
        updates = gather(g)
        data = scatter(g, op.Mul(updates, 0.0), "none") if reduction == "none" else g
    elif reduction == "mul":
        ones = op.Expand(op.value(1.0, g.dtype), op.Shape(g))
        u = ctx.x(2)
        data = op.Mul(g, scatter(ones, u, "mul")) if ctx.needs(0) else None
        if ctx.needs(2):  # factors that are 0 are counted, not divided by
            zeros = op.Cast(op.Equal(u, 0.0), to=g.dtype)
            count = gather(scatter(op.Mul(ones, 0.0), zeros, "add"))
            rest = gather(op.Mul(g, op.Mul(ctx.x(0), scatter(ones, op.Add(u, zeros), "mul"))))
            single = op.Cast(op.Equal(count, zeros), to=g.dtype)
            updates = op.Mul(single, op.Div(rest, op.Add(u, zeros)))
    else:
        x, u, y = ctx.x(0), ctx.x(2), ctx.y()
        held = op.Cast(op.Equal(x, y), to=g.dtype)
        hits = op.Cast(op.Equal(u, gather(y)), to=g.dtype)
        share = op.Div(g, scatter(held, hits, "add"))
        data, updates = op.Mul(held, share), op.Mul(hits, gather(share))
    return [data, None, updates if ctx.needs(2) else None]


@vjp("TensorScatter", form="flat", inputs=(0, 1), family="exact-linear")
def tensor_scatter(ctx: Context, g: ir.Value) -> Cotangents:
    """dcache = g, zero where overwritten;  dupdate = g where it was written."""
    op, rank = ctx.op, len(ctx.dims())
    axis = ctx.attr("axis", -2) % rank
    size, written = (ctx.known_dims([axis], i)[0] for i in (0, 1))
    spread = [-1] + [1] * (rank - axis - 1)
    index = op.Reshape(op.value(list(range(written))), spread)
    if ctx.has(2):
        first = op.Cast(ctx.x(2), to=ir.DataType.INT64)
        index = op.Add(index, op.Reshape(first, [-1] + [1] * (rank - 1)))
    if ctx.attr("mode", "linear") == "circular":
        index = op.Mod(index, [size])
    parts = [op.Shape(g, end=axis), op.value([written])]
    if axis + 1 < rank:
        parts.append(op.Shape(g, start=axis + 1))
    index = op.Expand(index, op.Concat(*parts, axis=0))
    update = op.GatherElements(g, index, axis=axis)
    cache = op.ScatterElements(g, index, op.Mul(update, 0.0), axis=axis) if ctx.needs(0) else None
    return [cache, update]


@vjp("TopK", form="flat", inputs=(0,))
def top_k(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g at the places the values were taken from."""
    axis = ctx.attr("axis", -1)
    return [ctx.op.ScatterElements(_zeros(ctx, g), ctx.y(1), g, axis=axis, reduction="add")]


@vjp("Trilu", form="flat", inputs=(0,), family="exact-linear")
def trilu(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = the same triangle of g."""
    k = ctx.input(1) if ctx.has(1) else None
    return [ctx.op.Trilu(g, k, upper=ctx.attr("upper", 1))]
