"""Lift values of a batch to the axes a backward pass runs over: targets x explicands x references.

A value's batch axis is replaced, in place, by the *lead* axes. In **pair** form they are separate
and broadcast: an explicand's value is [1, N, 1, ...], a reference's [1, 1, M, ...], and what flows
backward [K, N, M, ...]. In **flat** form they are one batch [K*N*M, ...] as operators expect it.
Changing between the two is a free Reshape. Where a model is not separable there are no lead axes
and both forms are the value itself. In either, 16-bit floats have become float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import onnx_ir as ir

from onnxshap.graph.batch import Layout, Layouts
from onnxshap.graph.builder import Builder

Lead = Literal["targets", "explicands", "references", "steps"]
Side = Literal["explicand", "reference"]

_WIDER: dict[ir.DataType | None, ir.DataType] = {
    ir.DataType.FLOAT16: ir.DataType.FLOAT,
    ir.DataType.BFLOAT16: ir.DataType.FLOAT,
    ir.DataType.INT4: ir.DataType.INT8,
    ir.DataType.UINT4: ir.DataType.UINT8,
}
"""Types that derivatives are not computed in: too narrow, or known to too few operators."""


@dataclass
class Lift:
    """The lead axes of one backward pass, and the Reshapes to and from them."""

    op: Builder
    layouts: Layouts
    sizes: dict[Lead, ir.Value]
    """Run-time size of each lead axis, int64 [1], in order; empty if not separable."""
    masked: set[ir.Value] = field(default_factory=set)
    """Values with rows that are no numbers where nothing flows back to them; see `masked`."""
    _read: dict[ir.Value, ir.Value] = field(default_factory=dict)
    _scaled: dict[ir.Value, tuple[ir.Value, ir.Value]] = field(default_factory=dict)
    """Products with constant factors of channels: operand and factor, by product."""
    _once: dict[ir.Value, ir.Value] = field(default_factory=dict)
    """Repeated values: what is repeated, by the result."""

    @property
    def extra(self) -> int:
        """How many axes pair form has beyond a value's own."""
        return max(0, len(self.sizes) - 1)

    def axis(self, axis: int, layout: Layout) -> int:
        """Place of a value's own ``axis`` in pair form, counted from the end.

        From the end, because forward values in pair form leave out lead axes they would only
        broadcast along.
        """
        axis %= max(1, len(layout.dims))
        before_batch = layout.batch is not None and axis < layout.batch
        return axis - len(layout.dims) - (self.extra if before_batch else 0)

    def pair(self, value: ir.Value, layout: Layout, side: Side, like: Layout) -> ir.Value:
        """Bring a forward value into pair form, to broadcast against a value laid out ``like``."""
        axes, value = self.added(layout, side, like), self.wide(value)
        return self.op.Unsqueeze(value, axes) if axes else value

    def wide(self, value: ir.Value) -> ir.Value:
        """Return a forward value as derivatives read it: as `_WIDER` says, masked rows as 0."""
        wider = _WIDER.get(value.dtype)
        if wider is None and value not in self.masked:
            return value
        if value not in self._read:
            read = value if wider is None else self.op.Cast(value, to=wider)
            if value in self.masked:
                read = self.op.Where(self.op.IsNaN(read), 0.0, read)
            self._read[value] = read
        return self._read[value]

    def added(self, layout: Layout, side: Side, like: Layout) -> list[int]:
        """Places of the axes `pair` adds to a value."""
        if not self.extra or like.batch is None:
            return []
        if layout.batch is None:  # constant over the batch: make room for the lead axes
            batch = len(layout.dims) - (len(like.dims) - like.batch)
            return list(range(batch, batch + self.extra)) if batch > 0 else []
        own = list(self.sizes).index("explicands" if side == "explicand" else "references")
        before = own if layout.batch else 0
        after = self.extra - own
        first = layout.batch
        return [
            *range(first, first + before),
            *range(first + before + 1, first + before + 1 + after),
        ]

    def lead(self, spread: bool) -> list[ir.Value | int]:
        """Sizes of the lead axes; 1 for references a cotangent is not spread over yet."""
        return [1 if k == "references" and not spread else size for k, size in self.sizes.items()]

    def flatten(self, value: ir.Value, layout: Layout, own: ir.Value | None = None) -> ir.Value:
        """Pair form to flat form. ``own``: a forward value to read unknown sizes from."""
        if not self.extra or layout.batch is None:
            return value
        flat = self.op.Reshape(value, self.shape(layout, [-1], own))
        if value in self._scaled:
            operand, factor = self._scaled[value]
            self._scaled[flat] = self.op.Reshape(operand, self.shape(layout, [-1], own)), factor
        return flat

    def scale(self, value: ir.Value, factor: ir.Value) -> ir.Value:
        """Multiply by a constant factor of channels [C, 1, ...], and remember it."""
        scaled = self.op.Mul(value, factor)
        self._scaled[scaled] = value, factor
        return scaled

    def unscaled(self, value: ir.Value) -> tuple[ir.Value, ir.Value | None]:
        """What a value is `scale`d from and by; itself and None where it is not."""
        return self._scaled.get(value, (value, None))

    def repeat(self, value: ir.Value, layout: Layout, own: ir.Value, flat: bool) -> ir.Value:
        """Repeat a value along own axes that it has size 1 in, and remember what it was."""
        lead = [1] * (1 if flat else max(1, len(self.sizes)))
        repeated = self.op.Expand(value, self.shape(layout, lead, own))
        self._once[repeated] = value
        return repeated

    def once(self, value: ir.Value) -> ir.Value:
        """What a value is `repeat`ed from; itself where it is not. For adding to a full value."""
        return self._once.get(value, value)

    def unflatten(
        self, value: ir.Value, layout: Layout, spread: bool, own: ir.Value | None = None
    ) -> ir.Value:
        """Flat form to pair form."""
        if not self.extra or layout.batch is None:
            return value
        return self.op.Reshape(value, self.shape(layout, self.lead(spread), own))

    def spread(self, value: ir.Value, layout: Layout) -> ir.Value:
        """Expand a pair-form value over all lead axes, copying."""
        if not self.sizes or layout.batch is None:
            return value
        ones = [1] * (len(layout.dims) - layout.batch - 1)
        return self.op.Expand(value, self._vector([*self.lead(True), *ones]))

    def shape(
        self, layout: Layout, lead: Sequence[ir.Value | int], own: ir.Value | None = None
    ) -> ir.Value | list[int]:
        """Shape of a value whose batch axis is replaced by ``lead``; read from ``own`` at need."""
        parts: list[ir.Value | int] = []
        for k, dim in enumerate(layout.dims):
            if k == layout.batch:
                parts += lead
            elif dim is not None:
                parts.append(dim)
            elif own is None:
                raise AssertionError("an unknown size needs the value to read it from")
            else:
                parts.append(self.op.Shape(own, start=k, end=k + 1))
        return self._vector(parts)

    def _vector(self, parts: list[ir.Value | int]) -> ir.Value | list[int]:
        """A 1-D int64 tensor of run-time and known sizes; a plain list where all are known."""
        runs: list[ir.Value | list[int]] = []
        for part in parts:
            if isinstance(part, ir.Value):
                runs.append(part)
            elif runs and isinstance(runs[-1], list):
                runs[-1].append(part)
            else:
                runs.append([part])
        if all(isinstance(run, list) for run in runs):
            return [size for run in runs if isinstance(run, list) for size in run]
        return runs[0] if len(runs) == 1 else self.op.Concat(*runs, axis=0)
