"""Activations: the Rescale rule, m dy/d, in closed form wherever there is one.

m: multiplier of y; x, r and y, y0: both sides; d = x - r. Source: DeepLIFT (Shrikumar et al. 2017),
equation for the Rescale rule; the closed forms are identities of each function.
"""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.rules.vjp.activation import HARD_SIGMOID_ALPHA, LEAKY_RELU_ALPHA, SIXTH
from onnxshap.autodiff.secants import clip_secant, exp_secant, relu_secant, smooth_slope, tanhc


@multiplier("Clip", inputs=(0,))
def clip(ctx: Context, m: ir.Value) -> Cotangents:
    """m (y - y0) / (x - r);  m [x inside] where x = r."""
    return [ctx.op.Mul(m, clip_secant(ctx.op, ctx.x(), ctx.r(), ctx.y(), ctx.y_ref()))]


@multiplier("Elu")
def elu(ctx: Context, m: ir.Value) -> Cotangents:
    """m (s + alpha e (1 - s)), s the ReLU secant, e the exp secant of the negative parts."""
    return [ctx.op.Mul(m, _elu_secant(ctx, float(ctx.attr("alpha", 1.0))))]


def _elu_secant(ctx: Context, alpha: float) -> ir.Value:
    op, x, r = ctx.op, ctx.x(), ctx.r()
    s = relu_secant(op, x, r)
    u, v = op.Neg(op.Relu(op.Neg(x))), op.Neg(op.Relu(op.Neg(r)))
    e = exp_secant(op, op.Exp(u), op.Exp(v), op.Sub(u, v))
    return op.Add(s, op.Mul(op.Mul(e, alpha), op.Sub(1.0, s)))


@multiplier("Erf")
@multiplier("Gelu")
@multiplier("Softplus")
def smooth(ctx: Context, m: ir.Value) -> Cotangents:
    """m (y - y0) / (x - r);  m times the derivative at the midpoint where x is close to r."""
    return [smooth_slope(ctx, m)]


@multiplier("HardSigmoid")
def hard_sigmoid(ctx: Context, m: ir.Value) -> Cotangents:
    """m alpha times the clip secant of alpha x + beta."""
    alpha, beta = float(ctx.attr("alpha", HARD_SIGMOID_ALPHA)), float(ctx.attr("beta", 0.5))
    return [ctx.op.Mul(m, _line_clip_secant(ctx, alpha, beta))]


def _line_clip_secant(ctx: Context, alpha: float, beta: float) -> ir.Value:
    """Secant of clip(alpha x + beta, 0, 1) in x."""
    op = ctx.op
    lines = [op.Add(op.Mul(v, alpha), beta) for v in (ctx.x(), ctx.r())]
    bounds = op.value(0.0, lines[0].dtype), op.value(1.0, lines[0].dtype)
    clipped = [op.Clip(line, *bounds) for line in lines]
    return op.Mul(clip_secant(op, *lines, *clipped), alpha)


@multiplier("HardSwish")
def hard_swish(ctx: Context, m: ir.Value) -> Cotangents:
    """m ((h + h0)/2 + (x + r)/2 s), h = clip(x/6 + 1/2, 0, 1), s its secant: y = x h(x).

    Where x is far from r the two terms may cancel, while m (y - y0) / (x - r) is precise.
    """
    op, x, r, d = ctx.op, ctx.x(), ctx.r(), ctx.delta()
    bounds = op.value(0.0, x.dtype), op.value(1.0, x.dtype)
    h, h0 = (op.Clip(op.Add(op.Mul(v, SIXTH), 0.5), *bounds) for v in (x, r))
    moved = op.Mul(op.Add(x, r), _line_clip_secant(ctx, SIXTH, 0.5))
    near = op.Mul(op.Add(op.Add(h, h0), moved), 0.5)
    close = op.Less(op.Abs(d), 1.0)
    far = op.Div(op.Sub(ctx.y(), ctx.y_ref()), op.Where(close, 1.0, d))
    return [op.Mul(m, op.Where(close, near, far))]


@multiplier("LeakyRelu")
def leaky_relu(ctx: Context, m: ir.Value) -> Cotangents:
    """m (p(x) + p(r)) / (|x| + |r|), p(x) = relu(x) + alpha relu(-x);  0 at x = r = 0."""
    secant = relu_secant(ctx.op, ctx.x(), ctx.r(), float(ctx.attr("alpha", LEAKY_RELU_ALPHA)))
    return [ctx.op.Mul(m, secant)]


@multiplier("Relu")
def relu(ctx: Context, m: ir.Value) -> Cotangents:
    """m (relu(x) + relu(r)) / (|x| + |r|);  0 at x = r = 0."""
    return [ctx.op.Mul(m, relu_secant(ctx.op, ctx.x(), ctx.r()))]


@multiplier("Selu")
def selu(ctx: Context, m: ir.Value) -> Cotangents:
    """gamma times the Elu rule."""
    gamma = float(ctx.attr("gamma", 1.05070102214813232421875))
    secant = _elu_secant(ctx, float(ctx.attr("alpha", 1.67326319217681884765625)))
    return [ctx.op.Mul(m, ctx.op.Mul(secant, gamma))]


@multiplier("Sigmoid")
def sigmoid(ctx: Context, m: ir.Value) -> Cotangents:
    """m (y (1 - y0) + y0 (1 - y)) tanh(d/2) / d."""
    op, y, y0 = ctx.op, ctx.y(), ctx.y_ref()
    spread = op.Add(op.Mul(y, op.Sub(1.0, y0)), op.Mul(y0, op.Sub(1.0, y)))
    slope = op.Mul(tanhc(op, op.Mul(ctx.delta(), 0.5)), 0.5)
    return [op.Mul(m, op.Mul(spread, slope))]


@multiplier("Tanh")
def tanh(ctx: Context, m: ir.Value) -> Cotangents:
    """m (1 - y y0) tanh(d) / d."""
    op = ctx.op
    return [op.Mul(m, op.Mul(op.Sub(1.0, op.Mul(ctx.y(), ctx.y_ref())), tanhc(op, ctx.delta())))]
