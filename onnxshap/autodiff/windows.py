"""Sliding windows: geometry of convolutions and pools, and where a window has its maximum."""

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.errors import UnsupportedOpError
from onnxshap.graph.batch import Layout


@dataclass(frozen=True)
class Windows:
    """Windows along each spatial axis of one convolution or pool, all padding explicit."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]
    inputs: list[int | None]
    outputs: list[int | None]

    @classmethod
    def of(cls, ctx: Context, kernel: list[int]) -> "Windows":
        """Read the attributes of Conv, AveragePool or MaxPool and resolve ``auto_pad``."""
        rank = len(kernel)
        strides = list(ctx.attr("strides", [1] * rank))
        dilations = list(ctx.attr("dilations", [1] * rank))
        auto = ctx.attr("auto_pad", "NOTSET")
        refuse_dilated_auto_pad(ctx)
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            axes = list(range(2, 2 + rank))
            begin, end = [], []
            for k, s, d, size in zip(kernel, strides, dilations, ctx.known_dims(axes), strict=True):
                total = (math.ceil(size / s) - 1) * s + d * (k - 1) + 1 - size
                if total < -1:
                    raise UnsupportedOpError(
                        f'{ctx.node.op_type} "{ctx.node.name}": runtimes disagree on where windows '
                        f"of {k} with stride {s} start under auto_pad {auto}. Write the padding "
                        "out as pads in the model."
                    )
                total = max(0, total)
                small, large = total // 2, total - total // 2
                begin.append(small if auto == "SAME_UPPER" else large)
                end.append(large if auto == "SAME_UPPER" else small)
        else:
            pads = [0] * (2 * rank) if auto == "VALID" else list(ctx.attr("pads", [0] * 2 * rank))
            begin, end = pads[:rank], pads[rank:]
        dims, output = list(ctx.dims()[2:]), list(ctx.output_dims()[2:])
        return cls(kernel, strides, dilations, begin, end, dims, output)

    @property
    def sizes_known(self) -> bool:
        """Whether input and output sizes are all known before the run."""
        return None not in self.inputs and None not in self.outputs

    def spans(self) -> list[int]:
        """Positions that all windows together cover, padding included, along each axis."""
        zipped = zip(self.outputs, self.strides, self.dilations, self.kernel, strict=True)
        return [((o or 1) - 1) * s + d * (k - 1) + 1 for o, s, d, k in zipped]

    def counts(self, include_pad: bool) -> list[np.ndarray]:
        """How many positions each window averages over, along each axis."""
        counted = []
        for axis, size in enumerate(self.inputs):
            starts = np.arange(self.outputs[axis] or 0) * self.strides[axis] - self.begin[axis]
            offsets = np.arange(self.kernel[axis]) * self.dilations[axis]
            places = starts[:, None] + offsets
            low, high = 0, size or 0
            if include_pad:
                low, high = -self.begin[axis], high + self.end[axis]
            counted.append(((places >= low) & (places < high)).sum(1))
        return counted


def refuse_dilated_auto_pad(ctx: Context) -> None:
    """Raise where ``auto_pad`` depends on the runtime: some pad as if windows had no gaps."""
    node, auto = ctx.node, ctx.attr("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER") and max(ctx.attr("dilations", [1])) > 1:
        raise UnsupportedOpError(
            f'{node.op_type} "{node.name}": runtimes disagree on what auto_pad {auto} means for '
            "dilations above 1. Write the padding out as pads in the model."
        )


def max_indices(ctx: Context, value: ir.Value) -> ir.Value:
    """Where each window of a MaxPool has its maximum: index in the whole flattened tensor.

    int64, shaped like the output; a second MaxPool, since one that returns indices is slow.
    """
    refuse_dilated_auto_pad(ctx)
    names = ("kernel_shape", "strides", "pads", "dilations", "auto_pad", "ceil_mode")
    attributes = {name: ctx.attr(name) for name in names}
    return ctx.op.several("MaxPool", value, outputs=2, **attributes)[1]


def max_positions(ctx: Context, value: ir.Value) -> tuple[ir.Value, Layout]:
    """Where each window of a MaxPool has its maximum: index in the flattened plane, own batch.

    int64 [N, C, L] for L windows.
    """
    op, dims = ctx.op, ctx.output_dims()
    local = op.Mod(max_indices(ctx, value), plane(ctx))
    known = [d for d in dims[2:] if d is not None]
    windows = math.prod(known) if len(known) == len(dims) - 2 else None
    layout = Layout(ir.DataType.INT64, (*dims[:2], windows), ctx.layout().batch)
    return op.Reshape(local, [0, 0, -1]), layout


def plane(ctx: Context) -> ir.Value | np.ndarray:
    """Positions in one channel of input 0, int64 [1]."""
    dims = ctx.dims()[2:]
    if None in dims:
        shape = ctx.op.Shape(ctx.input(0), start=2)
        return ctx.op.ReduceProd(shape, [0], keepdims=1)
    return np.array([math.prod(d for d in dims if d is not None)], np.int64)


def scatter_to_windows(ctx: Context, updates: ir.Value, indices: ir.Value) -> ir.Value:
    """Add ``updates`` [P, C, L] at ``indices`` [P, C, L] of an input-shaped zero; flat form.

    Windows may overlap, so contributions accumulate.
    """
    op = ctx.op
    shape = op.Concat(op.Shape(updates, end=2), op.value(plane(ctx)), axis=0)
    zeros = op.ConstantOfShape(shape, value=zero(updates))
    planes = op.ScatterElements(zeros, indices, updates, axis=2, reduction="add")
    return op.Reshape(planes, ctx.shape(0))


def zero(like: ir.Value) -> ir.TensorProtocol:
    """A one-element zero of ``like``'s dtype, for ConstantOfShape."""
    assert like.dtype is not None
    return ir.tensor(np.zeros(1, like.dtype.numpy()))
