"""Normalisations, decomposed: centre, square, mean, root, product; each part exact.

m: multiplier of y; x, r: both sides. y = c s scale + bias, c = x - mean(x),
s = (mean(c^2) + epsilon)^-1/2.
"""

from typing import Any

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.rules.multiplier.elementwise import abs_secant
from onnxshap.autodiff.rules.vjp.norm import (
    EPSILON,
    channel_sum,
    channel_window,
    channels,
    lp_norm,
    lrn_denominator,
    lrn_parameters,
    reciprocal_deviation,
    scaled,
    summed_like,
    trailing_axes,
)
from onnxshap.autodiff.secants import guarded, ratio


@multiplier(
    "BatchNormalization",
    form="paired",
    family="decomposed",
    linear=lambda _, moving: moving <= {0, 2, 3},
)
def batch_normalization(ctx: Context, m: ir.Value) -> Cotangents:
    """m (t + t0)/2 for x, t = scale s, s = 1/sqrt(var + epsilon): linear where t is constant.

    y = (x - mean) t + B: a product of two, one of which is a product again, with the reciprocal
    root of the variance.
    """
    op, sides = ctx.op, _sides(ctx)
    scale, scale0 = (channels(ctx, v) for v in sides(1))
    s, s0 = (reciprocal_deviation(ctx, v) for v in sides(4))
    slope = op.Mul(scale, s)
    if ctx.varies(1) or ctx.varies(4):
        slope = op.Mul(op.Add(slope, op.Mul(scale0, s0)), 0.5)
    dx = scaled(ctx, m, slope)
    returned = [dx, None, channel_sum(ctx, _bias(ctx, m), 2), channel_sum(ctx, op.Neg(dx), 3), None]
    if ctx.needs(1) or ctx.needs(4):
        x, mean = sides(0), [channels(ctx, v) for v in sides(3)]
        centred = op.Sub(op.Add(*x), op.Add(*mean))
        dt = op.Mul(op.Mul(m, centred), 0.25)  # half the sum of two, and half of it again
        returned[1] = channel_sum(ctx, op.Mul(dt, op.Add(s, s0)), 1)
        root = op.Mul(op.Mul(dt, op.Add(scale, scale0)), _root_slope(ctx, s, s0))
        returned[4] = channel_sum(ctx, root, 4)
    return returned


def _sides(ctx: Context) -> Any:
    """Return a function of a place that gives both sides' input; the same where it cannot vary."""
    return lambda i: (ctx.x(i), ctx.r(i) if ctx.varies(i) else ctx.x(i))


def _bias(ctx: Context, m: ir.Value) -> ir.Value:
    """m for what is added, over all pairs where what goes back beside it is."""
    beside = ctx.needs(2) and ctx.is_spread
    return ctx.spread(m, ctx.node.outputs[0]) if beside else m


def _root_slope(ctx: Context, s: ir.Value, s0: ir.Value) -> ir.Value:
    """(s - s0) / (u - u0) of s = 1/sqrt(u): -s^2 s0^2 / (s + s0)."""
    op, product = ctx.op, ctx.op.Mul(s, s0)
    slope: ir.Value = op.Neg(op.Div(op.Mul(product, product), op.Add(s, s0)))
    return slope


@multiplier("InstanceNormalization", form="paired", family="decomposed")
def instance_normalization(ctx: Context, m: ir.Value) -> Cotangents:
    """m_c = m' (s + s0)/2 + v (c + c0), less its mean; v through the reciprocal root's secant."""
    axes = list(range(2, len(ctx.dims())))
    dx, z = _normalization(ctx, m, axes, channels(ctx, _middle(ctx, 1)))
    return [dx, channel_sum(ctx, ctx.op.Mul(m, z), 1), channel_sum(ctx, _bias(ctx, m), 2)]


@multiplier("LayerNormalization", form="paired", family="decomposed")
def layer_normalization(ctx: Context, m: ir.Value) -> Cotangents:
    """m_c = m' (s + s0)/2 + v (c + c0), less its mean; v through the reciprocal root's secant."""
    dx, z = _normalization(ctx, m, trailing_axes(ctx), _middle(ctx, 1))
    return [dx, summed_like(ctx, ctx.op.Mul(m, z), 1), summed_like(ctx, _bias(ctx, m), 2)]


@multiplier("RMSNormalization", form="paired", family="decomposed")
def rms_normalization(ctx: Context, m: ir.Value) -> Cotangents:
    """m' (s + s0)/2 + v (x + r), v through the secant of the root mean square's reciprocal."""
    dx, z = _normalization(ctx, m, trailing_axes(ctx), _middle(ctx, 1), centred=False)
    return [dx, summed_like(ctx, ctx.op.Mul(m, z), 1)]


