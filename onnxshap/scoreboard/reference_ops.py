"""Operators that ONNX's reference evaluator (1.23) gets wrong or runs slowly, in plain numpy.

Each class says why it is here. `test_vjp` compares every row's forward run with onnxruntime's.
"""

import math
from itertools import product
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_resize import Resize as _Resize

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


class AffineGrid(OpRun):
    """ONNX's gives float32, whatever the input."""

    def _run(self, theta: np.ndarray, size: np.ndarray, align_corners: int = 0) -> tuple[Any]:
        axes = [
            np.arange(n) * 2 / max(n - 1, 1) - 1
            if align_corners
            else (np.arange(n) * 2 + 1) / n - 1
            for n in size[2:]
        ]
        places = np.meshgrid(*axes, indexing="ij")[::-1]
        grid = np.stack([*places, np.ones_like(places[0])], -1)
        return (np.einsum("nij,...j->n...i", theta, grid).astype(theta.dtype),)


class DeformConv(OpRun):
    """ONNX's goes through its GridSample, element by element."""

    def _run(
        self,
        x: np.ndarray,
        w: np.ndarray,
        offset: np.ndarray,
        b: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        **attrs: Any,
    ) -> tuple[np.ndarray]:
        n, channels, *sizes = x.shape
        kernel, outputs = w.shape[2:], offset.shape[2:]
        group, parts = attrs.get("group") or 1, attrs.get("offset_group") or 1
        strides, dilations = attrs.get("strides") or [1, 1], attrs.get("dilations") or [1, 1]
        pads = attrs.get("pads") or [0] * 4
        offset = offset.reshape(n, parts, *kernel, 2, *outputs)
        held = np.ones((n, parts, *kernel, *outputs)) if mask is None else mask
        held = held.reshape(n, parts, 1, *kernel, *outputs)
        axes = []
        for i, size in enumerate(sizes):
            at = np.arange(kernel[i])[:, None] * dilations[i] - pads[i]
            at = at + np.arange(outputs[i]) * strides[i]
            at = at[:, None, :, None] if i == 0 else at[None, :, None, :]
            near = _interpolation(at + offset[:, :, :, :, i], "linear")
            axes.append(
                [(p.clip(0, size - 1).astype(int), u * ((p >= 0) & (p < size))) for p, u in near]
            )
        images = x.reshape(n, parts, channels // parts, *sizes)
        lead = tuple(np.ogrid[:n, :parts, : channels // parts])
        lead = tuple(k[(...,) + (None,) * 4] for k in lead)
        columns = np.zeros(())
        for (rows, u), (places, v) in product(*axes):
            read = images[(*lead, rows[:, :, None], places[:, :, None])]
            columns = columns + read * (u * v)[:, :, None]
        columns = (columns * held).reshape(n, group, channels // group, *kernel, *outputs)
        weights = w.reshape(group, len(w) // group, *w.shape[1:])
        y = np.einsum("ngckluv,gockl->ngouv", columns, weights).reshape(n, len(w), *outputs)
        return (_biased(y, b).astype(x.dtype),)


class DynamicQuantizeLinear(OpRun):
    """ONNX's rounds its scale to float32, whatever the input."""

    def _run(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        low, high = np.minimum(x.min(), 0), np.maximum(x.max(), 0)
        scale = (high - low) / 255 if high > low else np.ones((), x.dtype)
        zero = np.rint(np.clip(-low / scale, 0, 255))
        y = np.clip(np.rint(x / scale) + zero, 0, 255)
        return y.astype(np.uint8), np.asarray(scale, x.dtype), zero.astype(np.uint8)


class GlobalLpPool(OpRun):
    """ONNX has none."""

    op_domain = ""

    def _run(self, x: np.ndarray, p: int = 2) -> tuple[np.ndarray]:
        axes = tuple(range(2, x.ndim))
        return (((np.abs(x) ** p).sum(axis=axes, keepdims=True)) ** (1 / p),)


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


class LogSoftmax(OpRun):
    """ONNX's is the logarithm of a softmax, minus infinity where that underflows."""

    def _run(self, x: np.ndarray, axis: int = -1) -> tuple[np.ndarray]:
        shifted = x - x.max(axis, keepdims=True)
        return ((shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))).astype(x.dtype),)


class LpNormalization(OpRun):
    """ONNX's adds up signed elements for p = 1."""

    def _run(self, x: np.ndarray, axis: int = -1, p: int = 2) -> tuple[np.ndarray]:
        norm = np.linalg.norm(x, p, axis, keepdims=True)
        return (np.divide(x, norm, out=np.zeros_like(x), where=norm != 0),)


class MeanVarianceNormalization(OpRun):
    """ONNX's refuses float64."""

    def _run(self, x: np.ndarray, axes: Any = (0, 2, 3)) -> tuple[np.ndarray]:
        mean, square = (v.mean(tuple(axes), keepdims=True) for v in (x, x**2))
        return ((x - mean) / (np.sqrt(square - mean**2) + np.float32(1e-9)),)


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


class Resize(_Resize):
    """ONNX's fails on axes that are counted from the end, and has cubic weights in float32."""

    def _run(self, *given: Any, **attrs: Any) -> Any:
        if attrs["axes"] is not None:
            attrs["axes"] = [a % given[0].ndim for a in attrs["axes"]]
        attrs["cubic_coeff_a"] = float(attrs["cubic_coeff_a"])
        return super()._run(*given, **attrs)


class Slice(OpRun):
    """ONNX's takes nothing where it steps back from a start before the first element."""

    def _run(
        self,
        data: np.ndarray,
        starts: np.ndarray,
        ends: np.ndarray,
        axes: np.ndarray | None = None,
        steps: np.ndarray | None = None,
    ) -> tuple[np.ndarray]:
        axes = np.arange(len(starts)) if axes is None else axes
        steps = np.ones(len(starts), int) if steps is None else steps
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            size = data.shape[axis]
            low, high = (0, size) if step > 0 else (-1, size - 1)
            start = np.clip(start + size if start < 0 else start, 0, high)
            end = np.clip(end + size if end < 0 else end, low, high)
            data = np.take(data, np.arange(start, end, step), axis)
        return (data,)


def _places(indices: np.ndarray, axis: int, size: int) -> tuple[np.ndarray, ...]:
    places: list[np.ndarray] = list(np.indices(indices.shape))
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
        if reduction == "none":
            result[places] = updates
        else:
            _REDUCTIONS[reduction].at(result, places, updates)
        return (result,)


_REDUCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


class Scatter(ScatterElements):
    """ONNX's has none: it is what ScatterElements was called."""

    op_domain = ""


class ScatterND(OpRun):
    """ONNX's is a Python loop over elements: slow."""

    def _run(
        self, data: np.ndarray, indices: np.ndarray, updates: np.ndarray, reduction: str = "none"
    ) -> tuple[np.ndarray]:
        result, places = data.copy(), tuple(np.moveaxis(indices, -1, 0))
        if reduction == "none":
            result[places] = updates
        else:
            _REDUCTIONS[reduction].at(result, places, updates)
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
        found: np.ndarray = starts[:, None] + np.arange(self.kernel[i]) * self.dilations[i]
        return found

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
            spots: tuple[Any, ...] = tuple(
                slice(p * d, p * d + s * (m - 1) + 1, s)
                for p, d, s, m in zip(place, dilations, strides, sizes, strict=True)
            )
            key: tuple[Any, ...] = (slice(None), slice(None), slice(None), *place)
            tap = weights[key]
            full[..., *spots] += np.einsum("ngc...,gco->ngo...", parts, tap)
        crop: tuple[Any, ...] = tuple(slice(p, p + o) for p, o in zip(begin, outputs, strict=True))
        y = full.reshape(n, group * w.shape[1], *room)[..., *crop]
        return (_biased(y, b),)


def _transposed_size(
    attrs: Attrs, spans: list[int], same: list[int]
) -> tuple[list[int], list[int]]:
    """Where the output begins in the full span, and its size: ConvTranspose's equations.

    Under SAME nothing is added where the span is shorter than ONNX's text says the output is:
    neither onnxruntime nor ONNX's own inference do.
    """
    auto, wanted = attrs.get("auto_pad", "NOTSET"), attrs.get("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [min(n, s) for n, s in zip(same, spans, strict=True)]
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


class GridSample(OpRun):
    """ONNX's computes positions in float32, in a Python loop.

    And it moves positions outside the image to its border even where the mode is cubic, as neither
    onnxruntime nor torch do: there each element that is read is moved by itself.
    """

    def _run(self, x: np.ndarray, grid: np.ndarray, **attrs: Any) -> tuple[np.ndarray]:
        mode, padding = attrs["mode"].removeprefix("bi"), attrs["padding_mode"]
        sizes, rank = x.shape[2:], x.ndim - 2
        samples = np.arange(len(x)).reshape(-1, *[1] * rank)
        y = np.zeros((*grid.shape[:-1], x.shape[1]), x.dtype)
        axes: list[list[Any]] = []
        for i, n in enumerate(sizes):
            at = grid[..., rank - 1 - i].astype(np.float64)
            at = (at + 1) / 2 * (n - 1) if attrs["align_corners"] else ((at + 1) * n - 1) / 2
            low, high = (0, n - 1) if attrs["align_corners"] else (-0.5, n - 0.5)
            at = np.rint(at) if mode == "nearest" else at
            outside = (at < low) | (at > high)
            moved = _fold(at, low, high) if padding == "reflection" else np.clip(at, 0, n - 1)
            if padding == "reflection" or (padding == "border" and mode != "cubic"):
                at = np.where(outside, moved, at)
            axes.append([])
            for place, weight in _interpolation(at, mode):
                if padding == "reflection":
                    place = _fold(place, low, high)
                inside = (place >= 0) & (place < n) if padding == "zeros" else np.ones(())
                axes[-1].append((np.clip(place, 0, n - 1).astype(int), weight * inside))
        for taps in product(*axes):
            values = x.swapaxes(0, 1)[(slice(None), samples, *(place for place, _ in taps))]
            y += np.moveaxis(values, 0, -1) * math.prod(w for _, w in taps)[..., None]
        return (np.moveaxis(y, -1, 1).astype(x.dtype),)


def _fold(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Reflect between two edges."""
    return high - np.abs((x - low) % (2 * (high - low)) - (high - low))


def _interpolation(x: np.ndarray, mode: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places around x and their weights, by distance."""
    reach = {"nearest": [0], "linear": [0, 1], "cubic": [-1, 0, 1, 2]}[mode]
    places = [np.floor(x) + k for k in reach]
    if mode == "nearest":
        return [(places[0], np.ones(x.shape))]
    found = []
    for place in places:
        d = np.abs(x - place)
        near = 1.25 * d**3 - 2.25 * d**2 + 1
        far = -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
        found.append((place, 1 - d if mode == "linear" else np.where(d <= 1, near, far)))
    return found


class LpPool(OpRun):
    """ONNX's goes through its AveragePool, and fails where windows are cut off."""

    def _run(self, x: np.ndarray, p: int = 2, **attrs: Any) -> tuple[np.ndarray]:
        windows = _Geometry(x.shape[2:], attrs["kernel_shape"], attrs)
        sums = (np.abs(windows.patches(x, 0)) ** p).sum(-1)
        return ((sums ** (1 / p)).astype(x.dtype),)


class MaxRoiPool(OpRun):
    """ONNX has none. A region is cut into bins that may overlap by one position."""

    op_domain = ""

    def _run(self, x: np.ndarray, rois: np.ndarray, **attrs: Any) -> tuple[np.ndarray]:
        rows, columns = attrs["pooled_shape"]
        y = np.zeros((len(rois), x.shape[1], rows, columns), x.dtype)
        for k, (sample, *corners) in enumerate(rois):
            left, top, right, bottom = (
                math.floor(float(c) * attrs.get("spatial_scale", 1.0) + 0.5) for c in corners
            )
            height, width = max(bottom - top + 1, 1), max(right - left + 1, 1)
            for i, j in product(range(rows), range(columns)):
                ys = slice(
                    max(0, top + math.floor(i * height / rows)),
                    max(0, top + math.ceil((i + 1) * height / rows)),
                )
                xs = slice(
                    max(0, left + math.floor(j * width / columns)),
                    max(0, left + math.ceil((j + 1) * width / columns)),
                )
                part = x[int(sample), :, ys, xs]
                y[k, :, i, j] = part.max(axis=(1, 2)) if part.size else 0
        return (y,)


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


class CausalConvWithState(OpRun):
    """ONNX's computes its activation in float32, whatever the input."""

    def _run(
        self,
        x: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        past: np.ndarray | None = None,
        activation: str | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        length, reach = x.shape[2], weight.shape[2] - 1
        before = np.zeros((*x.shape[:2], reach), x.dtype) if past is None else past
        padded = np.concatenate([before, x], axis=2)
        taps = [padded[:, :, k : k + length] * weight[:, 0, k, None] for k in range(reach + 1)]
        y = _biased(np.sum(taps, axis=0), bias)
        if activation in ("silu", "swish"):
            y = y / (1 + np.exp(-y))
        return y.astype(x.dtype), padded[:, :, length:]


CORRECTED: tuple[type[OpRun], ...] = (
    AffineGrid,
    AveragePool,
    CausalConvWithState,
    Conv,
    ConvTranspose,
    Erf,
    GatherElements,
    Gelu,
    DeformConv,
    DynamicQuantizeLinear,
    GlobalLpPool,
    GlobalMaxPool,
    LRN,
    LogSoftmax,
    LpNormalization,
    MeanVarianceNormalization,
    GridSample,
    LpPool,
    MaxPool,
    MaxRoiPool,
    Pad,
    Resize,
    Scatter,
    ScatterElements,
    ScatterND,
    Slice,
)
