"""Elements picked and placed by index."""

from onnxshap.homogeneity.context import Context, agree
from onnxshap.homogeneity.degrees import CONSTANT, Degree
from onnxshap.homogeneity.registry import rule


@rule("Compress", "Gather", "GatherElements", "GatherND")
def picked(ctx: Context) -> Degree:
    """k, at places of degree 0."""
    ctx.unscaled()
    return ctx.degree()


@rule("ScatterElements", "ScatterND")
def scattered(ctx: Context) -> Degree:
    """The degree of data and updates; of the data where they are multiplied by ones of degree 0."""
    ctx.unscaled(1)
    if ctx.attribute("reduction", "none") == "mul":
        ctx.unscaled(2)
        return ctx.degree()
    return agree("mixes", "with", ctx.terms(0, 2))


@rule("TensorScatter")
def tensor_scatter(ctx: Context) -> Degree:
    """The degree of data and update."""
    ctx.unscaled(2)
    return agree("mixes", "with", ctx.terms(0, 1))


@rule("OneHot")
def one_hot(ctx: Context) -> Degree:
    """k of the two values, at places of degree 0."""
    ctx.unscaled(0, 1, data=2)
    return ctx.degree(2)


@rule("Unique")
def unique(ctx: Context) -> list[Degree]:
    """k; where and how often they are found does not change."""
    return [ctx.degree(), CONSTANT, CONSTANT, CONSTANT]
