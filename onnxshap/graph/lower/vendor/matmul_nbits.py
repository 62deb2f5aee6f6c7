"""Products with weights kept in a few bits, block by block.

The weights are unpacked by operators, from the packed bytes: the file stays as small as it was, and
a runtime folds them as it loads.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering

Outputs = Sequence[ir.Value | None]


def matmul_nbits(low: Lowering, node: ir.Node) -> Outputs:
    """y = a w' + bias;  w = (q - zero) scale, a zero and a scale for each block of a row.

    a [..., K], q uint8 [N, blocks, bytes of a block], scale [N, blocks], y [..., N].
    """
    op = low.op
    a, packed, scales, zeros, order, bias = [*node.inputs, None, None, None][:6]
    if order is not None:
        raise low.refuse("it reorders its blocks by g_idx, which onnxruntime has given up.")
    if node.attributes.get_int("weight_prepacked", 0):
        raise low.refuse("its weights are packed for one GPU. Quantise the model anew without.")
    bits = node.attributes.get_int("bits", 4)
    if bits not in (2, 4, 8):
        raise low.refuse(f"its weights have {bits} bits; known are 2, 4 and 8.")
    inputs, outputs, size = (node.attributes[k].as_int() for k in ("K", "N", "block_size"))
    blocks = -(-inputs // size)
    number = low.known(a).dtype
    whole = op.Reshape(packed, [outputs, blocks, -1])
    levels = op.Cast(_unpacked(low, whole, bits), to=number)
    centred = op.Sub(levels, _zeros(low, zeros, bits, [outputs, blocks], number))
    rows = op.Mul(centred, op.Reshape(op.Cast(scales, to=number), [outputs, blocks, 1]))
    rows = op.Reshape(rows, [outputs, -1])
    if blocks * size != inputs:
        rows = op.Slice(rows, [0], [inputs], [1])
    y = op.MatMul(a, op.Transpose(rows, perm=[1, 0]))
    return [y if bias is None else op.Add(y, bias)]


def _zeros(
    low: Lowering,
    zeros: ir.Value | None,
    bits: int,
    shape: list[int],
    number: ir.DataType | None,
) -> ir.Value | float:
    """The level that stands for 0 in each block [N, blocks, 1]."""
    op = low.op
    if zeros is None:
        return float(2 ** (bits - 1))
    if low.known(zeros).dtype == ir.DataType.UINT8:
        packed = op.Reshape(zeros, [shape[0], -1])
        zeros = op.Slice(_unpacked(low, packed, bits), [0], [shape[1]], [1])
    found: ir.Value = op.Cast(op.Reshape(zeros, [*shape, 1]), to=number)
    return found


def _unpacked(low: Lowering, packed: ir.Value, bits: int) -> ir.Value:
    """Bytes [..., n] as levels [..., n * 8 / bits]; the lowest bits come first."""
    op = low.op
    if bits == 8:
        return packed
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    apart = op.BitShift(op.Unsqueeze(packed, [-1]), op.value(shifts), direction="RIGHT")
    levels = op.BitwiseAnd(apart, op.value(np.array(2**bits - 1, np.uint8)))
    lead = len(low.dims(packed)) - 1
    flat: ir.Value = op.Reshape(levels, [0] * lead + [-1])
    return flat
