"""Picking and placing where it is not linear. m: multiplier of y; x, r: both sides."""

import onnx_ir as ir

from onnxshap.autodiff.completion import completed
from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier, vjp


def _linear(node: ir.Node, moving: set[int]) -> bool:
    """Whether data and updates, those of them that move, are only placed or added up."""
    found = node.attributes.get("reduction")
    reduction = "none" if found is None else found.as_string()
    placed = reduction in ("none", "add") or (reduction == "mul" and moving == {0})
    return placed and 1 not in moving


@multiplier("ScatterElements", form="flat", inputs=(0, 2), family="fallback", linear=_linear)
@multiplier("ScatterND", form="flat", inputs=(0, 2), family="fallback", linear=_linear)
def scatter(ctx: Context, m: ir.Value) -> Cotangents:
    """m where data and updates went; for products and extrema the least-norm completion."""
    moving = {i for i in range(3) if ctx.varies(i)}
    return ctx.by(vjp, m) if _linear(ctx.node, moving) else completed(ctx, m)


@multiplier("TopK", form="flat", inputs=(0,), family="fallback")
def top_k(ctx: Context, m: ir.Value) -> Cotangents:
    """Mean of m at the places either side's values were taken from, and least-norm completion."""
    return completed(ctx, m, ctx.attr("axis", -1))
