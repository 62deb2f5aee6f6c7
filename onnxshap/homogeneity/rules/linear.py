"""Products of matrices and convolutions: the degrees of the factors add up."""

from onnxshap.homogeneity.context import Context, agree, as_term
from onnxshap.homogeneity.degrees import Degree, Offence, power, product, scales
from onnxshap.homogeneity.registry import rule


@rule("Einsum", "MatMul")
def matmul(ctx: Context) -> Degree:
    """The sum of the factors' degrees."""
    return product(*ctx.degrees)


@rule("Gemm")
def gemm(ctx: Context) -> Degree:
    """kA + kB; C must have it too, unless beta is 0."""
    factors = product(ctx.degree(0), ctx.degree(1))
    if ctx.attribute("beta", 1.0) == 0:
        return factors
    return _with_bias(ctx, factors, 2)


@rule("Conv", "ConvTranspose")
def conv(ctx: Context) -> Degree:
    """kX + kW; B must have it too."""
    return _with_bias(ctx, product(ctx.degree(0), ctx.degree(1)), 2)


@rule("DeformConv")
def deform_conv(ctx: Context) -> Degree:
    """kX + kW + kmask, at offsets of degree 0; B must have it too."""
    ctx.unscaled(2)
    factors = product(*(ctx.degree(place) for place in (0, 1, 4) if ctx.has(place)))
    return _with_bias(ctx, factors, 3)


def _with_bias(ctx: Context, factors: Degree, place: int) -> Degree:
    return agree("adds", "to", [as_term(factors), ctx.term(place, "bias")])


@rule("Det")
def det(ctx: Context) -> Degree:
    """n k, for matrices of n rows."""
    degree, dims = ctx.degree(), ctx.dims()
    rows = dims[-1] if dims else None
    if rows is None:
        if not scales(degree):
            return degree
        raise Offence("has a number of rows that is not known", degree)
    return power(degree, rows)


@rule("AffineGrid", "DFT")
def transform(ctx: Context) -> Degree:
    """Linear in its first input: k."""
    ctx.unscaled()
    return ctx.degree()


@rule("STFT")
def stft(ctx: Context) -> Degree:
    """k of the signal, plus that of the window."""
    ctx.unscaled(1, 3)
    return product(*(ctx.degree(place) for place in (0, 2) if ctx.has(place)))
