"""Operators that pick elements by index: linear in the data, no derivative for the indices."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.scatter import scatter_along
from onnxshap.autodiff.windows import zero
from onnxshap.errors import UnsupportedOpError


@vjp("Gather", form="flat", inputs=(0,), family="exact-linear")
def gather(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g added at the picked rows."""
    op, axis = ctx.op, ctx.attr("axis", 0) % len(ctx.dims())
    if ctx.layout(1).batch is not None:
        raise UnsupportedOpError(
            f'Gather "{ctx.node.name}": indices differ from sample to sample while the data has a '
            "batch axis too; use GatherElements or GatherND with batch_dims in the model."
        )
    rank = len(ctx.dims(1))
    if rank == 0:
        g = op.Unsqueeze(g, [axis])
    elif rank > 1:
        before, after = op.Shape(g, end=axis), op.Shape(g, start=axis + rank)
        parts = [p for p, there in ((before, axis), (after, axis + 1 < len(ctx.dims()))) if there]
        parts.insert(1 if axis else 0, op.value([-1]))
        g = op.Reshape(g, op.Concat(*parts, axis=0))
    index = op.Reshape(ctx.input(1), [-1])
    return [scatter_along(ctx, g, axis, index, ctx.dims()[axis])]


@vjp("GatherElements", form="flat", inputs=(0,), family="exact-linear")
def gather_elements(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g added at the picked elements."""
    op, axis, layout = ctx.op, ctx.attr("axis", 0), ctx.layout()
    batch = layout.batch
    lead = [] if batch is None else [op.Shape(g, start=batch, end=batch + 1)]
    shape = ctx.lift.shape(layout, lead, ctx.input(0))
    zeros = op.ConstantOfShape(op.value(shape), value=zero(g))
    return [op.ScatterElements(zeros, ctx.x(1), g, axis=axis, reduction="add")]


@vjp("ScatterElements", form="flat", inputs=(0, 2), family="exact-linear")
def scatter_elements(ctx: Context, g: ir.Value) -> Cotangents:
    """ddata = g, zero where overwritten;  dupdates = g at the indices."""
    op, axis, reduction = ctx.op, ctx.attr("axis", 0), ctx.attr("reduction", "none")
    if reduction not in ("none", "add"):
        raise UnsupportedOpError(
            f'ScatterElements "{ctx.node.name}": no rule for reduction {reduction!r}, only none '
            "and add."
        )
    index = ctx.x(1)
    updates = op.GatherElements(g, index, axis=axis)
    data = g
    if reduction == "none" and ctx.needs(0):
        data = op.ScatterElements(g, index, op.Mul(updates, 0.0), axis=axis)
    return [data, None, updates if ctx.needs(2) else None]
