"""Operators that ONNX's reference evaluator (1.23) gets wrong or runs slowly, in plain numpy.

Each class says why it is here. `test_vjp` compares every row's forward run with onnxruntime's.
"""

import math
from itertools import product
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

Attrs = dict[str, Any]

_erf = np.vectorize(math.erf, otypes=[np.float64])


class Erf(OpRun):
    """ONNX's returns float32 precision for float64 input."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (_erf(x).astype(x.dtype),)


class Gelu(OpRun):
    """ONNX's goes through its Erf."""

    def _run(self, x: np.ndarray, approximate: str = "none") -> tuple[np.ndarray]:
        if approximate == "tanh":
            inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        else:
            inner = _erf(x / math.sqrt(2))
        return ((x * (1 + inner) / 2).astype(x.dtype),)


class GlobalMaxPool(OpRun):
    """ONNX's returns a list of axes' maxima, not an array, for other than two spatial axes."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class LRN(OpRun):
    """ONNX's loops over as many channels as there are samples, and takes rank 4 only."""

    def _run(self, x: np.ndarray, size: int = 1, **attrs: Any) -> tuple[np.ndarray]:
        total = np.zeros_like(x)
        for c in range(x.shape[1]):
            first, last = c - (size - 1) // 2, c + math.ceil((size - 1) / 2)
            total[:, c] = (x[:, max(0, first) : last + 1] ** 2).sum(1)
        alpha, beta, bias = (float(attrs[name]) for name in ("alpha", "beta", "bias"))
        divisor = (bias + alpha / size * total) ** beta
        return ((x / divisor).astype(x.dtype),)


class Pad(OpRun):
    """ONNX's refuses negative pads."""

    def _run(
        self,
        data: np.ndarray,
        pads: np.ndarray,
        value: np.ndarray | None = None,
        axes: np.ndarray | None = None,
        mode: str = "constant",
    ) -> tuple[np.ndarray]:
        chosen = range(data.ndim) if axes is None else [int(a) % data.ndim for a in axes]
        amounts = [(0, 0)] * data.ndim
        for axis, amount in zip(chosen, pads.reshape(2, -1).T.tolist(), strict=True):
            amounts[axis] = tuple(amount)
        crop = tuple(
            slice(max(0, -b), n - max(0, -e)) for (b, e), n in zip(amounts, data.shape, strict=True)
        )
        grow = [(max(0, b), max(0, e)) for b, e in amounts]
        filling = {"constant_values": 0 if value is None else value.item()}
        settings = filling if mode == "constant" else {}
        return (np.pad(data[crop], grow, mode=mode, **settings),)  # type: ignore[call-overload]


def _places(indices: np.ndarray, axis: int, size: int) -> tuple[np.ndarray, ...]:
    places = list(np.indices(indices.shape))
    places[axis] = indices % size
    return tuple(places)


class GatherElements(OpRun):
    """ONNX's refuses negative axes of some shapes."""

    def _run(self, data: np.ndarray, indices: np.ndarray, axis: int = 0) -> tuple[np.ndarray]:
        return (data[_places(indices, axis, data.shape[axis])],)


class ScatterElements(OpRun):
    """ONNX's is a Python loop over elements: slow."""

    def _run(
        self,
        data: np.ndarray,
        indices: np.ndarray,
        updates: np.ndarray,
        axis: int = 0,
        reduction: str = "none",
    ) -> tuple[np.ndarray]:
        result, places = data.copy(), _places(indices, axis, data.shape[axis])
        if reduction == "add":
            np.add.at(result, places, updates)
        elif reduction == "none":
            result[places] = updates
        else:
            raise NotImplementedError(reduction)
        return (result,)


# Windows ------------------------------------------------------------------------------------------


class _Geometry:
    """Windows of a convolution or pool: positions [output, kernel] of each axis, padding too."""

    def __init__(self, sizes: tuple[int, ...], kernel: list[int], attrs: Attrs) -> None:
        rank = len(sizes)
        self.sizes, self.kernel = sizes, kernel
        self.strides = attrs.get("strides") or [1] * rank
        self.dilations = attrs.get("dilations") or [1] * rank
        pads = attrs.get("pads") or [0] * (2 * rank)
        self.begin, self.end = list(pads[:rank]), list(pads[rank:])
        auto, ceil = attrs.get("auto_pad", "NOTSET"), attrs.get("ceil_mode", 0)
        self.counts = []
        for i, size in enumerate(sizes):
            s, span = self.strides[i], self.dilations[i] * (kernel[i] - 1) + 1
            if auto.startswith("SAME"):
                count = math.ceil(size / s)
                total = max(0, (count - 1) * s + span - size)
                first = total // 2 if auto == "SAME_UPPER" else total - total // 2
                self.begin[i], self.end[i] = first, total - first
            else:
                if auto == "VALID":
                    self.begin[i] = self.end[i] = 0
                room = (size + self.begin[i] + self.end[i] - span) / s
                count = (math.ceil(room) if ceil else math.floor(room)) + 1
                if ceil and (count - 1) * s >= size + self.begin[i]:
                    count -= 1  # the last window would start in the padding
            self.counts.append(count)

    def positions(self, i: int) -> np.ndarray:
        starts = np.arange(self.counts[i]) * self.strides[i] - self.begin[i]
        return starts[:, None] + np.arange(self.kernel[i]) * self.dilations[i]

    def patches(self, x: np.ndarray, filling: float) -> np.ndarray:
        """[N, C, *size] -> [N, C, *output, kernel elements]."""
        rank = len(self.sizes)
        for i in range(rank):
            where, axis = self.positions(i), 2 + 2 * i
            inside = (where >= 0) & (where < self.sizes[i])
            x = np.take(x, np.where(inside, where, 0), axis=axis)
            mask = inside.reshape([1] * axis + [*inside.shape] + [1] * (x.ndim - axis - 2))
            x = np.where(mask, x, np.asarray(filling, x.dtype))
        order = [0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2)]
        x = x.transpose(order)
        return x.reshape(*x.shape[: 2 + rank], -1)


