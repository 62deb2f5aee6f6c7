"""Windows: pools, and what samples an image."""

from onnxshap.homogeneity.context import Context
from onnxshap.homogeneity.degrees import CONSTANT, Degree, Offence
from onnxshap.homogeneity.registry import rule


@rule(
    "AveragePool",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GridSample",
    "LpPool",
    "MaxRoiPool",
    "MaxUnpool",
    "RoiAlign",
)
def window(ctx: Context) -> Degree:
    """Means, largest elements and norms of windows: k, for places of degree 0."""
    ctx.unscaled()
    return ctx.degree()


@rule("MaxPool")
def max_pool(ctx: Context) -> list[Degree]:
    """k; where the largest elements are does not change."""
    return [ctx.degree(), CONSTANT]


@rule("Resize")
def resize(ctx: Context) -> Degree:
    """Linear in x, but for what it fills in outside: k."""
    ctx.unscaled()
    fill = ctx.attribute("extrapolation_value", 0.0)
    mode = ctx.attribute("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_crop_and_resize" and fill != 0:
        raise Offence(f"fills with {fill:g}", ctx.degree())
    return ctx.degree()
