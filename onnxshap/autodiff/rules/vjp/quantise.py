"""Quantisation. y = clip(round(x / scale) + zero) and back, y = (x - zero) scale.

What flows backward along the integers between is a float, as if they had not been rounded.
"""

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context, MidpointContext
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.scatter import scatter_along


@vjp("DequantizeLinear", form="flat", inputs=(0, 1), family="product")
def dequantize_linear(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g scale;  dscale = g (x - zero), summed over what shares a scale."""
    op, dx, dscale = ctx.op, None, None
    if ctx.needs(0):
        dx = op.Mul(g, over_input(ctx, ctx.x(1), 1))
    if ctx.needs(1):
        x = op.Cast(Context.x(ctx, 0), to=g.dtype)
        if isinstance(ctx, MidpointContext) and ctx.varies(0):
            x = op.Mul(op.Add(x, op.Cast(ctx.r(0), to=g.dtype)), 0.5)
        if ctx.has(2):
            x = op.Sub(x, over_input(ctx, op.Cast(ctx.x(2), to=g.dtype), 2))
        dscale = over_scale(ctx, op.Mul(g, x))
    return [dx, dscale]


@vjp("QuantizeLinear", form="flat", inputs=(0, 1))
def quantize_linear(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / scale, dscale = -g x / scale^2;  0 where y is clipped: straight through rounding."""
    op, x = ctx.op, ctx.x()
    slope, dscale = op.Mul(op.Cast(g, to=x.dtype), straight(ctx)), None
    if ctx.needs(1):
        scale = op.Cast(over_input(ctx, ctx.x(1), 1), to=x.dtype)
        dscale = over_scale(ctx, op.Neg(op.Mul(slope, op.Div(x, scale))))
    return [slope, dscale]


def straight(ctx: Context) -> ir.Value:
    """1 / scale where x is inside the representable range, 0 outside."""
    op, x = ctx.op, ctx.x()
    scale = op.Cast(over_input(ctx, ctx.x(1), 1), to=x.dtype)
    placed = op.Round(op.Div(x, scale))
    if ctx.has(2):
        placed = op.Add(placed, over_input(ctx, op.Cast(ctx.x(2), to=x.dtype), 2))
    limits = ctx.output_layout().dtype
    low, high = op.value(float(limits.min), x.dtype), op.value(float(limits.max), x.dtype)
    inside = op.And(op.GreaterOrEqual(placed, low), op.LessOrEqual(placed, high))
    found: ir.Value = op.Div(op.Cast(inside, to=x.dtype), scale)
    return found


def over_input(ctx: Context, value: ir.Value, i: int) -> ir.Value:
    """A scale or zero point, input ``i``, laid out to broadcast against input 0."""
    op, own, rank, axis = ctx.op, ctx.dims(i), len(ctx.dims()), _axis(ctx)
    if len(own) == 0 or (len(own) == 1 and own[0] == 1 and ctx.layout(i).batch is None):
        return op.Reshape(value, [1] * rank)
    if len(own) == 1:
        return op.Reshape(value, [-1] + [1] * (rank - axis - 1))
    blocks = np.arange(ctx.known_dims([axis])[0]) // int(ctx.attr("block_size", 1))
    return op.Gather(value, blocks, axis=axis)


def _axis(ctx: Context) -> int:
    return int(ctx.attr("axis", 1)) % max(1, len(ctx.dims()))


def over_scale(ctx: Context, value: ir.Value) -> ir.Value:
    """Sum over all elements of input 0 that share a scale."""
    op, own, rank, axis = ctx.op, ctx.dims(1), len(ctx.dims()), _axis(ctx)
    if len(own) > 1:
        blocks = np.arange(ctx.known_dims([axis])[0]) // int(ctx.attr("block_size", 1))
        return scatter_along(ctx, value, axis, blocks, own[axis])
    whole = len(own) == 0 or (own[0] == 1 and ctx.layout(1).batch is None)
    axes = [k for k in range(rank) if whole or k != axis]
    total = op.ReduceSum(value, axes, keepdims=0) if axes else value
    return op.Reshape(total, [1] * len(own)) if whole else total
