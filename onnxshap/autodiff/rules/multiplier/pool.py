"""Maxima: the cross-max rule. y, y0: maxima of both sides, m: multiplier of y.

y - y0 = (max(y, y0) - y0) + (y - max(y, y0)): the first part belongs to the place of x's maximum,
the second to the place of r's. Windows may overlap, so contributions accumulate before they are
divided by d = x - r at their place, which is not 0 wherever a contribution is not.
"""

import onnx_ir as ir

from onnxshap.autodiff.completion import completed
from onnxshap.autodiff.context import Context
from onnxshap.autodiff.lift import Side
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.rules.vjp.pool import from_rois, lp_order, over_windows, roi_shares
from onnxshap.autodiff.secants import ratio
from onnxshap.autodiff.windows import Windows, max_positions, scatter_to_windows
from onnxshap.graph.builder import Builder


@multiplier("GlobalLpPool", form="paired", family="decomposed")
def global_lp_pool(ctx: Context, m: ir.Value) -> Cotangents:
    """m times the slope of the p-th root and the slope of |x|^p."""
    return [ctx.op.Mul(_root_slope(ctx, m), _power_slope(ctx))]


def _root_slope(ctx: Context, m: ir.Value) -> ir.Value:
    """m (y - y0) / (y^p - y0^p) = m / (y^(p-1) + y^(p-2) y0 + ..)."""
    return ratio(ctx.op, m, _terms(ctx.op, ctx.y(), ctx.y_ref(), lp_order(ctx)))


def _power_slope(ctx: Context) -> ir.Value:
    """(|x|^p - |r|^p) / (x - r), the slope of |x| times that of the power."""
    op, x, r, p = ctx.op, ctx.x(), ctx.r(), lp_order(ctx)
    total = op.Add(x, r)
    if p == 2:
        return total
    a, b = op.Abs(x), op.Abs(r)
    return op.Mul(ratio(op, total, op.Add(a, b)), _terms(op, a, b, p))


def _terms(op: Builder, a: ir.Value, b: ir.Value, p: int) -> ir.Value:
    """(a^p - b^p) / (a - b), by Horner's scheme: a^(p-1) + a^(p-2) b + .. + b^(p-1)."""
    total, power = op.value(1.0, a.dtype), b
    for k in range(1, p):
        total = op.Add(op.Mul(total, a), power)
        power = op.Mul(power, b) if k + 1 < p else power
    return total


@multiplier("GlobalMaxPool", form="paired", family="max")
def global_max_pool(ctx: Context, m: ir.Value) -> Cotangents:
    """m (relu(y - y0) at x's maximum - relu(y0 - y) at r's) / d."""
    axes = ctx.axes(list(range(2, len(ctx.dims()))))
    return [cross_max(ctx, m, ctx.y(), ctx.y_ref(), axes)]


def cross_max(
    ctx: Context, m: ir.Value, y: ir.Value, y0: ir.Value, axes: list[int], sign: float = 1.0
) -> ir.Value:
    """Cross-max over whole ``axes``; equal maxima share. ``sign`` -1: a minimum."""
    op, x, r = ctx.op, ctx.x(), ctx.r()
    shares = []
    for values, extreme in ((x, y), (r, y0)):
        hits = op.Cast(op.Equal(values, extreme), to=values.dtype)
        shares.append(op.Div(hits, op.ReduceSum(hits, axes)) if axes else hits)
    rise = op.Mul(op.Sub(y, y0), sign)
    up, down = op.Mul(m, op.Relu(rise)), op.Mul(m, op.Relu(op.Neg(rise)))
    placed = op.Mul(op.Sub(op.Mul(up, shares[0]), op.Mul(down, shares[1])), sign)
    return ratio(op, placed, op.Sub(x, r))


@multiplier("LpPool", form="flat", family="decomposed")
def lp_pool(ctx: Context, m: ir.Value) -> Cotangents:
    """m times the slope of the p-th root, summed over windows, times the slope of |x|^p."""
    w = Windows.of(ctx, list(ctx.attr("kernel_shape")))
    return [ctx.op.Mul(over_windows(ctx, _root_slope(ctx, m), w), _power_slope(ctx))]


@multiplier("MaxPool", form="paired", family="max")
def max_pool(ctx: Context, m: ir.Value) -> Cotangents:
    """m relu(y - y0) added at x's maximum of each window, -m relu(y0 - y) at r's, over d."""
    op, own, output = ctx.op, ctx.input(0), ctx.node.outputs[0]
    rise = op.Sub(ctx.y(), ctx.y_ref())
    places, updates = [], []
    sides: list[tuple[Side, ir.Value, ir.Value]] = [
        ("explicand", own, op.Relu(rise)),
        ("reference", ctx.counterpart(0), op.Neg(op.Relu(op.Neg(rise)))),
    ]
    for side, values, share in sides:
        indices, layout = max_positions(ctx, values)
        paired = ctx.pair(indices, layout, side)
        places.append(ctx.lift.flatten(ctx.spread(paired, layout), layout, indices))
        updates.append(op.Reshape(ctx.flatten(op.Mul(m, share), output), [0, 0, -1]))
    placed = scatter_to_windows(ctx, op.Concat(*updates, axis=2), op.Concat(*places, axis=2))
    return [ratio(op, ctx.unflatten(placed, own), ctx.delta())]


@multiplier("MaxRoiPool", form="flat", family="max")
def max_roi_pool(ctx: Context, m: ir.Value) -> Cotangents:
    """m relu(y - y0) at x's maximum of each bin, -m relu(y0 - y) at r's, summed, over d.

    Where the regions move, the least-norm completion.
    """
    if ctx.varies(1):
        return completed(ctx, m)
    op, y, y0 = ctx.op, ctx.y(), ctx.y_ref()
    rise = op.Sub(y, y0)
    up, down = op.Mul(m, op.Relu(rise)), op.Mul(m, op.Relu(op.Neg(rise)))
    parts = [
        op.Mul(roi_shares(ctx, side, top), op.Reshape(share, [0, 0, -1, 1]))
        for side, top, share in ((ctx.x(), y, up), (ctx.r(), y0, down))
    ]
    return [ratio(op, from_rois(ctx, op.Sub(*parts)), ctx.delta()), None]
