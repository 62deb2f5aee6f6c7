"""Keep the batch axis to itself where a model merges it with others for a while.

Exporters write attention as ``[N, heads, T, d] -> [N heads, T, d] -> MatMul, Transpose, Softmax ->
[N, heads, ...]``: while they are merged, samples seem to mix. What lies between the two Reshapes is
written once more with the merged axis in its parts. The second Reshape then reads that: the same
numbers in the same order, so it stays as it is.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxshap.graph.constants import initializer
from onnxshap.graph.inference import Known

_ELEMENTWISE = {"Add", "Cast", "Clip", "Div", "Dropout", "Elu", "Erf", "Exp", "Gelu", "Identity"}
_ELEMENTWISE |= {"LeakyRelu", "Mul", "Neg", "Pow", "Relu", "Sigmoid", "Sqrt", "Sub", "Tanh"}
_ALONG_AXIS = {"Hardmax", "LogSoftmax", "Softmax"}

Sizes = tuple[int | None, ...]


@dataclass(frozen=True)
class _Twin:
    """A value whose ``axis`` is merged, and the same numbers with that axis in ``parts``."""

    value: ir.Value
    axis: int
    parts: tuple[int, ...]
    """Their sizes; -1 for the batch."""
    rank: int
    """Of the merged value."""

    def place(self, axis: int) -> int:
        """Where another axis of the merged value is in the twin."""
        return axis + (len(self.parts) - 1 if axis > self.axis else 0)


def keep_apart(
    graph: ir.Graph,
    probes: Sequence[Mapping[ir.Value, Known]],
    batches: Sequence[int],
    kept: Collection[ir.Value] = (),
) -> bool:
    """Rewrite ``graph`` in place; whether anything was merged for a while.

    ``probes``: what inference found at each of the sizes ``batches``. ``kept``: values that are
    asked for, which nothing may be led around.
    """
    return _Pass(graph, probes, batches, set(kept)).run()


@dataclass
class _Pass:
    graph: ir.Graph
    probes: Sequence[Mapping[ir.Value, Known]]
    batches: Sequence[int]
    kept: set[ir.Value]
    twins: dict[ir.Value, _Twin] = field(default_factory=dict)
    waiting: set[ir.Node] = field(default_factory=set)
    """Nodes written once more, that nothing in the graph reads yet."""
    shapes: list[ir.Value] = field(default_factory=list)
    sizes: dict[ir.Value, list[Sizes]] = field(default_factory=dict)
    """Of the twins' values, at each batch."""

    def run(self) -> bool:
        changed = False
        for node in list(self.graph):
            source = node.inputs[0] if node.inputs else None
            if node.domain or source is None or len(node.outputs) != 1:
                continue
            if node.op_type == "Reshape" and source in self.twins:
                twin = self.twins[source].value
                self._insert(twin, node)
                node.replace_input_with(0, twin)
                changed = True
                self._merge(node, twin)
            elif node.outputs[0] not in self.kept:
                self._follow(node, source)
        self._tidy()
        return changed

    def _follow(self, node: ir.Node, source: ir.Value) -> None:
        if node.op_type in ("Flatten", "Reshape"):
            self._merge(node, source)
        elif node.op_type == "MatMul":
            self._product(node)
        elif node.op_type == "Gemm" and source in self.twins:
            self._affine(node, self.twins[source])
        elif node.op_type == "Transpose" and source in self.twins:
            self._transpose(node, self.twins[source])
        elif node.op_type in _ALONG_AXIS and source in self.twins:
            twin = self.twins[source]
            axis = node.attributes.get_int("axis", -1) % twin.rank
            if axis != twin.axis:
                self._again(node, [twin.value], twin, axis=twin.place(axis))
        elif node.op_type in _ELEMENTWISE:
            self._elementwise(node)

    def _merge(self, node: ir.Node, source: ir.Value) -> None:
        """Find the parts of an axis that a reshape makes of the batch and its neighbours."""
        before, after = self._sizes(source), self._sizes(node.outputs[0])
        if before is None or after is None:
            return
        own, merged = _moving(before), _moving(after)
        if own is None or merged is None or [d[own] for d in before] != list(self.batches):
            return
        times, rest = divmod(after[0][merged] or 0, self.batches[0])
        ahead = math.prod(d or 0 for d in before[0][:own])
        outer, odd = divmod(ahead, max(1, math.prod(d or 0 for d in after[0][:merged])))
        if (
            times < 2
            or rest
            or odd
            or times % max(1, outer)
            or 0 in after[0]
            or node.outputs[0] in self.kept
        ):
            return
        parts = tuple(p for p in (outer, -1, times // outer) if p != 1)
        sizes = [*after[0][:merged], *parts, *after[0][merged + 1 :]]
        name = f"{node.name}/parts"
        shape = initializer(self.graph, name, np.array(sizes, np.int64))
        self.shapes.append(shape)
        twin = _Twin(node.outputs[0], merged, parts, len(after[0]))
        value = self._emit("Reshape", [source, shape], {}, f"{node.name}/apart")
        self._pair_up(node.outputs[0], value, twin)

    def _product(self, node: ir.Node) -> None:
        """Both factors in parts, or one of them and a constant matrix."""
        twins = [self.twins.get(v) for v in node.inputs if v is not None]
        found = [t for t in twins if t is not None]
        if not found or len({(t.axis, t.parts, t.rank) for t in found}) > 1:
            return
        first = found[0]
        if len(found) == 2:
            if first.axis < first.rank - 2:
                self._again(node, [t.value for t in found], first)
        elif twins[0] is not None and first.axis < first.rank - 1:
            other = node.inputs[1]
            if other is not None and self._fixed_rank(other) == 2:
                self._again(node, [first.value, other], first)

    def _affine(self, node: ir.Node, twin: _Twin) -> None:
        """A Gemm of merged rows and constants: as a MatMul and an Add, which take any rank."""
        own = {"alpha": 1.0, "beta": 1.0, "transA": 0}
        if any(node.attributes[k].value != v for k, v in own.items() if k in node.attributes):
            return
        matrix, *bias = [v for v in node.inputs[1:] if v is not None]
        if (
            twin.axis
            or self._fixed_rank(matrix) != 2
            or any(self._fixed_rank(v) != 1 for v in bias)
        ):
            return
        if node.attributes.get_int("transB", 0):
            matrix = self._emit("Transpose", [matrix], {"perm": [1, 0]}, f"{node.name}/turned")
        value = self._emit("MatMul", [twin.value, matrix], {}, f"{node.name}/product")
        for shift in bias:
            value = self._emit("Add", [value, shift], {}, f"{node.name}/apart")
        self._pair_up(node.outputs[0], value, twin)

    def _transpose(self, node: ir.Node, twin: _Twin) -> None:
        perm = list(node.attributes.get_ints("perm", list(reversed(range(twin.rank)))))
        whole = [twin.axis + k for k in range(len(twin.parts))]
        order = [p for axis in perm for p in (whole if axis == twin.axis else [twin.place(axis)])]
        at = _Twin(twin.value, perm.index(twin.axis), twin.parts, twin.rank)
        self._again(node, [twin.value], at, perm=order)

    def _elementwise(self, node: ir.Node) -> None:
        """Operands in the same parts, and constants that do not reach up to them."""
        found = [self.twins[v] for v in node.inputs if v in self.twins]
        if not found or len({(t.axis, t.parts, t.rank) for t in found}) > 1:
            return
        behind = found[0].rank - found[0].axis - 1
        for value in node.inputs:
            if value is None or value in self.twins:
                continue
            sizes = self._sizes(value)
            if sizes is None or any(d != 1 for s in sizes for d in s[: max(0, len(s) - behind)]):
                return
        values = [self.twins[v].value if v in self.twins else v for v in node.inputs]
        self._again(node, values, found[0])

    def _again(
        self, node: ir.Node, inputs: Sequence[ir.Value | None], like: _Twin, **changed: Any
    ) -> None:
        """Write ``node`` once more on ``inputs``; its output is laid out ``like`` a twin."""
        attributes = {name: a.value for name, a in node.attributes.items()} | changed
        value = self._emit(node.op_type, inputs, attributes, f"{node.name}/apart")
        self._pair_up(node.outputs[0], value, like)

    def _emit(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        name: str,
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes, name=name)
        node.outputs[0].name = name
        self.waiting.add(node)
        return node.outputs[0]

    def _pair_up(self, own: ir.Value, value: ir.Value, like: _Twin) -> None:
        """Note that ``value`` has the numbers of ``own``, laid out ``like`` a twin."""
        value.type = own.type
        self.twins[own] = _Twin(value, like.axis, like.parts, like.rank)
        self.sizes[value] = [
            (*s[: like.axis], *(n if p == -1 else p for p in like.parts), *s[like.axis + 1 :])
            for s, n in zip(self._sizes(own) or (), self.batches, strict=True)
        ]

    def _insert(self, value: ir.Value, before: ir.Node) -> None:
        """Put what ``value`` is computed from in front of the node that reads it."""
        stack = [value.producer()]
        while stack:
            node = stack[-1]
            if node is None or node not in self.waiting:
                stack.pop()
            elif needed := [p for p in node.predecessors() if p in self.waiting]:
                stack.append(needed[0])
            else:
                self.waiting.discard(node)
                self.graph.insert_before(before, node)

    def _tidy(self) -> None:
        """Remove merged nodes that nothing reads any more, and what came of no use."""
        for node in self.waiting:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
        for node in reversed(list(self.graph)):
            own = node.outputs[0] if node.outputs else None
            if own is None or own not in self.twins or own.uses():
                continue
            if own not in self.kept and not own.is_graph_output():
                self.graph.remove(node, safe=True)
        for shape in self.shapes:
            if not shape.uses():
                del self.graph.initializers[str(shape.name)]

    def _sizes(self, value: ir.Value) -> list[Sizes] | None:
        if value in self.sizes:
            return self.sizes[value]
        found = [probe[value].dims if value in probe else None for probe in self.probes]
        return None if any(dims is None for dims in found) else [d for d in found if d is not None]

    def _fixed_rank(self, value: ir.Value) -> int | None:
        """Rank of a value whose sizes do not depend on the batch; None for others."""
        sizes = self._sizes(value)
        return len(sizes[0]) if sizes is not None and len(set(sizes)) == 1 else None


def _moving(sizes: Sequence[Sizes]) -> int | None:
    """The one axis whose size changes with the batch; None if there are none or several."""
    if len({len(s) for s in sizes}) > 1 or any(d is None for s in sizes for d in s):
        return None
    moving = [k for k, found in enumerate(zip(*sizes, strict=True)) if len(set(found)) > 1]
    return moving[0] if len(moving) == 1 else None
