"""Operators that move, repeat or drop elements: all linear, each the transpose of its node."""

import math

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.scatter import scatter_along
from onnxshap.autodiff.windows import zero


@vjp("Cast", family="exact-linear")
def cast(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g, in x's dtype; as it is where x are integers that stand for floats."""
    dtype = ctx.layout().dtype
    return [ctx.op.Cast(g, to=dtype) if dtype.is_floating_point() else g]


@vjp("Col2Im", form="flat", inputs=(0,), family="exact-linear")
def col2im(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = the blocks of g: where columns were added up, each takes the sum's cotangent."""
    op, image = ctx.op, [int(n) for n in ctx.require(1, "image_shape").ravel()]
    block, rank = [int(n) for n in ctx.require(2, "block_shape").ravel()], len(image)
    pads, ones = ctx.attr("pads", [0] * 2 * rank), [1] * rank
    place, inside = np.zeros((), np.int64), np.ones((), bool)
    for i, (size, k) in enumerate(zip(image, block, strict=True)):
        d, s = ctx.attr("dilations", ones)[i], ctx.attr("strides", ones)[i]
        count = (size + pads[i] + pads[rank + i] - d * (k - 1) - 1) // s + 1
        at = np.arange(k)[:, None] * d + np.arange(count) * s - pads[i]
        at = at.reshape([1] * i + [k] + [1] * (rank - 1) + [count] + [1] * (rank - i - 1))
        place, inside = place * size + at, inside & (at >= 0) & (at < size)
    total = math.prod(image)
    index = np.where(inside, place, total).reshape(math.prod(block), -1)  # the last is padding
    flat = op.Pad(op.Reshape(g, [0, 0, -1]), [0, 0, 0, 0, 0, 1])
    return [op.Reshape(op.Gather(flat, index, axis=2), ctx.shape(0))]


@vjp("Concat", form="flat", family="exact-linear")
def concat(ctx: Context, g: ir.Value) -> Cotangents:
    """dx_i = the part of g that came from x_i."""
    axis = ctx.attr("axis") % len(ctx.dims())
    count = len(ctx.node.inputs)
    sizes = [ctx.known_dims([axis], i)[0] for i in range(count)]
    if count == 1:
        return [g]
    return list(ctx.op.several("Split", g, sizes, outputs=count, axis=axis))


@vjp("DepthToSpace", form="flat", family="exact-linear")
def depth_to_space(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = space to depth."""
    op, b = ctx.op, int(ctx.attr("blocksize"))
    if ctx.attr("mode", "DCR") == "DCR":
        return [op.SpaceToDepth(g, blocksize=b)]
    channels, height, width = ctx.known_dims([1, 2, 3])
    g = op.Reshape(g, [-1, channels // b**2, height, b, width, b])
    g = op.Transpose(g, perm=[0, 1, 3, 5, 2, 4])
    return [op.Reshape(g, ctx.shape(0))]


@vjp("Dropout", inputs=(0,), family="exact-linear")
def dropout(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g: nothing is dropped at inference."""
    return [g]


@vjp("Expand", inputs=(0,), family="exact-linear")
def expand(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g, summed over what was repeated."""
    return [g]


@vjp("Flatten", form="flat", family="exact-linear")
@vjp("Reshape", form="flat", inputs=(0,), family="exact-linear")
@vjp("Squeeze", form="flat", inputs=(0,), family="exact-linear")
@vjp("Unsqueeze", form="flat", inputs=(0,), family="exact-linear")
def reshape(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g in x's shape."""
    return [ctx.op.Reshape(g, ctx.shape(0), allowzero=int(0 in ctx.dims()))]


@vjp("Identity", family="exact-linear")
def identity(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g."""
    return [g]


@vjp("Pad", form="flat", inputs=(0,), family="exact-linear")
def pad(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g without the border; borders that repeat x are added back where they came from."""
    op, rank = ctx.op, len(ctx.dims())
    pads = [int(p) for p in ctx.require(1, "pads").ravel()]
    axes = [int(a) % rank for a in ctx.require(3, "axes").ravel()] if ctx.has(3) else range(rank)
    count = len(pads) // 2
    mode = ctx.attr("mode", "constant")
    if mode == "constant":
        full = [0] * (2 * rank)
        for k, axis in enumerate(axes):
            full[axis], full[rank + axis] = -pads[k], -pads[count + k]
        return [op.Pad(g, full)]
    for k, axis in enumerate(axes):
        begin, end = pads[k], pads[count + k]
        if not begin and not end:
            continue
        size = ctx.known_dims([axis])[0]
        # The padded row of positions: where each element of y was picked from.
        inner = np.arange(max(0, -begin), size - max(0, -end))
        picked = np.pad(inner, (max(0, begin), max(0, end)), mode=mode)
        g = scatter_along(ctx, g, axis, picked.astype(np.int64), size)
    return [g]


_INTERPOLATION = (
    "antialias",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "mode",
    "nearest_mode",
)


@vjp("Resize", form="flat", inputs=(0,), family="exact-linear")
def resize(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = R' g along each resized axis; R is the node run on the identity."""
    rank = len(ctx.dims())
    axes = [a % rank for a in ctx.attr("axes", list(range(rank)))]
    leader = _leading(ctx, axes)
    for k, axis in enumerate(axes):
        if axis == _batch(ctx):
            continue
        roi, scales = _roi(ctx, k, len(axes)), _scales(ctx)
        same = ctx.known_dims([axis])[0] == ctx.output_dims()[axis] and roi in (None, (0.0, 1.0))
        if same and leader in (None, k) and (scales is None or float(scales[k]) == 1.0):
            continue
        matrix = _interpolation(ctx, k, axes, roi, None if leader == k else leader)
        g = _contract(ctx, g, axis, rank, matrix)
    return [g]


def _batch(ctx: Context) -> int | None:
    """Axis of input 0 that counts samples; where samples are not separable there is one of them."""
    return ctx.lift.layouts.batch_axis(ctx.input(0))


def _scales(ctx: Context) -> np.ndarray | None:
    given = ctx.has(2) and ctx.dims(2) != (0,)
    return ctx.require(2, "scales").ravel() if given else None


def _roi(ctx: Context, k: int, count: int) -> tuple[float, float] | None:
    """Which part of the ``k``-th resized axis is shown, where the mode is to crop."""
    if ctx.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return None
    bounds = ctx.require(1, "roi").ravel()
    return float(bounds[k]), float(bounds[count + k])


def _leading(ctx: Context, axes: list[int]) -> int | None:
    """Which of the resized axes sets the scale of all, where the aspect ratio is kept."""
    policy = ctx.attr("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch" or _scales(ctx) is not None:
        return None
    sizes = [1 if a == _batch(ctx) else ctx.known_dims([a])[0] for a in axes]
    ratios = ctx.require(3, "sizes").ravel() / np.array(sizes)
    return int(ratios.argmin() if policy == "not_larger" else ratios.argmax())


def _interpolation(
    ctx: Context, k: int, axes: list[int], roi: tuple[float, float] | None, leader: int | None
) -> ir.Value:
    """Matrix [output, size] of the ``k``-th resized axis; ``leader``: which other sets its scale.

    The identity has a second axis, of which the first row is read: the leader; or one that grows,
    where the node scales this axis to its own size: what changes no size runtimes take for a copy.
    """
    op, dtype, scales = ctx.op, ctx.layout().dtype.numpy(), _scales(ctx)
    (size,), output = ctx.known_dims([axes[k]]), ctx.output_dims()[axes[k]]
    settings = {name: ctx.attr(name) for name in _INTERPOLATION}  # beyond the border: nothing of x
    beside, scale = 1, None
    wanted: list[int] | None = None
    if scales is not None:
        grown = 2.0 if output == size and ctx.dims() != ctx.output_dims() else 1.0
        scale = np.array([grown, scales[k]], np.float32)
    elif leader is not None:
        settings["keep_aspect_ratio_policy"] = ctx.attr("keep_aspect_ratio_policy")
        beside = ctx.known_dims([axes[leader]])[0]
        wanted = [int(n) for n in ctx.require(3, "sizes").ravel()[[leader, k]]]
    else:
        wanted = [1, int(ctx.require(3, "sizes").ravel()[k]) if output is None else output]
    identity = np.broadcast_to(np.eye(size, dtype=dtype)[:, None], (1, size, beside, size))
    part = None if roi is None else np.array([0, roi[0], 1, roi[1]], dtype)
    found = op.Resize(identity, part, scale, wanted, axes=[2, 3], **settings)
    first = op.Reshape(op.Slice(found, [0], [1], [2]), [size, -1])
    return op.Transpose(first, perm=[1, 0])


def _contract(ctx: Context, g: ir.Value, axis: int, rank: int, matrix: ir.Value) -> ir.Value:
    """Sum over ``axis`` of g [.., output, ..] with the matrix [output, size]."""
    op = ctx.op
    order = [a for a in range(rank) if a != axis] + [axis]
    back = [order.index(a) for a in range(rank)]
    last = axis == rank - 1
    product = op.MatMul(g if last else op.Transpose(g, perm=order), matrix)
    return product if last else op.Transpose(product, perm=back)


@vjp("Slice", form="flat", inputs=(0,), family="exact-linear")
def slice_(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g where it was cut from, zero elsewhere."""
    op, rank = ctx.op, len(ctx.dims())
    starts, ends = ctx.require(1, "starts").ravel(), ctx.require(2, "ends").ravel()
    axes = ctx.require(3, "axes").ravel() if ctx.has(3) else range(len(starts))
    steps = ctx.require(4, "steps").ravel() if ctx.has(4) else [1] * len(starts)
    border = [0] * (2 * rank)
    for start, end, own, step in zip(starts, ends, axes, steps, strict=True):
        axis = int(own) % rank
        if axis == _batch(ctx):
            continue  # separable, so all samples are kept in order; or one sample, which is kept
        size = ctx.known_dims([axis])[0]
        picked = range(size)[_bounds(int(start), int(end), int(step), size)]
        if int(step) == 1:
            border[axis] = picked.start
            border[rank + axis] = size - max(picked.start, picked.stop)  # it may pick none
        else:
            g = scatter_along(ctx, g, axis, np.array(picked, np.int64), size)
    return [op.Pad(g, border) if any(border) else g]


def _bounds(start: int, end: int, step: int, size: int) -> slice:
    """ONNX's Slice as a Python slice: ends beyond the axis are moved to its first or last place."""
    first, last = (0, size) if step > 0 else (-1, size - 1)
    start, end = (k + size if k < 0 else k for k in (start, end))
    start, end = min(max(start, 0), last), min(max(end, first), last)
    return slice(start, None if end < 0 else end, step)


@vjp("SpaceToDepth", form="flat", family="exact-linear")
def space_to_depth(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = depth to space."""
    return [ctx.op.DepthToSpace(g, blocksize=ctx.attr("blocksize"))]


@vjp("Split", form="flat", inputs=(0,), outputs=None, family="exact-linear")
def split(ctx: Context, *gs: ir.Value | None) -> Cotangents:
    """dx = all g joined; zero for parts that do not reach the target."""
    op, axis = ctx.op, ctx.attr("axis", 0) % len(ctx.dims())
    present = next(g for g in gs if g is not None)
    parts = []
    for k, g in enumerate(gs):
        if g is None:
            layout = ctx.output_layout(k)
            lead = (
                []
                if layout.batch is None
                else [op.Shape(present, start=layout.batch, end=layout.batch + 1)]
            )
            shape = ctx.lift.shape(layout, lead, ctx.node.outputs[k])
            g = op.ConstantOfShape(op.value(shape), value=zero(present))
        parts.append(g)
    return [op.Concat(*parts, axis=axis)]


@vjp("Tile", form="flat", inputs=(0,), family="exact-linear")
def tile(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g summed over the repetitions."""
    op, rank = ctx.op, len(ctx.dims())
    repeats = [int(r) for r in ctx.require(1, "repeats").ravel()]
    sizes = [-1 if a == _batch(ctx) else ctx.known_dims([a])[0] for a in range(rank)]
    interleaved = [n for r, size in zip(repeats, sizes, strict=True) for n in (r, size)]
    return [op.ReduceSum(op.Reshape(g, interleaved), list(range(0, 2 * rank, 2)), keepdims=0)]


@vjp("Transpose", form="flat", family="exact-linear")
def transpose(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g with the axes put back."""
    rank = len(ctx.dims())
    perm = ctx.attr("perm", list(range(rank))[::-1])
    return [ctx.op.Transpose(g, perm=[list(perm).index(a) for a in range(rank)])]
