"""Normalisations. Scale and bias are parameters: only x is differentiated."""

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.errors import UnsupportedOpError

# ONNX keeps attributes, defaults included, as float32.
EPSILON = 9.999999747378751635551452636718750e-06
LRN_ALPHA = 9.999999747378751635551452636718750e-05


@vjp("BatchNormalization", form="flat", inputs=(0,), family="exact-linear")
def batch_normalization(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g scale / sqrt(var + epsilon): statistics are constants at inference."""
    if ctx.attr("training_mode", 0):
        raise UnsupportedOpError(
            f'BatchNormalization "{ctx.node.name}" is in training mode: export the model for '
            "inference (model.eval())."
        )
    op, rank = ctx.op, len(ctx.dims())
    spread = op.Sqrt(op.Add(ctx.x(4), float(ctx.attr("epsilon", EPSILON))))
    slope = op.Reshape(op.Div(ctx.x(1), spread), [-1, *[1] * (rank - 2)])
    return [op.Mul(g, slope)]


@vjp("InstanceNormalization", form="paired", inputs=(0,))
def instance_normalization(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = s (g' - mean(g') - z mean(g' z)), g' = g scale, z = (x - mean) s, s = 1 / deviation."""
    return [_normalization(ctx, g, list(range(2, len(ctx.dims()))), channel_scale(ctx))]


@vjp("LayerNormalization", form="paired", inputs=(0,))
def layer_normalization(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = s (g' - mean(g') - z mean(g' z)), g' = g scale, z = (x - mean) s, s = 1 / deviation."""
    rank = len(ctx.dims())
    first = ctx.attr("axis", -1) % rank
    return [_normalization(ctx, g, list(range(first, rank)), ctx.x(1))]


def channel_scale(ctx: Context) -> ir.Value:
    """Scale [C] shaped to broadcast along input 0's channel axis."""
    return ctx.op.Reshape(ctx.input(1), [-1, *[1] * (len(ctx.dims()) - 2)])


def _normalization(ctx: Context, g: ir.Value, own_axes: list[int], scale: ir.Value) -> ir.Value:
    op, x, axes = ctx.op, ctx.x(), ctx.axes(own_axes)
    centred = op.Sub(x, op.ReduceMean(x, axes))
    variance = op.ReduceMean(op.Mul(centred, centred), axes)
    s = op.Reciprocal(op.Sqrt(op.Add(variance, float(ctx.attr("epsilon", EPSILON)))))
    z, g = op.Mul(centred, s), op.Mul(g, scale)
    along = op.Mul(z, op.ReduceMean(op.Mul(g, z), axes))
    return op.Mul(s, op.Sub(op.Sub(g, op.ReduceMean(g, axes)), along))


@vjp("LRN", form="paired")
def lrn(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g d^-beta - 2 alpha beta / n  x  W'(g x d^(-beta-1)), d = k + alpha/n W(x^2)."""
    op, x, own = ctx.op, ctx.x(), ctx.input(0)
    alpha, beta, size = lrn_parameters(ctx)
    d = ctx.pair(lrn_denominator(ctx, own), own)
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
