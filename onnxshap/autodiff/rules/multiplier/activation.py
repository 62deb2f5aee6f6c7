"""Activations: the Rescale rule, m dy/d, in closed form wherever there is one.

m: multiplier of y; x, r and y, y0: both sides; d = x - r. Source: DeepLIFT (Shrikumar et al. 2017),
equation for the Rescale rule; the closed forms are identities of each function.
"""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.rules.multiplier.elementwise import jumping_secant
from onnxshap.autodiff.rules.vjp.activation import (
    HARD_SIGMOID_ALPHA,
    LEAKY_RELU_ALPHA,
    SIXTH,
    negative_part,
)
from onnxshap.autodiff.secants import (
    clip_secant,
    exp_secant,
    leaky,
    ratio,
    relu_secant,
    smooth_slope,
    tanhc,
)


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
    u, v = (negative_part(ctx, side) for side in (x, r))
    e = exp_secant(op, op.Exp(u), op.Exp(v), op.Sub(u, v))
    return leaky(op, s, op.Mul(e, alpha))


@multiplier("Erf")
@multiplier("Gelu")
@multiplier("Softplus")
@multiplier("Swish")
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
    """m (s + alpha (1 - s)), s the ReLU secant."""
    alpha = float(ctx.attr("alpha", LEAKY_RELU_ALPHA))
    return [ctx.op.Mul(m, leaky(ctx.op, relu_secant(ctx.op, ctx.x(), ctx.r()), alpha))]


@multiplier("Mish")
def mish(ctx: Context, m: ir.Value) -> Cotangents:
    """m ((t + t0)/2 + (x + r)/2 s), t = tanh(softplus(x)), s its secant: y = x t(x).

    t = 1 - 2/w, w = (exp(x) + 1)^2 + 1, so s = 2 (e + e0 + 2) E / (w w0), e = exp(x) and E its
    secant; x is cut at 20, where t is 1. Far from r, m dy/d is precise.
    """
    op, x, r, d = ctx.op, ctx.x(), ctx.r(), ctx.delta()
    sides = [op.Min(v, op.value(20.0, v.dtype)) for v in (x, r)]
    e, e0 = (op.Exp(v) for v in sides)
    w, w0 = (op.Add(op.Mul(v, op.Add(v, 2.0)), 2.0) for v in (e, e0))
    rise = op.Mul(op.Add(op.Add(e, e0), 2.0), exp_secant(op, e, e0, op.Sub(*sides)))
    moved = op.Mul(op.Add(x, r), op.Div(op.Div(rise, w), w0))
    mean = op.Sub(1.0, op.Add(op.Reciprocal(w), op.Reciprocal(w0)))
    close = op.Less(op.Abs(d), 1.0)
    far = op.Div(op.Sub(ctx.y(), ctx.y_ref()), op.Where(close, 1.0, d))
    return [op.Mul(m, op.Where(close, op.Add(mean, moved), far))]


@multiplier("PRelu", family="decomposed")
def prelu(ctx: Context, m: ir.Value) -> Cotangents:
    """m (s + (1 - s) a), s the ReLU secant, a the mean slope;  m (min(x, 0) + min(r, 0)) / 2."""
    op, x, r, slope = ctx.op, ctx.x(), ctx.r(), ctx.x(1)
    dx = dslope = None
    if ctx.needs(0):
        s = relu_secant(op, x, r)
        slope = op.Mul(op.Add(slope, ctx.r(1)), 0.5) if ctx.varies(1) else slope
        dx = op.Mul(m, leaky(op, s, slope))
    if ctx.needs(1):
        below = [negative_part(ctx, side) for side in (x, r)]
        dslope = op.Mul(m, op.Mul(op.Add(*below), 0.5))
    return [dx, dslope]


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


@multiplier("Shrink")
def shrink(ctx: Context, m: ir.Value) -> Cotangents:
    """m dy/d;  m [|x| > lambd] where no jump lies between x and r."""
    op, bound = ctx.op, float(ctx.attr("lambd", 0.5))

    def piece(v: ir.Value) -> ir.Value:
        sides = op.Greater(v, bound), op.Less(v, -bound)
        above, below = (op.Cast(side, to=v.dtype) for side in sides)
        return op.Sub(op.Mul(above, op.Sub(1.0, below)), below)  # x + bias comes first

    here, there = piece(ctx.x()), piece(ctx.r())
    return [op.Mul(m, jumping_secant(ctx, op.Equal(here, there), op.Abs(here)))]


@multiplier("Sigmoid")
def sigmoid(ctx: Context, m: ir.Value) -> Cotangents:
    """m (y (1 - y0) + y0 (1 - y)) tanh(d/2) / d."""
    op, y, y0 = ctx.op, ctx.y(), ctx.y_ref()
    spread = op.Add(op.Mul(y, op.Sub(1.0, y0)), op.Mul(y0, op.Sub(1.0, y)))
    slope = op.Mul(tanhc(op, op.Mul(ctx.delta(), 0.5)), 0.5)
    return [op.Mul(m, op.Mul(spread, slope))]


@multiplier("Softsign")
def softsign(ctx: Context, m: ir.Value) -> Cotangents:
    """m (1 + (|x| |r| - x r) / (|x| + |r|)) / (1 + |x|) / (1 + |r|)."""
    op, x, r = ctx.op, ctx.x(), ctx.r()
    a, b = op.Abs(x), op.Abs(r)
    total = op.Add(a, b)
    # 0 where x and r have one sign; no product of the two, which could overflow.
    across = op.Sub(op.Mul(ratio(op, a, total), b), op.Mul(ratio(op, x, total), r))
    return [op.Mul(m, op.Div(op.Div(op.Add(across, 1.0), op.Add(a, 1.0)), op.Add(b, 1.0)))]


@multiplier("Tanh")
def tanh(ctx: Context, m: ir.Value) -> Cotangents:
    """m (1 - y y0) tanh(d) / d."""
    op = ctx.op
    return [op.Mul(m, op.Mul(op.Sub(1.0, op.Mul(ctx.y(), ctx.y_ref())), tanhc(op, ctx.delta())))]


@multiplier("ThresholdedRelu")
def thresholded_relu(ctx: Context, m: ir.Value) -> Cotangents:
    """m dy/d;  m [x > alpha] where the jump does not lie between x and r."""
    op, bound = ctx.op, float(ctx.attr("alpha", 1.0))
    here, there = (op.Cast(op.Greater(v, bound), to=v.dtype) for v in (ctx.x(), ctx.r()))
    return [op.Mul(m, jumping_secant(ctx, op.Equal(here, there), here))]
