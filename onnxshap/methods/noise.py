"""Methods made of noise: gradients averaged around a sample, and the random control."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from onnxshap.errors import InputError
from onnxshap.methods.draft import Draft
from onnxshap.methods.parameters import require_count, require_seed
from onnxshap.methods.points import Points
from onnxshap.methods.program import Program


@dataclass(frozen=True)
class SmoothGrad:
    """Mean gradient over ``samples`` noisy copies of the explicand.

    Smilkov et al. 2017: normal noise with a standard deviation of ``noise`` times the range,
    largest minus smallest value, of what is explained in each explicand. The same draws, by
    ``seed``, for every explicand. Not complete.
    """

    samples: int = 50
    noise: float = 0.15
    seed: int = 0

    name: ClassVar[str] = "smoothgrad"
    needs_background: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_count(self, "samples", self.samples)
        require_seed(self, self.seed)
        number = isinstance(self.noise, int | float | np.floating | np.integer)
        if isinstance(self.noise, bool) or not number or not 0 <= self.noise < np.inf:
            raise InputError(f"SmoothGrad: noise={self.noise!r} must be a number, 0 or above")

    def build(self, draft: Draft) -> Program:
        """Append the points and the backward pass; contributions are gradients [K, N, *x]."""
        points, op = Points(draft, np.full(self.samples, 1 / self.samples)), draft.op

        def noisy(value: ir.Value) -> ir.Value:
            index = draft.sources.index(value)

            def draws(fed: Mapping[str, np.ndarray], _: range, steps: range) -> np.ndarray:
                shape = draft.sample_shape(value, fed)
                rngs = [np.random.default_rng([self.seed, index, s]) for s in steps]
                return np.stack([rng.standard_normal(shape) for rng in rngs])

            dtype, dims = draft.layouts[value].number, draft.sample_dims(value)
            filled = draft.add_filled(f"{value.name}/noise", dtype, dims, draws)
            extent = points.explicand(self._extent(draft, value), value)
            noise = op.Mul(points.displacements(filled, value), extent)
            return op.Add(points.explicand(value), noise)

        return draft.finish(points.gradients(noisy))

    def _extent(self, draft: Draft, value: ir.Value) -> ir.Value:
        """Standard deviation of the noise for each explicand, its other axes of size 1."""
        op, batch = draft.op, draft.layouts.batch_axis(value)
        axes = [a for a in range(len(draft.layouts[value].dims)) if a != batch]
        if not axes:  # one number: its range is 0
            return op.Mul(value, 0.0)
        extent = op.Sub(op.ReduceMax(value, axes), op.ReduceMin(value, axes))
        return op.Mul(extent, float(self.noise))


@dataclass(frozen=True)
class Random:
    """Uniform noise between -0.5 and 0.5: what any method must be better than.

    Drawn by ``seed`` and the explicand's own values, so the same explicand always gets the same
    map, whatever it is explained with.
    """

    seed: int = 0

    name: ClassVar[str] = "random"
    needs_background: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require_seed(self, self.seed)

    def build(self, draft: Draft) -> Program:
        """Append nothing but the noise; contributions [K, N, *x]."""
        return draft.finish({source: self._noise(draft, source) for source in draft.sources})

    def _noise(self, draft: Draft, source: ir.Value) -> ir.Value:
        op, layout = draft.op, draft.layouts[source]
        axis = draft.layouts.batch_axis(source)
        index = draft.sources.index(source)

        def draws(fed: Mapping[str, np.ndarray], _: range, __: range) -> np.ndarray:
            shape = draft.sample_shape(source, fed)
            inputs = [fed[str(v.name)] for v in draft.model_inputs if v.name in fed]
            rows = zip(*inputs, strict=True)
            keys = [zlib.crc32(b"".join(a.tobytes() for a in row)) for row in rows]
            rngs = [np.random.default_rng([self.seed, index, key]) for key in keys]
            return np.stack([rng.random(shape) for rng in rngs])[None] - 0.5

        dims = ["explicands", *draft.sample_dims(source)]
        name = f"{source.name}/noise"
        noise = op.Squeeze(draft.add_filled(name, layout.number, dims, draws, "explicands"), [0])
        if axis is None or not (draft.batched or layout.batch is not None):
            return op.Squeeze(noise, [0])
        if axis:
            noise = op.Transpose(
                noise, perm=[*range(1, axis + 1), 0, *range(axis + 1, len(layout.dims))]
            )
        pair = draft.lift.pair(noise, layout, "explicand", layout)
        return draft.lift.spread(pair, layout)
