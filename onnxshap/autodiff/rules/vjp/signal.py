"""Fourier transforms: each the transpose of the matrix the node is on the identity."""

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.scatter import scatter_along


@vjp("DFT", form="flat", inputs=(0,), family="exact-linear")
def dft(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = F' g along the axis, real and imaginary parts as one vector; F the node on I."""
    op, rank = ctx.op, len(ctx.dims())
    since_20 = "axis" not in ctx.node.attributes and _opset(ctx) >= 20
    axis = int(ctx.require(2, "axis").ravel()[0]) if ctx.has(2) else -2
    axis = (axis if since_20 else ctx.attr("axis", 1)) % rank
    size, parts = ctx.known_dims([axis, rank - 1])
    assert g.dtype is not None
    identity = np.eye(size * parts, dtype=g.dtype.numpy()).reshape(-1, size, parts)
    settings = {name: ctx.attr(name) for name in ("inverse", "onesided")}
    length = ctx.input(1) if ctx.has(1) else None
    if since_20:
        matrix = op.DFT(identity, length, op.value(1, ir.DataType.INT64), **settings)
    else:
        matrix = op.DFT(identity, length, axis=1, **settings)
    matrix = op.Reshape(matrix, [size * parts, -1])
    order = [a for a in range(rank - 1) if a != axis] + [axis, rank - 1]
    moved = op.Transpose(g, perm=order)
    rows = op.Reshape(moved, op.Concat(op.Shape(moved, end=rank - 2), [-1], axis=0))
    product = op.MatMul(rows, op.Transpose(matrix, perm=[1, 0]))
    shape = op.Concat(op.Shape(moved, end=rank - 2), [size, parts], axis=0)
    return [op.Transpose(op.Reshape(product, shape), perm=[order.index(a) for a in range(rank)])]


def _opset(ctx: Context) -> int:
    graph = ctx.node.graph
    return graph.opset_imports.get("", 0) if graph is not None else 0


@vjp("STFT", form="flat", inputs=(0, 2), family="product")
def stft(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = w F' g for each frame, F the transform of one, added where they overlap; dw = x F' g."""
    op, (size, parts) = ctx.op, ctx.known_dims([1, 2])
    step = int(ctx.require(1, "frame_step").ravel()[0])
    frames = ctx.output_dims()[1]
    length = ctx.known_dims([0], 2)[0] if ctx.has(2) else None
    if ctx.has(3):
        length = int(ctx.require(3, "frame_length").ravel()[0])
    assert length is not None
    assert g.dtype is not None
    count = (size - length) // step + 1 if frames is None else frames
    identity = np.eye(length * parts, dtype=g.dtype.numpy()).reshape(-1, length, parts)
    one = [op.value(k, ir.DataType.INT64) for k in (step, length)]
    matrix = op.STFT(identity, one[0], None, one[1], onesided=ctx.attr("onesided"))
    matrix = op.Transpose(op.Reshape(matrix, [length * parts, -1]), perm=[1, 0])
    rows = op.MatMul(op.Reshape(g, [0, count, -1]), matrix)
    rows = op.Reshape(rows, [0, count, length, parts])
    places, dx, dw = np.arange(count)[:, None] * step + np.arange(length), None, None
    if ctx.needs(0):
        weighed = op.Mul(rows, op.Unsqueeze(ctx.x(2), [1])) if ctx.has(2) else rows
        weighed = op.Reshape(weighed, [0, count * length, parts])
        dx = scatter_along(ctx, weighed, 1, places.ravel(), size)
    if ctx.needs(2):
        dw = op.ReduceSum(op.Mul(rows, op.Gather(ctx.x(), places, axis=1)), [0, 1, 3], keepdims=0)
    return [dx, None, dw]
