"""Reductions along axes."""

import math

from onnxshap.homogeneity.context import Context
from onnxshap.homogeneity.degrees import CONSTANT, Degree, Offence, power, scales
from onnxshap.homogeneity.registry import rule


@rule("CumSum", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
def reduction(ctx: Context) -> Degree:
    """k, along axes of degree 0."""
    ctx.unscaled()
    return ctx.degree()


@rule("ReduceSumSquare")
def reduce_sum_square(ctx: Context) -> Degree:
    """2 k."""
    ctx.unscaled()
    axes = ctx.content(1)
    none = not ctx.has(1) or axes is None or axes.size == 0
    if ctx.attribute("noop_with_empty_axes", 0) and none:
        raise Offence("reduces no axis, and runtimes differ on whether it squares", ctx.degree())
    return power(ctx.degree(), 2)


@rule("ReduceProd")
def reduce_prod(ctx: Context) -> Degree:
    """n k, for products of n elements."""
    ctx.unscaled()
    degree, count = ctx.degree(), _reduced(ctx)
    if count == 0:
        return CONSTANT  # an empty product is 1
    if count is None:
        if not scales(degree):
            return degree
        raise Offence("multiplies a number of elements that is not known", degree)
    return power(degree, count)


def _reduced(ctx: Context) -> int | None:
    """How many elements make one of the result, or None if that is not known."""
    dims, axes = ctx.dims(), ctx.content(1)
    if dims is None or (ctx.has(1) and axes is None):
        return None
    if axes is None or axes.size == 0:
        if ctx.attribute("noop_with_empty_axes", 0):
            return 1
        axes_reduced = list(dims)
    else:
        axes_reduced = [dims[int(axis)] for axis in axes.ravel()]
    sizes = [size for size in axes_reduced if size is not None]
    return math.prod(sizes) if len(sizes) == len(axes_reduced) else None


@rule("ArgMax", "ArgMin", "Hardmax")
def place_of_extremum(ctx: Context) -> Degree:
    """0: a^k > 0 leaves the order alone."""
    return CONSTANT


@rule("TopK")
def top_k(ctx: Context) -> list[Degree]:
    """k; which elements they are does not change."""
    ctx.unscaled()
    return [ctx.degree(), CONSTANT]
