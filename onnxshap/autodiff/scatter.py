"""Adjoints of picking along an axis: add each cotangent back where its value was picked from."""

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.windows import zero


def scatter_along(
    ctx: Context, g: ir.Value, axis: int, index: ir.Value | np.ndarray, size: int | None
) -> ir.Value:
    """Adjoint of ``Gather(x, index, axis)`` for a 1-D index; flat form, repeats accumulate.

    ``size`` is the input's size along ``axis``; None reads it from the node's input 0.
    """
    op, rank = ctx.op, len(ctx.dims())
    column = op.Reshape(op.value(index), [1] * axis + [-1] + [1] * (rank - axis - 1))
    everywhere = op.Expand(column, op.Shape(g))
    extent = op.Shape(ctx.input(0), start=axis, end=axis + 1) if size is None else op.value([size])
    parts = [op.Shape(g, end=axis)] if axis else []
    parts.append(extent)
    if axis + 1 < rank:
        parts.append(op.Shape(g, start=axis + 1))
    shape = op.Concat(*parts, axis=0)
    zeros = op.ConstantOfShape(shape, value=zero(g))
    return op.ScatterElements(zeros, everywhere, g, axis=axis, reduction="add")
