"""The adjoint of a convolution: what flows back to its image, and from windows to what they cover.

By a convolution with reversed kernels where that can be: its kernels are faster than those of
ConvTranspose, and the runtime derives the weights once, at load.
"""

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.windows import Windows

Channels = tuple[int | None, int | None]
_FEW = 8
"""Channels of an image below which its convolution is slower than a ConvTranspose: the runtime's
CPU kernel computes 8 or 16 at once, as vectors go, and lets the rest go by."""


def adjoint(
    ctx: Context, g: ir.Value, weights: ir.Value, channels: Channels, w: Windows, group: int
) -> ir.Value:
    """Image [P, C, *size] that g [P, O, *windows] flows back to; flat form.

    ``weights`` [O, C/group, *kernel], ``channels``: O and C/group.
    """
    if group == 1 and (channels[1] or _FEW) < _FEW and len(w.kernel) == 2 and w.sizes_known:
        return _transposed(ctx, g, weights, w, group)
    reach = [d * (k - 1) for d, k in zip(w.dilations, w.kernel, strict=True)]
    begin = [r - b for r, b in zip(reach, w.begin, strict=True)]
    if set(w.strides) == {1} and None not in channels:
        pads = begin + [r - e for r, e in zip(reach, w.end, strict=True)]
    elif channels == (group, 1) and len(w.kernel) == 2 and w.sizes_known:
        # A channel's own convolution is so small that zeros in it cost less than a ConvTranspose,
        # which the runtime's CPU kernel takes channel by channel.
        sizes = [(n or 0) * s for n, s in zip(w.outputs, w.strides, strict=True)]
        ends = zip(w.inputs, reach, sizes, begin, strict=True)
        pads = begin + [(i or 0) + r - size - b for i, r, size, b in ends]
    else:
        return _transposed(ctx, g, weights, w, group)
    if min(pads) < 0:
        return _transposed(ctx, g, weights, w, group)
    if set(w.strides) != {1}:
        g = _apart(ctx, g, w.strides, sizes)
    weights = _adjoint_weights(ctx, weights, channels, group, w.kernel)
    settings = {"pads": pads, "dilations": w.dilations, "group": group}
    found: ir.Value = ctx.op.Conv(g, weights, **settings)
    return found


def _apart(ctx: Context, g: ir.Value, strides: list[int], sizes: list[int]) -> ir.Value:
    """Put the elements of g [P, C, *windows] ``strides`` apart, zeros between, to ``sizes``."""
    scales, places = np.array(strides, np.float32), "asymmetric"
    settings = {"axes": [2, 3], "coordinate_transformation_mode": places, "nearest_mode": "floor"}
    repeated = ctx.op.Resize(g, None, scales, mode="nearest", **settings)
    first = [np.arange(n) % s == 0 for n, s in zip(sizes, strides, strict=True)]
    apart: ir.Value = ctx.op.Mul(repeated, np.outer(*first).astype(ctx.layout().dtype.numpy()))
    return apart


def _adjoint_weights(
    ctx: Context, weights: ir.Value, channels: Channels, group: int, kernel: list[int]
) -> ir.Value:
    """[O, C/group, *kernel] -> [C, O/group, *kernel], kernels reversed."""
    op, rank, (outputs, inputs) = ctx.op, len(kernel), channels
    if channels != (group, 1):
        if group == 1:
            weights = op.Transpose(weights, perm=[1, 0, *range(2, 2 + rank)])
        else:
            assert outputs is not None
            assert inputs is not None
            weights = op.Reshape(weights, [group, outputs // group, inputs, *kernel])
            weights = op.Transpose(weights, perm=[0, 2, 1, *range(3, 3 + rank)])
            weights = op.Reshape(weights, [group * inputs, outputs // group, *kernel])
    axes = [2 + k for k, size in enumerate(kernel) if size > 1]
    if axes:
        ends = [int(np.iinfo(np.int64).min)] * len(axes)
        weights = op.Slice(weights, [-1] * len(axes), ends, axes, [-1] * len(axes))
    return weights


def _transposed(ctx: Context, g: ir.Value, weights: ir.Value, w: Windows, group: int) -> ir.Value:
    """The same by ConvTranspose, cropped to the input's size."""
    # Begin and end are cropped alike, and the rest by a Slice: runtimes on GPUs know no other way.
    op, rank = ctx.op, len(w.strides)
    settings = {"strides": w.strides, "dilations": w.dilations, "group": group}
    axes = list(range(2, 2 + rank))
    if not w.sizes_known:
        rest = [s - 1 for s in w.strides]
        full = op.ConvTranspose(g, weights, output_padding=rest, **settings)
        ends = op.Add(op.Shape(ctx.input(0), start=2), np.array(w.begin, np.int64))
        return op.Slice(full, w.begin, ends, axes)
    sizes = [i or 0 for i in w.inputs]
    # The last window may end before or after the padded input: pad or crop what is left.
    left = [s - b - i for s, b, i in zip(w.spans(), w.begin, sizes, strict=True)]
    extra = [b - n for b, n in zip(w.begin, left, strict=True)]
    if all(0 <= e < s for e, s in zip(extra, w.strides, strict=True)):
        return op.ConvTranspose(g, weights, pads=w.begin * 2, output_padding=extra, **settings)
    both = [min(b, max(0, n)) for b, n in zip(w.begin, left, strict=True)]
    more = [max(0, -n) for n in left]
    full = op.ConvTranspose(g, weights, pads=both * 2, output_padding=more, **settings)
    starts = [b - p for b, p in zip(w.begin, both, strict=True)]
    return op.Slice(full, starts, [b + i for b, i in zip(starts, sizes, strict=True)], axes)
