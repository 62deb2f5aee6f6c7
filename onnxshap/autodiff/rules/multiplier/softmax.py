"""Softmax and LogSoftmax in log form: p_i = exp(s_i - L), L = log sum_j exp(s_j).

The exponential gets its exact secant, the logarithmic mean of p and p0, and dL = sum_j w_j ds_j
with weights w_j, a ratio of logarithmic means. Complete, stable for any range of logits, and no
route through a maximum. s, r: logits of both sides; m: multiplier of the output.

Probabilities add up to 1, so what their multipliers have in common explains nothing. The log form
alone would share it among the logits all the same; it is taken out of m first.
"""

from typing import Any

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.secants import FAR, ratio, tanhc
from onnxshap.graph.builder import Builder


@multiplier("Hardmax", form="paired", family="max")
def hardmax(ctx: Context, m: ir.Value) -> Cotangents:
    """(y - y0) sum(m (y - y0)) / sum((y - y0) d): the winner's lead over the one before."""
    op, axis = ctx.op, ctx.axis(ctx.attr("axis", -1))
    change = op.Sub(ctx.y(), ctx.y_ref())
    gain = op.ReduceSum(op.Mul(m, change), [axis])
    lead = op.ReduceSum(op.Mul(change, ctx.delta()), [axis])
    return [op.Mul(change, ratio(op, gain, lead))]


@multiplier("LogSoftmax", form="paired", family="decomposed")
def log_softmax(ctx: Context, m: ir.Value) -> Cotangents:
    """m - w sum(m)."""
    op, axes = ctx.op, [ctx.axis(ctx.attr("axis", -1))]
    weights, _ = log_form(ctx, axes)
    return [op.Sub(m, op.Mul(weights, op.ReduceSum(m, axes)))]


@multiplier("Softmax", form="paired", family="decomposed")
def softmax(ctx: Context, m: ir.Value) -> Cotangents:
    """t - w sum(t), t = (m - sum m (p + p0)/2) times the logarithmic mean of p and p0."""
    op, axes = ctx.op, [ctx.axis(ctx.attr("axis", -1))]
    weights, logs = log_form(ctx, axes)
    mean = op.Mul(op.Add(ctx.y(), ctx.y_ref()), 0.5)
    secant = op.Mul(mean, tanhc(op, op.Mul(op.Sub(*logs), 0.5)))
    common = op.ReduceSum(op.Mul(m, mean), axes)
    t = op.Mul(op.Sub(m, common), secant)
    return [op.Sub(t, op.Mul(weights, op.ReduceSum(t, axes)))]


def log_form(ctx: Context, axes: list[int]) -> tuple[ir.Value, tuple[ir.Value, ir.Value]]:
    """Weights w of dL = sum w ds over ``axes``, and the log-probabilities of both sides.

    w = (p a + p0 (1 - a)) th(ds) / th(dL), a = sigmoid(dL), th(d) = tanh(d/2)/(d/2).
    """
    op = ctx.op
    s, r = (op.Max(v, op.value(-FAR, v.dtype)) for v in (ctx.x(), ctx.r()))
    level, level0 = _log_sum_exp(op, s, axes), _log_sum_exp(op, r, axes)
    log_p, log_p0 = op.Sub(s, level), op.Sub(r, level0)
    rise = op.Sub(level, level0)
    a = op.Sigmoid(rise)
    p, p0 = op.Exp(log_p), op.Exp(log_p0)
    mixed = op.Add(op.Mul(p, a), op.Mul(p0, op.Sub(1.0, a)))
    half = [tanhc(op, op.Mul(d, 0.5)) for d in (op.Sub(s, r), rise)]
    return op.Mul(mixed, op.Div(*half)), (log_p, log_p0)


def _log_sum_exp(op: Builder, s: ir.Value, axes: list[int]) -> Any:
    if not axes:
        return s
    top = op.ReduceMax(s, axes)
    return op.Add(top, op.Log(op.ReduceSum(op.Exp(op.Sub(s, top)), axes)))
