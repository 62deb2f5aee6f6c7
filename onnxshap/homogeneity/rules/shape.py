"""What moves elements and computes none."""

from onnxshap.homogeneity.context import Context, agree, degree_of_constant
from onnxshap.homogeneity.degrees import ANY, CONSTANT, Degree
from onnxshap.homogeneity.registry import rule


@rule(
    "Col2Im",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Reshape",
    "ReverseSequence",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
)
def moved(ctx: Context) -> Degree:
    """k, for sizes and axes of degree 0; what is filled in is zero."""
    ctx.unscaled()
    return ctx.degree()


@rule("Concat")
def concat(ctx: Context) -> Degree:
    """The degree of all parts."""
    return agree("joins", "to", ctx.terms())


@rule("Pad")
def pad(ctx: Context) -> Degree:
    """k; a constant that is padded with must have it too."""
    ctx.unscaled(1, 3)
    if ctx.attribute("mode", "constant") != "constant":
        return ctx.degree()
    return agree("pads with", "around", ctx.terms(0, 2))


@rule("EyeLike", "NonZero", "Shape", "Size")
def outline(ctx: Context) -> Degree:
    """0: depends on sizes, or on which elements are zero."""
    return CONSTANT


@rule("ConstantOfShape")
def constant_of_shape(ctx: Context) -> Degree:
    """Any degree where it is filled with zeros, else 0."""
    ctx.unscaled(0)
    fill = ctx.attribute("value", None)
    return ANY if fill is None else degree_of_constant(fill.numpy())
