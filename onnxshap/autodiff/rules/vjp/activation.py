"""Activations. g, x, y: cotangent, input, output; elementwise unless said otherwise."""

import math

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp

# ONNX keeps attributes, defaults included, as float32: a tenth is not a tenth in float64 either.
HARD_SIGMOID_ALPHA = 0.20000000298023223876953125
LEAKY_RELU_ALPHA = 0.00999999977648258209228515625
SIXTH = 0.16666667163372039794921875  # HardSwish is defined by HardSigmoid<alpha=1/6>


def _where(ctx: Context, condition: ir.Value, like: ir.Value) -> ir.Value:
    """1 where ``condition`` holds, else 0, in ``like``'s dtype."""
    return ctx.op.Cast(condition, to=like.dtype)


def negative_part(ctx: Context, x: ir.Value) -> ir.Value:
    """min(x, 0)."""
    return ctx.op.Neg(ctx.op.Relu(ctx.op.Neg(x)))


@vjp("Clip", inputs=(0,))
def clip(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g [low <= x <= high]."""
    op, x = ctx.op, ctx.x()
    return [op.Mul(g, _where(ctx, op.Equal(x, ctx.y()), x))]


@vjp("Elu")
def elu(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g where x > 0, else g (y + alpha)."""
    op, x, y = ctx.op, ctx.x(), ctx.y()
    slope = op.Add(y, float(ctx.attr("alpha", 1.0)))
    return [op.Mul(g, op.Where(op.Greater(x, 0.0), 1.0, slope))]


@vjp("Erf")
def erf(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g 2/sqrt(pi) exp(-x^2)."""
    op, x = ctx.op, ctx.x()
    return [op.Mul(g, op.Mul(op.Exp(op.Neg(op.Mul(x, x))), 2 / math.sqrt(math.pi)))]


@vjp("Gelu")
def gelu(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g (P + x P'), P the normal distribution function, or its tanh approximation."""
    op, x = ctx.op, ctx.x()
    if ctx.attr("approximate", "none") == "tanh":
        c, k = math.sqrt(2 / math.pi), 0.044715
        square = op.Mul(x, x)
        t = op.Tanh(op.Mul(x, op.Add(op.Mul(square, c * k), c)))
        share = op.Mul(op.Add(t, 1.0), 0.5)
        inner = op.Add(op.Mul(square, 3 * c * k), c)
        density = op.Mul(op.Mul(op.Sub(1.0, op.Mul(t, t)), inner), 0.5)
    else:
        share = op.Mul(op.Add(op.Erf(op.Mul(x, math.sqrt(0.5))), 1.0), 0.5)
        density = op.Mul(op.Exp(op.Mul(op.Mul(x, x), -0.5)), 1 / math.sqrt(2 * math.pi))
    return [op.Mul(g, op.Add(share, op.Mul(x, density)))]


@vjp("HardSigmoid")
def hard_sigmoid(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g alpha [0 < y < 1]."""
    op, y = ctx.op, ctx.y()
    inside = _where(ctx, op.And(op.Greater(y, 0.0), op.Less(y, 1.0)), y)
    return [op.Mul(g, op.Mul(inside, float(ctx.attr("alpha", HARD_SIGMOID_ALPHA))))]


@vjp("HardSwish")
def hard_swish(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g (h + x/6 [0 < h < 1]), h = clip(x/6 + 1/2, 0, 1)."""
    op, x = ctx.op, ctx.x()
    sixth = op.Mul(x, SIXTH)
    line = op.Add(sixth, 0.5)
    h = op.Clip(line, op.value(0.0, x.dtype), op.value(1.0, x.dtype))
    inside = _where(ctx, op.And(op.Greater(line, 0.0), op.Less(line, 1.0)), x)
    return [op.Mul(g, op.Add(h, op.Mul(sixth, inside)))]


@vjp("LeakyRelu")
def leaky_relu(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g where x > 0, else alpha g."""
    op, x = ctx.op, ctx.x()
    alpha = float(ctx.attr("alpha", LEAKY_RELU_ALPHA))
    positive = _where(ctx, op.Greater(x, 0.0), x)
    return [op.Mul(g, op.Add(op.Mul(positive, 1 - alpha), alpha))]


@vjp("LogSoftmax", form="paired")
def log_softmax(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g - exp(y) sum(g), summed along the axis."""
    op, axis = ctx.op, ctx.axis(ctx.attr("axis", -1))
    return [op.Sub(g, op.Mul(op.Exp(ctx.y()), op.ReduceSum(g, [axis])))]


@vjp("Mish")
def mish(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g (t + x (1 - t^2) sigmoid(x)), t = tanh(softplus(x))."""
    op, x = ctx.op, ctx.x()
    t = op.Tanh(op.Softplus(x))
    rise = op.Mul(op.Sub(1.0, op.Mul(t, t)), op.Sigmoid(x))
    return [op.Mul(g, op.Add(t, op.Mul(x, rise)))]


@vjp("PRelu")
def prelu(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g where x > 0, else slope g;  dslope = g min(x, 0)."""
    op, x = ctx.op, ctx.x()
    dx = op.Mul(g, op.Where(op.Greater(x, 0.0), 1.0, ctx.x(1))) if ctx.needs(0) else None
    return [dx, op.Mul(g, negative_part(ctx, x)) if ctx.needs(1) else None]


@vjp("Relu")
def relu(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g [x > 0]."""
    y = ctx.y()  # not x: the runtime can then still fuse the ReLU into the layer before it
    return [ctx.op.Mul(g, _where(ctx, ctx.op.Greater(y, 0.0), y))]


@vjp("Selu")
def selu(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = gamma g where x > 0, else g (y + gamma alpha)."""
    op, x, y = ctx.op, ctx.x(), ctx.y()
    alpha = float(ctx.attr("alpha", 1.67326319217681884765625))
    gamma = float(ctx.attr("gamma", 1.05070102214813232421875))
    slope = op.Where(op.Greater(x, 0.0), gamma, op.Add(y, gamma * alpha))
    return [op.Mul(g, slope)]


@vjp("Shrink")
def shrink(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g [|x| > lambd]."""
    op, x, bound = ctx.op, ctx.x(), float(ctx.attr("lambd", 0.5))
    outside = op.Or(op.Less(x, -bound), op.Greater(x, bound))
    return [op.Mul(g, _where(ctx, outside, x))]


@vjp("Sigmoid")
def sigmoid(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g y (1 - y)."""
    op, y = ctx.op, ctx.y()
    return [op.Mul(g, op.Mul(y, op.Sub(1.0, y)))]


@vjp("Softmax", form="paired")
def softmax(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = y (g - sum(g y)), summed along the axis."""
    op, y, axis = ctx.op, ctx.y(), ctx.axis(ctx.attr("axis", -1))
    return [op.Mul(y, op.Sub(g, op.ReduceSum(op.Mul(g, y), [axis])))]


@vjp("Softplus")
def softplus(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g sigmoid(x)."""
    return [ctx.op.Mul(g, ctx.op.Sigmoid(ctx.x()))]


@vjp("Softsign")
def softsign(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / (1 + |x|)^2."""
    op, spread = ctx.op, ctx.op.Add(ctx.op.Abs(ctx.x()), 1.0)
    return [op.Div(g, op.Mul(spread, spread))]


@vjp("Swish")
def swish(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g (s + alpha x s (1 - s)), s = sigmoid(alpha x)."""
    op, line = ctx.op, ctx.op.Mul(ctx.x(), float(ctx.attr("alpha", 1.0)))
    s = op.Sigmoid(line)
    return [op.Mul(g, op.Add(s, op.Mul(line, op.Mul(s, op.Sub(1.0, s)))))]


@vjp("Tanh")
def tanh(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g (1 - y^2)."""
    op, y = ctx.op, ctx.y()
    return [op.Mul(g, op.Sub(1.0, op.Mul(y, y)))]


@vjp("ThresholdedRelu")
def thresholded_relu(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g [x > alpha]."""
    op, x = ctx.op, ctx.x()
    return [op.Mul(g, _where(ctx, op.Greater(x, float(ctx.attr("alpha", 1.0))), x))]