class Conv(OpRun):
    """ONNX's fails on groups with strides."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **attrs: Any
    ) -> tuple[np.ndarray]:
        group = attrs.get("group") or 1
        patches = _Geometry(x.shape[2:], list(w.shape[2:]), attrs).patches(x, 0)
        n, channels, *outputs, elements = patches.shape
        patches = patches.reshape(n, group, channels // group, *outputs, elements)
        weights = w.reshape(group, w.shape[0] // group, w.shape[1], elements)
        y = np.einsum("ngc...e,goce->ngo...", patches, weights)
        return (_biased(y.reshape(n, w.shape[0], *outputs), b),)


class ConvTranspose(OpRun):
    """ONNX's fails on groups, misreads ``output_shape``, and is slow."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **attrs: Any
    ) -> tuple[np.ndarray]:
        sizes, kernel, group = x.shape[2:], w.shape[2:], attrs.get("group") or 1
        rank = len(sizes)
        strides = attrs.get("strides") or [1] * rank
        dilations = attrs.get("dilations") or [1] * rank
        extra = attrs.get("output_padding") or [0] * rank
        spans = [
            s * (n - 1) + d * (k - 1) + 1 + e
            for s, n, d, k, e in zip(strides, sizes, dilations, kernel, extra, strict=True)
        ]
        begin, outputs = _transposed_size(
            attrs, spans, [n * s for n, s in zip(sizes, strides, strict=True)]
        )
        room = [max(f, p + o) for f, p, o in zip(spans, begin, outputs, strict=True)]
        n, channels = x.shape[:2]
        parts = x.reshape(n, group, channels // group, *sizes)
        weights = w.reshape(group, channels // group, *w.shape[1:])
        full = np.zeros((n, group, w.shape[1], *room), x.dtype)
        for place in product(*map(range, kernel)):
            spots = tuple(
                slice(p * d, p * d + s * (m - 1) + 1, s)
                for p, d, s, m in zip(place, dilations, strides, sizes, strict=True)
            )
            tap = weights[(slice(None), slice(None), slice(None), *place)]
            full[(..., *spots)] += np.einsum("ngc...,gco->ngo...", parts, tap)
        crop = tuple(slice(p, p + o) for p, o in zip(begin, outputs, strict=True))
        y = full.reshape(n, group * w.shape[1], *room)[(..., *crop)]
        return (_biased(y, b),)


def _transposed_size(
    attrs: Attrs, spans: list[int], same: list[int]
) -> tuple[list[int], list[int]]:
    """Where the output begins in the full span, and its size: ConvTranspose's equations."""
    auto, wanted = attrs.get("auto_pad", "NOTSET"), attrs.get("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = same
    if wanted is None:
        pads = [0] * (2 * len(spans)) if auto == "VALID" else attrs.get("pads")
        pads = pads or [0] * (2 * len(spans))
        begin, end = pads[: len(spans)], pads[len(spans) :]
        return begin, [s - b - e for s, b, e in zip(spans, begin, end, strict=True)]
    total = [max(0, s - o) for s, o in zip(spans, wanted, strict=True)]
    return [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in total], list(wanted)


def _biased(y: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    return y if b is None else y + b.reshape(-1, *[1] * (y.ndim - 2))


class AveragePool(OpRun):
    """ONNX's is slow, and counts windows of ``ceil_mode`` differently from onnxruntime."""

    def _run(self, x: np.ndarray, **attrs: Any) -> tuple[np.ndarray]:
        windows = _Geometry(x.shape[2:], attrs["kernel_shape"], attrs)
        counts = np.ones(())
        for i, size in enumerate(windows.sizes):
            low, high = 0, size
            if attrs.get("count_include_pad"):
                low, high = -windows.begin[i], size + windows.end[i]
            where = windows.positions(i)
            counts = counts[..., None] * ((where >= low) & (where < high)).sum(1)
        return ((windows.patches(x, 0).sum(-1) / counts).astype(x.dtype),)


class MaxPool(OpRun):
    """ONNX's gives wrong Indices for overlapping and 3-D windows, and fails on SAME_LOWER."""

    def _run(self, x: np.ndarray, **attrs: Any) -> tuple[np.ndarray, ...]:
        sizes = x.shape[2:]
        windows = _Geometry(sizes, attrs["kernel_shape"], attrs)
        patches = windows.patches(x, -np.inf)
        first = patches.argmax(-1)[..., None]
        y = np.take_along_axis(patches, first, -1)[..., 0]
        if len(self.onnx_node.output) < 2:
            return (y,)
        plane = math.prod(sizes)
        spots = windows.patches(np.arange(plane).reshape(1, 1, *sizes), 0)
        local = np.take_along_axis(np.broadcast_to(spots, patches.shape), first, -1)[..., 0]
        planes = np.arange(x.shape[0] * x.shape[1]) * plane
        return y, local + planes.reshape(*x.shape[:2], *[1] * len(sizes))


CORRECTED: tuple[type[OpRun], ...] = (
    AveragePool,
    Conv,
    ConvTranspose,
    Erf,
    GatherElements,
    Gelu,
    GlobalMaxPool,
    LRN,
    MaxPool,
    Pad,
    ScatterElements,
)
