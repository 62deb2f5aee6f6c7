"""Normalisations, decomposed: centre, square, mean, root, product; each part exact.

m: multiplier of y; x, r: both sides. y = c s scale + bias, c = x - mean(x),
s = (mean(c^2) + epsilon)^-1/2.
"""

from typing import Any

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.rules.vjp.norm import (
    EPSILON,
    channel_scale,
    channel_window,
    lrn_denominator,
    lrn_parameters,
)
from onnxshap.autodiff.secants import guarded


@multiplier("InstanceNormalization", form="paired", inputs=(0,), family="decomposed")
def instance_normalization(ctx: Context, m: ir.Value) -> Cotangents:
    """m_c = m' (s + s0)/2 + v (c + c0), less its mean; v through the reciprocal root's secant."""
    return [_normalization(ctx, m, list(range(2, len(ctx.dims()))), channel_scale(ctx))]


@multiplier("LayerNormalization", form="paired", inputs=(0,), family="decomposed")
def layer_normalization(ctx: Context, m: ir.Value) -> Cotangents:
    """m_c = m' (s + s0)/2 + v (c + c0), less its mean; v through the reciprocal root's secant."""
    rank = len(ctx.dims())
    first = ctx.attr("axis", -1) % rank
    return [_normalization(ctx, m, list(range(first, rank)), ctx.x(1))]


def _normalization(ctx: Context, m: ir.Value, own_axes: list[int], scale: ir.Value) -> ir.Value:
    op, axes = ctx.op, ctx.axes(own_axes)
    (c, s), (c0, s0) = (_standardise(ctx, v, axes) for v in (ctx.x(), ctx.r()))
    m, total = op.Mul(m, scale), op.Add(c, c0)
    # s = 1/sqrt(u): (s - s0) / (u - u0) = -s^2 s0^2 / (s + s0)
    m_s = op.ReduceSum(op.Mul(op.Mul(m, total), 0.5), axes)
    product = op.Mul(s, s0)
    slope = op.Neg(op.Div(op.Mul(product, product), op.Add(s, s0)))
    m_u = op.Div(op.Mul(m_s, slope), ctx.count(own_axes))
    m_c = op.Add(op.Mul(m, op.Mul(op.Add(s, s0), 0.5)), op.Mul(m_u, total))
    return op.Sub(m_c, op.ReduceMean(m_c, axes))


def _standardise(ctx: Context, x: ir.Value, axes: list[int]) -> tuple[Any, Any]:
    """Centred values and the reciprocal deviation of one side."""
    op = ctx.op
    c = op.Sub(x, op.ReduceMean(x, axes))
    u = op.Add(op.ReduceMean(op.Mul(c, c), axes), float(ctx.attr("epsilon", EPSILON)))
    return c, op.Reciprocal(op.Sqrt(u))


@multiplier("LRN", form="paired", family="decomposed")
def lrn(ctx: Context, m: ir.Value) -> Cotangents:
    """m (u + u0)/2 + (x + r) alpha/n W'(m (x + r)/2 u'), u = d^-beta, u' its secant in d."""
    op, x, r, own = ctx.op, ctx.x(), ctx.r(), ctx.input(0)
    alpha, beta, size = lrn_parameters(ctx)
    d = ctx.pair(lrn_denominator(ctx, own), own)
    d0 = ctx.pair(lrn_denominator(ctx, ctx.counterpart(0)), own, "reference")
    u, u0 = op.Pow(d, -beta), op.Pow(d0, -beta)
    middle = op.Mul(op.Pow(op.Mul(op.Add(d, d0), 0.5), -beta - 1), -beta)
    secant = guarded(op, op.Sub(u, u0), op.Sub(d, d0), middle, op.Min(d, d0))
    total = op.Add(x, r)
    inner = op.Mul(op.Mul(op.Mul(m, total), 0.5), secant)
    gathered = ctx.unflatten(channel_window(ctx, ctx.flatten(inner, own), transposed=True), own)
    through = op.Mul(op.Mul(total, alpha / size), gathered)
    return [op.Add(op.Mul(m, op.Mul(op.Add(u, u0), 0.5)), through)]
