"""What a rule sees: its node, both sides of the comparison, and a builder to emit with."""

import math
from dataclasses import replace
from typing import Any, Self

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.lift import Lift, Side
from onnxshap.autodiff.registry import Cotangents, Form, RuleSet
from onnxshap.errors import UnknownShapeError
from onnxshap.graph.batch import Layout
from onnxshap.graph.builder import Builder


class Context:
    """One node, as a rule sees it.

    Values come in the rule's `Form`; sizes and axes of `dims` are always the operator's own.
    """

    def __init__(
        self,
        node: ir.Node,
        form: Form,
        lift: Lift,
        references: dict[ir.Value, ir.Value],
        active: set[ir.Value],
        sources: set[ir.Value],
        spread: bool = False,
    ) -> None:
        self.node, self.form, self.lift = node, form, lift
        self._references, self._active, self._sources = references, active, sources
        self.is_spread = spread
        """Whether what flows back differs, or from here on may differ, between references."""
        self.root: ir.Value | None = None
        """The value that the node's first input, a condition, is credited to; see `unary.roots`."""

    @classmethod
    def beside(cls, ctx: "Context") -> Self:
        """Return this kind of view of another context's node."""
        view = ctx.node, ctx.form, ctx.lift, ctx._references, ctx._active, ctx._sources
        return cls(*view, ctx.is_spread)

    def by(self, rules: RuleSet, *cotangents: ir.Value) -> Cotangents:
        """Return what the node's rule in another set makes of this view: rules made of rules."""
        graph = self.node.graph
        rule = rules.find(self.node, dict(graph.opset_imports) if graph else {})
        assert rule is not None, f"{self.node.op_type} has no {rules.name} rule"
        assert rule.form == self.form, f"{self.node.op_type}: {rule.form} is not {self.form}"
        return rule.function(self, *cotangents)

    @property
    def op(self) -> Builder:
        """The builder: ``ctx.op.Mul(a, b)`` appends a Mul."""
        return self.lift.op

    # --- the node ---------------------------------------------------------------------------

    def attr(self, name: str, default: Any = None) -> Any:
        """Value of an attribute: int, float, str, or a list of them."""
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def has(self, i: int) -> bool:
        """Whether the node has its (optional) input ``i``."""
        return i < len(self.node.inputs) and self.node.inputs[i] is not None

    def needs(self, i: int) -> bool:
        """Whether a cotangent for input ``i`` is wanted: ask before costly work."""
        return self.has(i) and self.node.inputs[i] in self._active

    def explained(self, i: int) -> bool:
        """Whether input ``i`` is itself one of the values that are explained."""
        return self.input(i) in self._sources

    def varies(self, i: int) -> bool:
        """Whether input ``i`` can differ between explicand and reference."""
        return self.has(i) and self.node.inputs[i] in self._references

    def layout(self, i: int = 0) -> Layout:
        """Dtype in the rule's hands, sizes and batch axis of input ``i``."""
        return self._layout(self.input(i))

    def output_layout(self, i: int = 0) -> Layout:
        """Dtype in the rule's hands, sizes and batch axis of output ``i``."""
        return self._layout(self.node.outputs[i])

    def dims(self, i: int = 0) -> tuple[int | None, ...]:
        """Own sizes of input ``i``; None for the batch and for unknown sizes."""
        return self.layout(i).dims

    def output_dims(self, i: int = 0) -> tuple[int | None, ...]:
        """Own sizes of output ``i``."""
        return self.output_layout(i).dims

    def known_dims(self, axes: list[int], i: int = 0) -> list[int]:
        """Sizes of input ``i`` along ``axes``, which the rule cannot do without."""
        sizes = [self.dims(i)[a] for a in axes]
        if any(s is None for s in sizes):
            raise UnknownShapeError(
                f'{self.node.op_type} "{self.node.name}": the sizes of axes {axes} of '
                f'"{self.input(i).name}" must be known. Fix them in the model\'s inputs.'
            )
        return [s for s in sizes if s is not None]

    def constant(self, i: int) -> np.ndarray | None:
        """Contents of input ``i`` where they are known before the run; None otherwise."""
        return self.layout(i).value if self.has(i) else None

    def require(self, i: int, what: str) -> np.ndarray:
        """Contents of input ``i``, or an error that says the rule needs them constant."""
        found = self.constant(i)
        if found is None:
            raise UnknownShapeError(
                f'{self.node.op_type} "{self.node.name}": its {what} ("{self.input(i).name}") '
                "must be a constant. Run a constant-folding pass on the model first."
            )
        return found

    def input(self, i: int) -> ir.Value:
        """Input ``i`` as it stands in the model, to read sizes from; `own` to compute with."""
        value = self.node.inputs[i]
        assert value is not None, f"{self.node.op_type} has no input {i}"
        return value

    # --- both sides, in the rule's form --------------------------------------------------------

    def x(self, i: int = 0) -> ir.Value:
        """Explicand's input ``i``."""
        return self._lifted(self.input(i), "explicand")

    def y(self, i: int = 0) -> ir.Value:
        """Explicand's output ``i``."""
        return self._lifted(self.node.outputs[i], "explicand")

    def r(self, i: int = 0) -> ir.Value:
        """Reference's input ``i``; the explicand's where the two cannot differ."""
        return self._reference(self.input(i))

    def y_ref(self, i: int = 0) -> ir.Value:
        """Reference's output ``i``."""
        return self._reference(self.node.outputs[i])

    def root_delta(self) -> ir.Value:
        """Explicand minus reference of the root, which a Where has, see `root`."""
        assert self.root is not None
        return self.op.Sub(self._lifted(self.root, "explicand"), self._reference(self.root))

    def own(self, i: int = 0) -> ir.Value:
        """Explicand's input ``i`` on its own batch."""
        return self.lift.wide(self.input(i))

    def counterpart(self, i: int = 0) -> ir.Value:
        """Reference's input ``i`` on its own batch."""
        value = self.input(i)
        return self.lift.wide(self._references.get(value, value))

    def delta(self, i: int = 0) -> ir.Value:
        """Explicand minus reference at input ``i``."""
        return self.op.Sub(self.x(i), self.r(i))

    def pair(self, value: ir.Value, like: ir.Value | Layout, side: Side = "explicand") -> ir.Value:
        """Bring a value computed from forward values into pair form; it is laid out ``like``."""
        self.is_spread |= side == "reference"
        layout = self._layout(like)
        return self.lift.pair(value, layout, side, layout)

    def flatten(self, value: ir.Value, like: ir.Value | Layout) -> ir.Value:
        """Pair form to flat form, for a value laid out ``like`` a value of the model."""
        own = like if isinstance(like, ir.Value) else None
        return self.lift.flatten(value, self._layout(like), own)

    def unflatten(self, value: ir.Value, like: ir.Value | Layout) -> ir.Value:
        """Flat form to pair form."""
        own = like if isinstance(like, ir.Value) else None
        return self.lift.unflatten(value, self._layout(like), self.is_spread, own)

    def spread(self, value: ir.Value, like: ir.Value | Layout) -> ir.Value:
        """Expand a pair-form value over all pairs, where an operator must see each of them."""
        self.is_spread |= "references" in self.lift.sizes
        return self.lift.spread(value, self._layout(like))

    def repeat(self, value: ir.Value) -> ir.Value:
        """Repeat along input 0's own axes what has size 1 there; in the rule's form."""
        return self.lift.repeat(value, self.layout(), self.input(0), self.form == "flat")

    def _layout(self, like: ir.Value | Layout) -> Layout:
        if not isinstance(like, ir.Value):
            return like
        layout = self.lift.layouts[like]
        return replace(layout, dtype=layout.number)

    def axis(self, axis: int, i: int = 0) -> int:
        """Place of input ``i``'s own ``axis`` in the rule's form, counted from the end."""
        if self.form == "flat":
            rank = len(self.dims(i))
            return axis % max(1, rank) - rank
        return self.lift.axis(axis, self.layout(i))

    def rank(self, i: int = 0) -> int:
        """Rank of ``x(i)`` in the rule's form."""
        layout = self.layout(i)
        if self.form == "flat":
            return len(layout.dims)
        return len(layout.dims) + len(self.lift.added(layout, "explicand", self._widest()))

    def axes(self, axes: list[int], i: int = 0) -> list[int]:
        """Places of several own axes of input ``i`` in the rule's form."""
        return [self.axis(a, i) for a in axes]

    def count(self, axes: list[int], i: int = 0) -> ir.Value | float:
        """Number of elements of input ``i`` along its own ``axes``."""
        dims = self.dims(i)
        sizes = [dims[a] for a in axes]
        if all(s is not None for s in sizes):
            return float(math.prod(s for s in sizes if s is not None))
        shape = self.op.Shape(self.input(i))
        count = self.op.ReduceProd(self.op.Gather(shape, axes), [0], keepdims=0)
        value: ir.Value = self.op.Cast(count, to=self.layout(i).dtype)
        return value

    def shape(self, i: int = 0) -> ir.Value | list[int]:
        """Flat-form shape of input ``i``: own sizes, -1 for the batch."""
        return self.lift.shape(self.layout(i), [-1], self.input(i))

    def _lifted(self, value: ir.Value, side: Side, real: ir.Value | None = None) -> ir.Value:
        layout = self.lift.layouts[value]
        real = value if real is None else real
        if self.form == "flat":
            if layout.batch is None or not self.lift.sizes:
                return self.lift.wide(real)
            pair = self.lift.pair(real, layout, side, layout)
            return self.flatten(self.spread(pair, value), value)
        return self.lift.pair(real, layout, side, self._widest())

    def _reference(self, value: ir.Value) -> ir.Value:
        counterpart = self._references.get(value)
        if counterpart is None:
            return self._lifted(value, "explicand")
        self.is_spread = True
        return self._lifted(value, "reference", counterpart)

    def _widest(self) -> Layout:
        """Layout that fixes where the lead axes stand among broadcast operands."""
        layouts = [self.lift.layouts[v] for v in (*self.node.inputs, *self.node.outputs) if v]
        batched = [layout for layout in layouts if layout.batch is not None]
        return max(batched or layouts, key=lambda layout: len(layout.dims))


