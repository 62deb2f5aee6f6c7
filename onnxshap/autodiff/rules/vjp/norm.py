"""Normalisations. g, x, y: cotangent, input, output; cotangents of parameters are summed up."""

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.secants import ratio

# ONNX keeps attributes, defaults included, as float32.
EPSILON = 9.999999747378751635551452636718750e-06
LRN_ALPHA = 9.999999747378751635551452636718750e-05


@vjp("BatchNormalization", form="paired")
def batch_normalization(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g scale s = -dmean, dscale = g (x - mean) s, dB = g, dvar = -dx (x - mean) s^2 / 2.

    s = 1 / sqrt(var + epsilon): statistics are constants at inference.
    """
    op, s = ctx.op, reciprocal_deviation(ctx, ctx.x(4))
    dx = scaled(ctx, g, op.Mul(channels(ctx, ctx.x(1)), s))
    if not any(ctx.needs(i) for i in (1, 2, 3, 4)):
        return [dx]
    centred = op.Sub(ctx.x(), channels(ctx, ctx.x(3)))
    dscale, dvar = op.Mul(g, op.Mul(centred, s)), op.Mul(op.Mul(dx, centred), op.Mul(s, s))
    parts = [dscale, g, op.Neg(dx), op.Mul(dvar, -0.5)]
    return [dx, *(channel_sum(ctx, v, i) for i, v in enumerate(parts, 1))]


def scaled(ctx: Context, g: ir.Value, factor: ir.Value) -> ir.Value:
    """``g`` times scale and deviation; in a form that a convolution may take into its weights."""
    moving = any(ctx.needs(i) or ctx.varies(i) or ctx.layout(i).batch is not None for i in (1, 4))
    product: ir.Value = ctx.op.Mul(g, factor) if moving else ctx.lift.scale(g, factor)
    return product


def reciprocal_deviation(ctx: Context, variance: ir.Value) -> ir.Value:
    """1 / sqrt(var + epsilon) of every channel."""
    op = ctx.op
    u = op.Add(channels(ctx, variance), float(ctx.attr("epsilon", EPSILON)))
    s: ir.Value = op.Reciprocal(op.Sqrt(u))
    return s


def channels(ctx: Context, vector: ir.Value) -> ir.Value:
    """A vector over channels [C], to broadcast along input 0's channel axis."""
    rank = len(ctx.dims())
    return ctx.op.Unsqueeze(vector, list(range(2 - rank, 0))) if rank > 2 else vector


def channel_sum(ctx: Context, value: ir.Value, i: int) -> ir.Value | None:
    """Sum over all axes but the channels', where input ``i`` asks for it."""
    if not ctx.needs(i):
        return None
    axes = [k for k in range(len(ctx.dims())) if k != 1]
    total: ir.Value = ctx.op.ReduceSum(value, ctx.axes(axes), keepdims=0)
    return total


def summed_like(ctx: Context, value: ir.Value, i: int) -> ir.Value | None:
    """Sum over the axes along which input ``i`` is broadcast to input 0, where it asks for it."""
    if not ctx.needs(i):
        return None
    own, whole = ctx.dims(i), ctx.dims()
    missing = len(whole) - len(own)
    pairs = enumerate(zip(own, whole[missing:], strict=True), missing)
    axes = [*range(missing), *(k for k, (n, size) in pairs if n == 1 and size != 1)]
    if axes:
        value = ctx.op.ReduceSum(value, ctx.axes(axes), keepdims=1)
    return ctx.op.Squeeze(value, list(range(missing))) if missing else value


@vjp("InstanceNormalization", form="paired")
def instance_normalization(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = s (g' - mean(g') - z mean(g' z)), g' = g scale;  dscale = g z, dB = g.

    z = (x - mean) s, s = 1 / deviation.
    """
    axes = list(range(2, len(ctx.dims())))
    dx, z = _normalization(ctx, g, axes, channels(ctx, ctx.x(1)))
    return [dx, channel_sum(ctx, ctx.op.Mul(g, z), 1), channel_sum(ctx, g, 2)]


@vjp("LayerNormalization", form="paired")
def layer_normalization(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = s (g' - mean(g') - z mean(g' z)), g' = g scale;  dscale = g z, dB = g.

    z = (x - mean) s, s = 1 / deviation.
    """
    dx, z = _normalization(ctx, g, trailing_axes(ctx), ctx.x(1))
    return [dx, summed_like(ctx, ctx.op.Mul(g, z), 1), summed_like(ctx, g, 2)]


@vjp("RMSNormalization", form="paired")
def rms_normalization(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = s (g' - z mean(g' z)), g' = g scale;  dscale = g z.

    z = x s, s = 1 / root of the mean square.
    """
    dx, z = _normalization(ctx, g, trailing_axes(ctx), ctx.x(1), centred=False)
    return [dx, summed_like(ctx, ctx.op.Mul(g, z), 1)]


def trailing_axes(ctx: Context) -> list[int]:
    """The axes from attribute ``axis`` on."""
    rank = len(ctx.dims())
    return list(range(ctx.attr("axis", -1) % rank, rank))


def _normalization(
    ctx: Context, g: ir.Value, own_axes: list[int], scale: ir.Value, centred: bool = True
) -> tuple[ir.Value, ir.Value]:
    """Cotangent of x, and what x becomes before it is scaled."""
    op, x, axes = ctx.op, ctx.x(), ctx.axes(own_axes)
    c = op.Sub(x, op.ReduceMean(x, axes)) if centred else x
    square = op.ReduceMean(op.Mul(c, c), axes)
    s = op.Reciprocal(op.Sqrt(op.Add(square, float(ctx.attr("epsilon", EPSILON)))))
    z, g = op.Mul(c, s), op.Mul(g, scale)
    along = op.Mul(z, op.ReduceMean(op.Mul(g, z), axes))
    g = op.Sub(g, op.ReduceMean(g, axes)) if centred else g
    return op.Mul(s, op.Sub(g, along)), z


@vjp("LpNormalization", form="paired")
def lp_normalization(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = (g - n' sum(g y)) / n, n the norm and n' = y or, for p = 1, sign(x);  0 where n = 0."""
    op, x, y, axis = ctx.op, ctx.x(), ctx.y(), ctx.axis(ctx.attr("axis", -1))
    along = op.ReduceSum(op.Mul(g, y), [axis])
    slope = op.Sign(x) if ctx.attr("p", 2) == 1 else y
    return [ratio(op, op.Sub(g, op.Mul(slope, along)), lp_norm(ctx, x))]


def lp_norm(ctx: Context, x: ir.Value) -> ir.Value:
    """Sum of magnitudes, or root of the sum of squares, along the axis."""
    norm = ctx.op.ReduceL1 if ctx.attr("p", 2) == 1 else ctx.op.ReduceL2
    return norm(x, [ctx.axis(ctx.attr("axis", -1))])


@vjp("LRN", form="paired")
def lrn(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g d^-beta - 2 alpha beta / n  x  W'(g x d^(-beta-1)), d = k + alpha/n W(x^2)."""
    op, x, own = ctx.op, ctx.x(), ctx.input(0)
    alpha, beta, size = lrn_parameters(ctx)
    d = ctx.pair(lrn_denominator(ctx, ctx.own()), own)
    inner = op.Mul(op.Mul(g, x), op.Pow(d, -beta - 1))
    gathered = channel_window(ctx, ctx.flatten(inner, own), transposed=True)
    far = op.Mul(op.Mul(x, 2 * alpha * beta / size), ctx.unflatten(gathered, own))
    return [op.Sub(op.Mul(g, op.Pow(d, -beta)), far)]


def lrn_parameters(ctx: Context) -> tuple[float, float, int]:
    """Return alpha, beta and the window size."""
    alpha, beta = float(ctx.attr("alpha", LRN_ALPHA)), float(ctx.attr("beta", 0.75))
    return alpha, beta, int(ctx.attr("size"))


def lrn_denominator(ctx: Context, x: ir.Value) -> ir.Value:
    """k + alpha / n W(x^2), W the sum over neighbouring channels; own batch."""
    op = ctx.op
    alpha, _, size = lrn_parameters(ctx)
    window = channel_window(ctx, op.Mul(x, x), transposed=False)
    return op.Add(op.Mul(window, alpha / size), float(ctx.attr("bias", 1.0)))


def channel_window(ctx: Context, x: ir.Value, transposed: bool) -> ir.Value:
    """Sum over neighbouring channels, a 1x1 convolution with a band of ones; flat form."""
    op, channels = ctx.op, ctx.known_dims([1])[0]
    size = int(ctx.attr("size"))
    offset = np.subtract.outer(np.arange(channels), np.arange(channels))
    below, above = (size - 1) // 2, size - 1 - (size - 1) // 2
    band = ((offset <= below) & (offset >= -above)).astype(ctx.layout().dtype.numpy())
    band = band.T if transposed else band
    weights = band.reshape(channels, channels, *[1] * (len(ctx.dims()) - 2))
    return op.Conv(x, weights)
