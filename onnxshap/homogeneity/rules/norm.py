"""Normalisations: what divides by a norm of the same value is unchanged by scaling."""

from fractions import Fraction

from onnxshap.homogeneity.context import Context, agree, as_term
from onnxshap.homogeneity.degrees import ANY, CONSTANT, Degree, Offence, product, scales
from onnxshap.homogeneity.registry import rule


@rule("BatchNormalization")
def batch_normalization(ctx: Context) -> Degree:
    """(x - mean) / sqrt(var + epsilon) scale + B: k, where mean and B are zero."""
    x, scale, shift, mean = (ctx.degree(place) for place in range(4))
    ctx.unscaled(4)
    if ctx.attribute("training_mode", 0):
        raise Offence("is in training mode", x)
    centred = mean if x is ANY else x
    scaled = product(centred, scale)
    misfits = [("mean", x, mean), ("B", scaled, shift)]
    wrong = [n for n, a, b in misfits if a is not ANY and b is not ANY and a != b]
    if wrong:
        verb = "is" if len(wrong) == 1 else "are"
        raise Offence(f"its {' and '.join(wrong)} {verb} not zero", scaled)
    return shift if scaled is ANY else scaled


@rule("InstanceNormalization", "RMSNormalization")
def normalization(ctx: Context) -> Degree:
    """x over its own deviation or root mean square: 0, if epsilon is 0; then scale and B."""
    return _normalised(ctx)


@rule("LayerNormalization")
def layer_normalization(ctx: Context) -> list[Degree]:
    """As above; then the mean, k, and the inverse deviation, -k."""
    degree = ctx.degree()
    return [_normalised(ctx), degree, CONSTANT if degree is ANY else -degree]


def _normalised(ctx: Context) -> Degree:
    scaled = product(CONSTANT, ctx.degree(1))
    shifted = agree("adds", "to", [as_term(scaled), ctx.term(2, "bias")])
    epsilon = ctx.attribute("epsilon", 1e-5)
    if epsilon != 0 and scales(ctx.degree()):
        raise Offence(f"adds epsilon {epsilon:g} to a mean square", shifted)
    return shifted


@rule("LpNormalization")
def lp_normalization(ctx: Context) -> Degree:
    """x over its own norm: 0."""
    return CONSTANT


@rule("LRN")
def lrn(ctx: Context) -> Degree:
    """x / (bias + alpha sum x^2)^beta: k for alpha = 0, k - 2 k beta for bias = 0."""
    degree = ctx.degree()
    alpha, beta = ctx.attribute("alpha", 1e-4), ctx.attribute("beta", 0.75)
    bias = ctx.attribute("bias", 1.0)
    if degree is ANY or alpha == 0 or beta == 0:
        return degree
    if bias != 0:
        raise Offence(f"adds bias {bias:g} to a sum of squares", degree)
    return degree - 2 * degree * Fraction(beta)