class MidpointContext(Context):
    """A context whose ``x(i)`` is the mean of explicand and reference.

    The gradient of a product at the midpoint of its factors is its two-player Shapley value, so
    bilinear operators reuse their vjp rule unchanged under this context.
    """

    def x(self, i: int = 0) -> ir.Value:
        """Mean of both sides' input ``i``, in the rule's form."""
        if not self.varies(i):
            return super().x(i)
        if self.form != "flat":
            return self.op.Mul(self.op.Add(super().x(i), self.r(i)), 0.5)
        value, layout = self.input(i), self.layout(i)
        sides = (
            self.lift.pair(value, layout, "explicand", layout),
            self.lift.pair(self._references[value], layout, "reference", layout),
        )
        return self.flatten(self.spread(self.op.Mul(self.op.Add(*sides), 0.5), value), value)

    def y(self, i: int = 0) -> ir.Value:
        """Output ``i`` of the operator run on the midpoints."""
        inputs = [self.x(k) if self.has(k) else None for k in range(len(self.node.inputs))]
        attributes = {name: a.value for name, a in self.node.attributes.items()}
        count = len(self.node.outputs)
        outputs = self.lift.op.several(self.node.op_type, *inputs, outputs=count, **attributes)
        return outputs[i]


class ReferenceContext(Context):
    """A context that knows the reference side alone: there a vjp rule gives its derivative."""

    def x(self, i: int = 0) -> ir.Value:
        """Reference's input ``i``."""
        return self.r(i)

    def y(self, i: int = 0) -> ir.Value:
        """Reference's output ``i``."""
        return self.y_ref(i)
