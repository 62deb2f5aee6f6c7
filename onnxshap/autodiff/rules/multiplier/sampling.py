"""Reading images between their elements, where more than the image moves. m: multiplier of y."""

import onnx_ir as ir

from onnxshap.autodiff.completion import completed
from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier, vjp


def _linear(_: ir.Node, moving: set[int]) -> bool:
    """Whether only the image moves, or only the weights do; and the bias."""
    return moving - {3} in (set(), {0}, {1})


@multiplier("DeformConv", form="flat", family="fallback", linear=_linear)
def deform_conv(ctx: Context, m: ir.Value) -> Cotangents:
    """The transposed node for the image alone; else the least-norm completion."""
    moving = {i for i in range(5) if ctx.varies(i)}
    return ctx.by(vjp, m) if _linear(ctx.node, moving) else completed(ctx, m)


@multiplier("GridSample", form="flat", family="fallback", linear=lambda _, moving: moving == {0})
def grid_sample(ctx: Context, m: ir.Value) -> Cotangents:
    """The transposed node for the image alone; else the least-norm completion."""
    return completed(ctx, m) if ctx.varies(1) else ctx.by(vjp, m)


def _averages(node: ir.Node, moving: set[int]) -> bool:
    found = node.attributes.get("mode")
    return moving == {0} and (found is None or found.as_string() == "avg")


@multiplier("RoiAlign", form="flat", inputs=(0, 1), family="fallback", linear=_averages)
def roi_align(ctx: Context, m: ir.Value) -> Cotangents:
    """The transposed node for means of the image alone; else the least-norm completion."""
    moving = {i for i in range(3) if ctx.varies(i)}
    return ctx.by(vjp, m) if _averages(ctx.node, moving) else completed(ctx, m)
