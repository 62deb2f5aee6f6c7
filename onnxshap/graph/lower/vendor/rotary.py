"""Rotary position embedding: pairs of features turned by an angle that grows with the place."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering

Outputs = Sequence[ir.Value | None]


def rotary_embedding(low: Lowering, node: ir.Node) -> Outputs:
    """y = (a cos - b sin, b cos + a sin) for the pairs (a, b) of each head's features.

    x [B, S, N H] or [B, N, S, H]; places [B, S], or [1]: that of the first; cos, sin [places, R/2].
    """
    op = low.op
    x, at, cos, sin = node.inputs
    if node.attributes.get_int("is_packed_batching", 0):
        raise low.refuse("its sequences are packed into one. Export it without packing.")
    flat = len(low.dims(x)) == 3
    interleaved = bool(node.attributes.get_int("interleaved", 0))
    angles = [_of_places(low, table, at, x, 1 if flat else 2) for table in (cos, sin)]
    turned = 2 * low.size(cos, 1, "number of angles")
    if not flat:
        spread = [op.Unsqueeze(a, [-3]) for a in angles]
        return [rotate(low, x, spread, turned, interleaved)]
    width = turned
    if node.attributes.get_int("rotary_embedding_dim", 0):
        width = low.size(x, 2, "hidden size") // node.attributes["num_heads"].as_int()
    apart = op.Reshape(x, [0, 0, -1, width])
    spread = [op.Unsqueeze(a, [-2]) for a in angles]
    y = rotate(low, apart, spread, turned, interleaved)
    return [op.Reshape(y, [0, 0, -1])]


def rotate(
    low: Lowering,
    x: ir.Value | None,
    angles: Sequence[ir.Value],
    turned: int,
    interleaved: bool,
) -> ir.Value:
    """Turn the first features of every head, x [..., H] of rank 4; cos and sin [..., turned / 2].

    Pairs are neighbours if ``interleaved``, else the first half with the second.
    """
    op, (cos, sin) = low.op, angles
    rest = low.size(x, 3, "head size") - turned
    first, *behind = low.split(x, [turned, rest], 3) if rest and x is not None else [x]
    if interleaved:
        pairs = op.Reshape(first, [0, 0, 0, -1, 2])
        a, b = (op.Squeeze(part, [4]) for part in low.split(pairs, [1, 1], 4))
    else:
        a, b = op.several("Split", first, outputs=2, axis=3, num_outputs=2)
    ends = [op.Sub(op.Mul(a, cos), op.Mul(b, sin)), op.Add(op.Mul(b, cos), op.Mul(a, sin))]
    joined = low.stack(ends, 4) if interleaved else low.concat(ends, 3)
    y = op.Reshape(joined, [0, 0, 0, -1]) if interleaved else joined
    return low.concat([y, *behind], 3)


def places(low: Lowering, value: ir.Value | None, axis: int) -> ir.Value:
    """0, 1, ... along an axis of a value."""
    op, size = low.op, low.dims(value)[axis]
    if size is not None:
        return op.value(np.arange(size))
    end = op.Squeeze(op.Shape(value, start=axis, end=axis + 1), [0])
    counted: ir.Value = op.Range(op.value(np.array(0)), end, op.value(np.array(1)))
    return counted


def _of_places(
    low: Lowering, table: ir.Value | None, at: ir.Value | None, x: ir.Value | None, axis: int
) -> ir.Value:
    """Rows of a table of angles, [B, S, R / 2] or [S, R / 2]."""
    if len(low.dims(at)) == 1:
        at = low.op.Add(places(low, x, axis), at)
    rows: ir.Value = low.op.Gather(table, at, axis=0)
    return rows
