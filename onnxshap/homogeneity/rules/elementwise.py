"""Arithmetic, comparisons, and activations that are piecewise linear."""

import math
from fractions import Fraction

import onnx_ir as ir

from onnxshap.homogeneity.context import SCALABLE, Context, agree
from onnxshap.homogeneity.degrees import ANY, CONSTANT, Degree, Offence, power, product, scales
from onnxshap.homogeneity.registry import rule


@rule("Abs", "Identity", "LeakyRelu", "Neg", "Relu")
def kept(ctx: Context) -> Degree:
    """Linear on each side of zero: k."""
    return ctx.degree()


@rule("PRelu")
def prelu(ctx: Context) -> Degree:
    """y = x, or slope x: k, for a slope of degree 0."""
    ctx.unscaled()
    return ctx.degree()


@rule("Add", "Sum")
def add(ctx: Context) -> Degree:
    """The degree of all terms."""
    return agree("adds", "to", ctx.terms())


@rule("Sub")
def sub(ctx: Context) -> Degree:
    """The degree of both terms."""
    return agree("takes the difference of", "and", ctx.terms())


@rule("Mean")
def mean(ctx: Context) -> Degree:
    """The degree of all terms."""
    return agree("averages", "with", ctx.terms())


@rule("Max", "Min")
def extremum(ctx: Context) -> Degree:
    """The degree of all terms: a^k > 0 leaves their order alone."""
    return agree("compares", "with", ctx.terms())


@rule("Mul")
def mul(ctx: Context) -> Degree:
    """k0 + k1."""
    return product(*ctx.degrees)


@rule("Div")
def div(ctx: Context) -> Degree:
    """k0 - k1."""
    numerator, denominator = ctx.degrees
    return numerator if denominator is ANY else product(numerator, -denominator)


@rule("Pow")
def pow_(ctx: Context) -> Degree:
    """k p, where the exponent p is one constant number."""
    degree, exponent = ctx.degree(), ctx.number(1)
    if exponent is None or not math.isfinite(exponent):
        raise Offence("its exponent is not one constant number", degree)
    if degree is ANY:
        return ANY if exponent > 0 else CONSTANT
    return degree * Fraction(exponent)


@rule("Sqrt")
def sqrt(ctx: Context) -> Degree:
    """k / 2."""
    return power(ctx.degree(), Fraction(1, 2))


@rule("Reciprocal")
def reciprocal(ctx: Context) -> Degree:
    """-k."""
    degree = ctx.degree()
    return CONSTANT if degree is ANY else -degree


@rule("IsInf", "IsNaN", "Sign")
def invariant(ctx: Context) -> Degree:
    """0: unchanged by any positive factor."""
    return CONSTANT


@rule("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def comparison(ctx: Context) -> Degree:
    """0, for two values of equal degree: a^k > 0 leaves their order alone."""
    agree("compares", "with", ctx.terms(), assumed=CONSTANT)
    return CONSTANT


@rule("Where")
def where(ctx: Context) -> Degree:
    """The degree of both branches, for a condition of degree 0."""
    ctx.unscaled(0, data=1)
    return agree("mixes", "with", ctx.terms(1, 2))


@rule("Clip")
def clip(ctx: Context) -> Degree:
    """k, for bounds that are missing, zero, out of reach, or of degree k themselves."""
    bounds = [place for place, side in ((1, -1), (2, 1)) if not _out_of_reach(ctx, place, side)]
    try:
        return agree("clips at", "and", ctx.terms(0, *bounds))
    except Offence as offence:
        known = [(place, ctx.number(place)) for place in bounds if ctx.degree(place) is not ANY]
        at = [ctx.term(place).words if n is None else f"{n:g}" for place, n in known]
        raise Offence(f"clips at {' and '.join(at)}", offence.assumed) from None


def _out_of_reach(ctx: Context, place: int, side: int) -> bool:
    """Whether a bound is absent, infinite, or the type's largest number, as exporters write it."""
    bound, dtype = ctx.number(place), ctx.dtype(ctx.input(0))
    if not ctx.has(place):
        return True
    if bound is None or dtype not in SCALABLE:
        return False
    return side * bound >= float(dtype.max)


@rule("ThresholdedRelu")
def thresholded_relu(ctx: Context) -> Degree:
    """y = x above alpha, else 0: k for alpha = 0."""
    alpha = ctx.attribute("alpha", 1.0)
    if alpha != 0:
        raise Offence(f"cuts off at {alpha:g}", ctx.degree())
    return ctx.degree()


@rule("Shrink")
def shrink(ctx: Context) -> Degree:
    """y = x - bias above lambd, x + bias below -lambd, else 0: k where both are 0."""
    lambd, bias = ctx.attribute("lambd", 0.5), ctx.attribute("bias", 0.0)
    if lambd != 0 or bias != 0:
        raise Offence(f"shrinks by {bias:g} and cuts off at {lambd:g}", ctx.degree())
    return ctx.degree()


@rule("Dropout")
def dropout(ctx: Context) -> list[Degree]:
    """The identity, and a mask that is all true; not in training."""
    if ctx.has(2) and ctx.number(2) != 0:
        raise Offence("is in training mode, or may be", ctx.degree(), always=True)
    return [ctx.degree(), CONSTANT]


@rule("Cast")
def cast(ctx: Context) -> Degree:
    """From float to float: k. To bool, a test for zero: 0."""
    degree, to = ctx.degree(), ir.DataType(ctx.attribute("to", 0))
    if to in SCALABLE or not scales(degree):
        return degree
    if to != ir.DataType.BOOL:
        raise Offence(f"rounds to {to.name}", CONSTANT)
    return CONSTANT
