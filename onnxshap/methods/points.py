"""Run the model at other points than the samples, and differentiate there.

A second copy of the forward nodes runs on all points of all pairs as one batch: N explicands, or
N x M pairs, times S steps. What comes back is summed over the steps by their weights.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.engine import Path
from onnxshap.autodiff.lift import Lead, Lift
from onnxshap.autodiff.registry import vjp
from onnxshap.errors import InputError
from onnxshap.graph.dependence import ancestors
from onnxshap.methods.draft import Draft


class Points:
    """The points of one draft: axes explicands x references (if there are any) x steps."""

    def __init__(self, draft: Draft, weights: np.ndarray) -> None:
        self.draft, self.op = draft, draft.op
        self._weight = draft.add_steps(weights)
        sizes: dict[Lead, ir.Value] = {k: v for k, v in draft.lift.sizes.items() if k != "targets"}
        if sizes:
            sizes["steps"] = self.op.Shape(self._weight, start=0, end=1)
        self._grid = Lift(self.op, draft.layouts, sizes)

    # --- values over the points' axes ------------------------------------------------------------

    def explicand(self, value: ir.Value, like: ir.Value | None = None) -> ir.Value:
        """An explicand's value, laid out ``like`` another: the same at every reference and step."""
        layout = self.draft.layouts[like or value]
        return self._grid.pair(value, layout, "explicand", layout)

    def reference(self, value: ir.Value) -> ir.Value:
        """Its reference's value, the same at every explicand and step."""
        layout = self.draft.layouts[value]
        return self._grid.pair(self.draft.counterparts[value], layout, "reference", layout)

    def positions(self, filled: ir.Value, value: ir.Value) -> ir.Value:
        """Lay [S, M] or [S, 1], a number for each step, out to broadcast against ``value``."""
        layout = self.draft.layouts[value]
        filled = self._as(layout.number, filled)
        if layout.batch is None:  # one point at a time
            return self.op.Squeeze(filled, [0, 1])
        after = len(layout.dims) - layout.batch - 1
        return self.op.Unsqueeze(self.op.Transpose(filled, perm=[1, 0]), list(range(2, 2 + after)))

    def displacements(self, filled: ir.Value, value: ir.Value) -> ir.Value:
        """Lay [S, *sample], an array for each step, out to broadcast against ``value``."""
        layout, axis = self.draft.layouts[value], self.draft.layouts.batch_axis(value)
        if layout.batch is None:  # one point at a time
            one = self.op.Squeeze(filled, [0])
            return self.op.Unsqueeze(one, [axis]) if axis and self.draft.batched else one
        if not axis:
            return filled
        order = [*range(1, 1 + axis), 0, *range(1 + axis, len(layout.dims))]
        return self.op.Unsqueeze(self.op.Transpose(filled, perm=order), [axis])

    # --- gradients at the points -----------------------------------------------------------------

    def gradients(self, place: Callable[[ir.Value], ir.Value]) -> dict[ir.Value, ir.Value]:
        """Weighted sum over the steps of the gradient at ``place(value)``; pair form of the draft.

        ``place`` is asked for every source, and for inputs whose references differ; other inputs
        keep the explicand's value.

        Raises
        ------
        InputError
            If one source is computed from another.
        UnsupportedOpError
            Naming every node on the path without a vjp rule.
        """
        draft, op = self.draft, self.op
        if draft.overlapping:
            raise InputError(
                f"method {draft.method!r} moves every explained value by itself, so none may be "
                f"computed from another: explain {', '.join(str(s.name) for s in draft.sources)} "
                "one at a time"
            )
        opsets = dict(draft.graph.opset_imports)
        path = Path(draft.graph, opsets, vjp, draft.sources, draft.target)
        path.require_rules(draft.layouts)  # here, so that errors name the model's own nodes
        needed = ancestors(draft.graph, [draft.target])
        varying = [v for v in draft.model_inputs if v in draft.references]
        moved = [v for v in (*draft.sources, *varying) if v in needed]
        with op.scope("points", side="points"):
            copies = {v: self._flat(place(v), v) for v in dict.fromkeys(moved)}
            for value in draft.model_inputs:
                if value not in copies and self._grid.sizes:
                    copies[value] = self._flat(self.explicand(value), value)
        for value, point in copies.items():
            draft.layouts.alias(point, value)
        draft.copy(copies, "points")
        if draft.target not in copies:
            return {}
        with op.scope("seed", side="seed"):
            seed, lift = self._seed(), self._over_points()
        sources = [copies[s] for s in draft.sources if s in needed]
        found = draft.differentiate(vjp, lift, sources, copies[draft.target], seed, {})
        with op.scope("points/sum", side="backward"):
            return {s: self._summed(found[p], s) for s, p in copies.items() if p in found}

    def _flat(self, value: ir.Value, like: ir.Value) -> ir.Value:
        """Points' axes -> one batch of points, in the dtype the model takes."""
        layout = self.draft.layouts[like]
        value = self._as(layout.dtype, value)
        return self._grid.flatten(self._grid.spread(value, layout), layout, like)

    def _over_points(self) -> Lift:
        """Targets x points: the explicands of the second forward run are the points."""
        sizes: dict[Lead, ir.Value] = {}
        if self._grid.sizes:
            sizes["targets"] = self.draft.lift.sizes["targets"]
            sizes["explicands"] = self.op.ReduceProd(
                self.op.Concat(*self._grid.sizes.values(), axis=0), [0], keepdims=1
            )
        return Lift(self.op, self.draft.layouts, sizes)

    def _seed(self) -> ir.Value:
        """[K, N, *output] -> [K, P, *output], the same at all points."""
        op, seed, layout = self.op, self.draft.seed, self.draft.layouts[self.draft.target]
        if not self._grid.sizes:
            return seed
        rank = len(layout.dims) - 1
        seed = op.Unsqueeze(seed, list(range(2, 1 + len(self._grid.sizes))))
        every = [*self.draft.lift.sizes.values(), self._grid.sizes["steps"]]
        ones = [[1] * rank] if rank else []
        flat = [self.draft.lift.sizes["targets"], [-1]]
        tail = [op.Shape(self.draft.seed, start=2)] if rank else []
        spread = op.Expand(seed, op.Concat(*every, *ones, axis=0))
        return op.Reshape(spread, op.Concat(*flat, *tail, axis=0))

    def _summed(self, gradient: ir.Value, source: ir.Value) -> ir.Value:
        """Targets x points -> pair form of the draft: the weighted sum over the steps.

        Weighed here, not in the seed: a weight of 1 / S there would make small what is cut off
        where the model's own numbers are narrow.
        """
        op, layout = self.op, self.draft.layouts[source]
        weight = self._as(layout.number, self._weight)
        if layout.batch is None:
            return op.Mul(gradient, op.Squeeze(weight, [0]))
        lead = [*self.draft.lift.lead(True), self._grid.sizes["steps"]]
        apart = op.Reshape(gradient, self._grid.shape(layout, lead, source))
        after = len(layout.dims) - layout.batch - 1
        weighed = op.Mul(apart, op.Unsqueeze(weight, list(range(1, 1 + after))))
        return op.ReduceSum(weighed, [layout.batch + len(lead) - 1], keepdims=0)

    def _as(self, dtype: ir.DataType, value: ir.Value) -> ir.Value:
        return value if value.dtype == dtype else self.op.Cast(value, to=dtype)
