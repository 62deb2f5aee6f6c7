"""Interpolation at computed positions: which elements are read, with what weights, and back.

P: batch, C: channels, L: positions, T: elements read for each. An image is flat, [P, C, size].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.windows import zero
from onnxshap.graph.builder import Builder

Mode = Literal["nearest", "linear", "cubic"]
Padding = Literal["zeros", "border", "reflection"]

_OFFSETS = {"nearest": [0], "linear": [0, 1], "cubic": [-1, 0, 1, 2]}
_CUBIC = -0.75


@dataclass(frozen=True)
class Taps:
    """What is read along one axis: places, weights, and the weights' slopes; [P, L, T]."""

    place: ir.Value
    weight: ir.Value
    slope: ir.Value


@dataclass(frozen=True)
class Reads:
    """What is read along all axes: places in the flat image, weights, slopes along each axis."""

    place: ir.Value
    weight: ir.Value
    slopes: list[ir.Value]


def taps(
    op: Builder, x: ir.Value, size: int, mode: Mode, padding: Padding, edges: tuple[float, float]
) -> Taps:
    """Taps at coordinates ``x`` [P, L], in elements; ``edges``: where the image begins and ends."""
    bounds = op.value(0.0, x.dtype), op.value(size - 1.0, x.dtype)
    if mode == "nearest":
        x = op.Round(x)
    turn: Any = None
    if padding == "reflection" or (padding == "border" and mode != "cubic"):
        outside = op.Or(op.Less(x, edges[0]), op.Greater(x, edges[1]))
        moved, turn = op.Clip(x, *bounds), op.Cast(op.Not(outside), to=x.dtype)
        if padding == "reflection":
            moved, turn = _reflect(op, x, edges)
        x = op.Where(outside, moved, x)
    first = op.Floor(x)
    weight, slope = _weights(op, op.Unsqueeze(op.Sub(x, first), [-1]), mode)
    offsets = op.Cast(np.array(_OFFSETS[mode], np.int64), to=x.dtype)
    place = op.Add(op.Unsqueeze(first, [-1]), offsets)
    if padding == "zeros":
        within = op.And(op.GreaterOrEqual(place, 0.0), op.LessOrEqual(place, size - 1.0))
        held = op.Cast(within, to=x.dtype)
        weight, slope = op.Mul(weight, held), op.Mul(slope, held)
    elif padding == "reflection":
        place = _reflect(op, place, edges)[0]
    place = op.Cast(op.Clip(place, *bounds), to=ir.DataType.INT64)
    return Taps(place, weight, slope if turn is None else op.Mul(slope, op.Unsqueeze(turn, [-1])))


def _reflect(op: Builder, x: ir.Value, edges: tuple[float, float]) -> tuple[Any, Any]:
    """x folded back between the edges, and whether that turns its direction, 1 or -1."""
    low, high = edges
    width = high - low
    u = op.Sub(x, low)
    u = op.Sub(u, op.Mul(op.Floor(op.Mul(u, 0.5 / width)), 2 * width))
    beyond = op.Sub(u, width)
    back = op.Cast(op.Greater(beyond, 0.0), to=x.dtype)
    return op.Sub(high, op.Abs(beyond)), op.Sub(1.0, op.Mul(back, 2.0))


def _weights(op: Builder, t: ir.Value, mode: Mode) -> tuple[Any, Any]:
    """Weights of the elements around a position ``t`` in [0, 1) between two, and their slopes."""
    one = op.Add(op.Mul(t, 0.0), 1.0)
    if mode == "nearest":
        return one, op.Mul(t, 0.0)
    if mode == "linear":
        return op.Concat(op.Sub(1.0, t), t, axis=-1), op.Concat(op.Neg(one), one, axis=-1)
    powers = op.Concat(one, t, op.Mul(t, t), op.Mul(t, op.Mul(t, t)), axis=-1)
    a, dtype = _CUBIC, t.dtype.numpy() if t.dtype else None
    terms = np.array(  # of 1, t, t^2, t^3 in each of the four weights
        [[0, 1, 0, 0], [a, 0, -a, 0], [-2 * a, -a - 3, 2 * a + 3, a], [a, a + 2, -a - 2, -a]], dtype
    )
    rises = np.vstack([terms[1:] * [[1], [2], [3]], np.zeros((1, 4))]).astype(dtype)
    return op.MatMul(powers, terms), op.MatMul(powers, rises)


def reads(op: Builder, axes: Sequence[Taps], sizes: Sequence[int]) -> Reads:
    """All combinations of the axes' taps; the last axis runs fastest."""
    place, weight = axes[0].place, axes[0].weight
    slopes = [axes[0].slope]
    for own, size in zip(axes[1:], sizes[1:], strict=True):
        place = _grid(op, op.Mul(place, [size]), own.place, op.Add)
        slopes = [_grid(op, s, own.weight, op.Mul) for s in slopes]
        slopes.append(_grid(op, weight, own.slope, op.Mul))
        weight = _grid(op, weight, own.weight, op.Mul)
    return Reads(place, weight, slopes)


def _grid(op: Builder, a: ir.Value, b: ir.Value, combine: Any) -> ir.Value:
    found: ir.Value = combine(op.Unsqueeze(a, [3]), op.Unsqueeze(b, [2]))
    return op.Reshape(found, [0, 0, -1])


def values(op: Builder, image: ir.Value, r: Reads) -> ir.Value:
    """Elements of ``image`` that are read, [P, C, L, T]."""
    place = op.Unsqueeze(op.Flatten(r.place, axis=1), [1])
    lead = op.Concat(op.Shape(image, end=2), op.Shape(place, start=2), axis=0)
    picked = op.GatherElements(image, op.Expand(place, lead), axis=2)
    return op.Reshape(picked, op.Concat(op.Shape(image, end=2), op.Shape(r.place, start=1), axis=0))


def add_back(op: Builder, g: ir.Value, r: Reads, size: int) -> ir.Value:
    """Cotangent of the image, from that of the samples [P, C, L, 1] or their terms [P, C, L, T]."""
    updates = op.Mul(g, op.Unsqueeze(r.weight, [1]))
    updates = op.Reshape(updates, [0, 0, -1])
    place = op.Expand(op.Unsqueeze(op.Flatten(r.place, axis=1), [1]), op.Shape(updates))
    zeros = op.ConstantOfShape(op.Concat(op.Shape(g, end=2), [size], axis=0), value=zero(g))
    return op.ScatterElements(zeros, place, updates, axis=2, reduction="add")


def moves(op: Builder, g: ir.Value, read: ir.Value, r: Reads) -> list[ir.Value]:
    """Cotangents [P, L] of the coordinates; ``read``: what `values` found. g as in `add_back`."""
    owed = op.ReduceSum(op.Mul(g, read), [1], keepdims=0)
    return [op.ReduceSum(op.Mul(owed, slope), [-1], keepdims=0) for slope in r.slopes]