def _middle(ctx: Context, i: int) -> ir.Value:
    """Mean of both sides' input ``i``."""
    if not ctx.varies(i):
        return ctx.x(i)
    mean: ir.Value = ctx.op.Mul(ctx.op.Add(ctx.x(i), ctx.r(i)), 0.5)
    return mean


def _normalization(
    ctx: Context, m: ir.Value, own_axes: list[int], scale: ir.Value, centred: bool = True
) -> tuple[ir.Value, ir.Value]:
    """Multiplier of x, and the mean of what x and r become before they are scaled."""
    op, axes = ctx.op, ctx.axes(own_axes)
    (c, s), (c0, s0) = (_standardise(ctx, v, axes, centred) for v in (ctx.x(), ctx.r()))
    z = op.Mul(op.Add(op.Mul(c, s), op.Mul(c0, s0)), 0.5) if ctx.needs(1) else c
    m, total = op.Mul(m, scale), op.Add(c, c0)
    m_s = op.ReduceSum(op.Mul(op.Mul(m, total), 0.5), axes)
    m_u = op.Div(op.Mul(m_s, _root_slope(ctx, s, s0)), ctx.count(own_axes))
    m_c = op.Add(op.Mul(m, op.Mul(op.Add(s, s0), 0.5)), op.Mul(m_u, total))
    return op.Sub(m_c, op.ReduceMean(m_c, axes)) if centred else m_c, z


def _standardise(ctx: Context, x: ir.Value, axes: list[int], centred: bool) -> tuple[Any, Any]:
    """Centred values and the reciprocal deviation of one side."""
    op = ctx.op
    c = op.Sub(x, op.ReduceMean(x, axes)) if centred else x
    u = op.Add(op.ReduceMean(op.Mul(c, c), axes), float(ctx.attr("epsilon", EPSILON)))
    return c, op.Reciprocal(op.Sqrt(u))


@multiplier("LpNormalization", form="paired", family="decomposed")
def lp_normalization(ctx: Context, m: ir.Value) -> Cotangents:
    """m (u + u0)/2 + n' v, u = 1/n, n' the secant of the norm n, v = sum(m (x + r)/2) (u - u0)/dn.

    Where a norm is 0 so are y and u.
    """
    op, x, r, axis = ctx.op, ctx.x(), ctx.r(), ctx.axis(ctx.attr("axis", -1))
    n, n0 = lp_norm(ctx, x), lp_norm(ctx, r)
    u, u0 = (op.Mul(op.Sign(v), ratio(op, op.value(1.0, v.dtype), v)) for v in (n, n0))
    total = op.Add(x, r)
    secant = abs_secant(op, x, r) if ctx.attr("p", 2) == 1 else ratio(op, total, op.Add(n, n0))
    both = op.Mul(u, u0)
    lonely = op.Cast(op.Equal(both, 0.0), to=both.dtype)  # then (u - u0)/dn is the other's square
    slope = op.Sub(op.Mul(lonely, op.Add(op.Mul(u, u), op.Mul(u0, u0))), both)
    v = op.Mul(op.ReduceSum(op.Mul(op.Mul(m, total), 0.5), [axis]), slope)
    return [op.Add(op.Mul(m, op.Mul(op.Add(u, u0), 0.5)), op.Mul(v, secant))]


@multiplier("LRN", form="paired", family="decomposed")
def lrn(ctx: Context, m: ir.Value) -> Cotangents:
    """m (u + u0)/2 + (x + r) alpha/n W'(m (x + r)/2 u'), u = d^-beta, u' its secant in d."""
    op, x, r, own = ctx.op, ctx.x(), ctx.r(), ctx.input(0)
    alpha, beta, size = lrn_parameters(ctx)
    d = ctx.pair(lrn_denominator(ctx, ctx.own()), own)
    d0 = ctx.pair(lrn_denominator(ctx, ctx.counterpart(0)), own, "reference")
    u, u0 = op.Pow(d, -beta), op.Pow(d0, -beta)
    middle = op.Mul(op.Pow(op.Mul(op.Add(d, d0), 0.5), -beta - 1), -beta)
    secant = guarded(op, op.Sub(u, u0), op.Sub(d, d0), middle, op.Min(d, d0))
    total = op.Add(x, r)
    inner = op.Mul(op.Mul(op.Mul(m, total), 0.5), secant)
    gathered = ctx.unflatten(channel_window(ctx, ctx.flatten(inner, own), transposed=True), own)
    through = op.Mul(op.Mul(total, alpha / size), gathered)
    return [op.Add(op.Mul(m, op.Mul(op.Add(u, u0), 0.5)), through)]
