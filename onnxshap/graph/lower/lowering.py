"""One sweep through a graph that rewrites nodes in place, and what a rewrite may ask and emit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from onnxshap.errors import UnknownShapeError, UnsupportedOpError
from onnxshap.graph.batch import steady_sizes
from onnxshap.graph.builder import Builder
from onnxshap.graph.dependence import QUANTISED, ancestors, node_inputs, rebound
from onnxshap.graph.inference import SMALL, Known, draws
from onnxshap.graph.shapes import declared, infer_node

LIMIT = 10_000
"""Nodes one operator may become. Each takes some milliseconds to build and to compile."""

Rewrite = Callable[["Lowering", ir.Node], Sequence[ir.Value | None] | None]
"""Emits what stands for a node; returns a value for each of its outputs, None where not asked.

None in place of all of them leaves the node as it is.
"""


@dataclass(frozen=True)
class Pair:
    """What quantised steps stand for: their scale, and themselves as a number."""

    scale: ir.Value
    number: ir.Value


class Lowering:
    """A sweep over the nodes between ``sources`` and ``target``; without a target, over all.

    Over all, a node that cannot be written out stays: it matters only where it is explained.
    """

    def __init__(
        self,
        graph: ir.Graph,
        rewrites: Mapping[str, Rewrite],
        sources: Iterable[ir.Value],
        target: ir.Value | None = None,
    ) -> None:
        self.graph, self._rewrites, self._target = graph, rewrites, target
        self._sources = set(sources)
        self._reached = set(self._sources)
        self.op = Emitter(graph, self._reached)
        self._known: dict[ir.Value, Known] = {}
        self._constants: dict[ir.Value, ir.Value] = {}
        self._slices: dict[tuple[ir.Value, int], list[ir.Value]] = {}
        self._clones: dict[tuple[object, ...], list[ir.Value]] = {}
        self._steady: dict[ir.Value, tuple[int | None, ...] | None] = {}
        self._needed: set[ir.Value] | None = None
        self._budget, self._name = 0, ""
        self._replaced: dict[ir.Value, ir.Value] = {}
        self.pairs: dict[ir.Value, Pair] = {}
        """Tensors quantised by a range of their own, for what is multiplied by the scale again."""

    def run(self) -> dict[ir.Value, ir.Value]:
        """Rewrite in place; returns what stands for each output that was replaced."""
        target = self._target
        needed = self._needed = None if target is None else ancestors(self.graph, [target])
        for node in list(self.graph):
            if node.graph is None:  # another's rewrite stands in for it
                continue
            reached = self._look_at(node)
            chosen = needed is None or (reached and any(o in needed for o in node.outputs))
            if not chosen or operator(node) not in self._rewrites:
                continue
            self._budget, self._name = LIMIT, f'{node.op_type} "{node.name}"'
            name = node.name or node.op_type
            with self.op.scope(name, written_out=operator(node), of=name):
                try:
                    found = self._rewrite(node)
                except (UnknownShapeError, UnsupportedOpError):
                    if needed is not None:
                        raise
                    self.graph.remove(self.op.take())
                else:
                    self._place(node, found)
        return self._replaced

    # --- what a rewrite asks ----------------------------------------------------------------

    def known(self, value: ir.Value | None) -> Known:
        """Dtype, sizes and, where small and constant, contents of a value."""
        if value is None:
            return Known()
        waiting = [value]
        while waiting:
            last = waiting[-1]
            node = last.producer()
            if last in self._known or node is None:
                self._known.setdefault(last, declared(last, {}))
                waiting.pop()
                continue
            missing = [v for v in node.inputs if v is not None and v not in self._known]
            if missing:
                waiting += missing
            else:
                self._learn(node)
        return self._known[value]

    def dims(self, value: ir.Value | None) -> tuple[int | None, ...]:
        """Sizes of a value whose rank must be known."""
        found = self.known(value).dims
        if found is None:
            found = self._try(value)
        if found is None:
            raise UnknownShapeError(
                f'{self._name}: the rank of "{value and value.name}" cannot be inferred. Give the '
                "model's inputs definite ranks."
            )
        return found

    def steady(self, value: ir.Value | None) -> tuple[int | None, ...] | None:
        """Sizes of a value as far as they are the same for every batch; None without a rank."""
        dims = self.known(value).dims
        return self._try(value) if dims is None or None in dims else dims

    def size(self, value: ir.Value | None, axis: int, what: str) -> int:
        """Size of a value along an axis, without which the node cannot be written out."""
        found = self.dims(value)[axis]
        if found is None:
            found = (self._try(value) or self.dims(value))[axis]
        if found is None:
            raise UnsupportedOpError(
                f'{self._name} cannot be written out: its {what}, axis {axis} of "'
                f"{value and value.name}\", is not known. Fix the sizes of the model's inputs, "
                "e.g. with onnxruntime.tools.make_dynamic_shape_fixed."
            )
        return found

    def spend(self, nodes: int, steps: int) -> None:
        """Count what is about to be emitted; refuse what would become too large."""
        self._budget -= nodes
        if self._budget < 0:
            raise UnsupportedOpError(
                f"{self._name} would become more than {LIMIT} nodes in {steps} steps. Explain "
                "shorter sequences, or a part of the model behind it (inputs=)."
            )

    def refuse(self, why: str) -> UnsupportedOpError:
        """Return the error that says why the node cannot be written out."""
        return UnsupportedOpError(f"{self._name} cannot be written out: {why}")

    def asked(self, value: ir.Value) -> bool:
        """Whether a value is what is explained or the target, and so must stay itself."""
        return value is self._target or value in self._sources

    def is_quantised(self, value: ir.Value | None) -> bool:
        """Whether a value is of whole numbers that stand for floats."""
        return self.known(value).dtype in QUANTISED

    def needs(self, value: ir.Value) -> bool:
        """Whether the target depends on a value of the graph as it was."""
        return self._needed is None or value in self._needed

    def wanted(self, node: ir.Node, index: int) -> bool:
        """Whether anything reads output ``index`` of ``node``."""
        if index >= len(node.outputs):
            return False
        output = node.outputs[index]
        return bool(output.uses()) or output.is_graph_output() or output is self._target

    # --- what a rewrite emits -----------------------------------------------------------------

    def slices(self, value: ir.Value, axis: int, count: int) -> list[ir.Value]:
        """``value`` cut along ``axis``, which has size ``count``; the axis is dropped."""
        key = (value, axis)
        if key not in self._slices:
            self.spend(count + 1, count)
            parts = self.split(value, [1] * count, axis)
            self._slices[key] = [self.op.Squeeze(part, [axis]) for part in parts]
        return self._slices[key]

    def split(self, value: ir.Value, sizes: Sequence[int], axis: int) -> list[ir.Value]:
        """``value`` cut into parts of these sizes."""
        if len(sizes) == 1:
            return [value]
        return list(self.op.several("Split", value, list(sizes), outputs=len(sizes), axis=axis))

    def stack(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        """Values side by side on a new axis."""
        rows = [self.op.Unsqueeze(v, [axis]) for v in values]
        return self.concat(rows, axis)

    def concat(self, values: Sequence[ir.Value], axis: int) -> ir.Value:
        """Values end to end."""
        return values[0] if len(values) == 1 else self.op.Concat(*values, axis=axis)

    def inline(self, body: ir.Graph, given: Sequence[ir.Value]) -> list[ir.Value]:
        """Emit the nodes of a subgraph, its inputs being ``given``; returns its outputs."""
        values = dict(zip(body.inputs, given, strict=True))
        for constant in body.initializers.values():
            values[constant] = self._lifted(constant)
        for node in body:
            values |= zip(node.outputs, self._inlined(node, values), strict=True)
        return [values.get(v, v) for v in body.outputs]

    def stand_in(self, node: ir.Node, value: ir.Value) -> None:
        """Put what was emitted, which gives ``value``, in the place of a node further on."""
        self._reached.add(value)
        self._replaced |= self._replace(node, [value])

    def cast_before(self, node: ir.Node, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Cast a value just before a node further on: it may stand behind what is emitted here."""
        name = self.op.fresh(self.op.fresh_name("Cast"))
        cast = ir.node("Cast", [value], {"to": dtype}, name=name)
        cast.outputs[0].name, cast.outputs[0].dtype = name, dtype
        self.graph.insert_before(node, cast)
        return cast.outputs[0]

    # --- the sweep ----------------------------------------------------------------------------

    def _look_at(self, node: ir.Node) -> bool:
        """Learn a node's types, and whether it depends on what is explained."""
        for value in node_inputs(node):
            self.known(value)
        self._learn(node)
        reached = any(v in self._reached and self._carries(v) for v in node_inputs(node))
        if reached:
            self._reached.update(node.outputs)
        return reached

    def _try(self, value: ir.Value | None) -> tuple[int | None, ...] | None:
        """Sizes that follow from shape arithmetic with the batch in it: tried at two batches."""
        if value is None:
            return None
        if value not in self._steady:
            self._steady = steady_sizes(self.graph)
            for each, dims in self._steady.items():
                if each in self._known and dims is not None:
                    self._known[each] = replace(self._known[each], dims=dims)
        return self._steady.get(value)

    def _learn(self, node: ir.Node) -> None:
        for output, found in zip(
            node.outputs, infer_node(node, self._known, self.graph), strict=True
        ):
            known = found if found.dims is not None else declared(output, {})
            if (steady := self._steady.get(output)) is not None:
                known = replace(known, dims=steady)
            self._known[output] = known
            if known.dtype is not None:
                output.dtype = known.dtype

    def _carries(self, value: ir.Value | None) -> bool:
        dtype = self.known(value).dtype
        return dtype is None or dtype.is_floating_point() or dtype in QUANTISED

    def _rewrite(self, node: ir.Node) -> list[ir.Value | None] | None:
        rewritten = self._rewrites[operator(node)](self, node)
        if rewritten is None:
            return None
        found = list(rewritten)
        found += [None] * (len(node.outputs) - len(found))
        # An output without a name is left out.
        found = [v if o.name else None for o, v in zip(node.outputs, found, strict=False)]
        for output, value in zip(node.outputs, found, strict=True):
            if value is not None:
                self._reached.add(value)
                told = self._known[output]  # by ONNX's inference, which knows no vendor's operator
                if told.dtype is not None and told.dims is not None:
                    dtype = value.dtype or told.dtype  # floats may stand for whole numbers
                    self._known.setdefault(value, replace(told, dtype=dtype))
                self._known[output] = self.known(value)
        return found

    def _place(self, node: ir.Node, found: Sequence[ir.Value | None] | None) -> None:
        """Put what was emitted into the graph; where nothing stands for the node, it stays."""
        if found is not None:
            self._replaced |= self._replace(node, found)
            return
        before = self.op.take()
        self.graph.remove(before)
        self.graph.insert_before(node, before)

    def _replace(self, node: ir.Node, found: Sequence[ir.Value | None]) -> dict[ir.Value, ir.Value]:
        """Put what was emitted in the node's place, under the names of its outputs."""
        ends: dict[ir.Value, ir.Value] = {}
        for output, value in zip(node.outputs, found, strict=True):
            if value is None:
                continue
            own = value.producer() in self.op.emitted and value not in ends.values()
            end = value if own else self.op.Identity(value)
            ends[output] = end
            self._known.setdefault(end, self.known(value))
            self._reached.add(end)
        before = self.op.take()
        self.graph.remove(before)
        self.graph.insert_before(node, before)
        for output, end in ends.items():
            name, output.name = output.name, None
            end.name, end.type, end.shape = name, end.type or output.type, output.shape
            output.replace_all_uses_with(end, replace_graph_outputs=True)
        self.graph.remove(node)
        return ends

    def _lifted(self, constant: ir.Value) -> ir.Value:
        """An initializer of a subgraph as one of the graph; once, however often it is inlined."""
        if constant not in self._constants:
            tensor = constant.const_value
            assert tensor is not None
            value = ir.Value(
                name=self.op.fresh(f"{constant.name}"),
                type=constant.type,
                shape=constant.shape,
                const_value=tensor,
            )
            self.graph.register_initializer(value)
            self._constants[constant] = value
        return self._constants[constant]

    def _inlined(self, node: ir.Node, values: Mapping[ir.Value, ir.Value]) -> list[ir.Value]:
        """What stands for a subgraph's node: shared with earlier copies of the same inputs."""
        inputs = [None if v is None else values.get(v, v) for v in node.inputs]
        inner = len(node_inputs(node)) > len(inputs)
        key = (node, *inputs)
        if key in self._clones:
            return self._clones[key]
        picked = self._picked(node, inputs)
        if picked is not None:
            return [picked]
        self.spend(1, 1)
        clone = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            [rebound(a, values) for a in node.attributes.values()],
            num_outputs=len(node.outputs),
            name=self.op.fresh_name(node.op_type),
        )
        for k, output in enumerate(clone.outputs):
            left_out = node.outputs[k].name == ""
            output.name = "" if left_out else f"{clone.name}:{k}" if k else clone.name
        reached = self._look_at(clone)
        found = self._folded(clone)
        if found is None and reached and operator(clone) in self._rewrites:
            parts = self._rewrite(clone)
            if parts is None:
                self.op.append(clone)
                parts = [None] * len(clone.outputs)
            found = [own if v is None else v for own, v in zip(clone.outputs, parts, strict=True)]
        elif found is None:
            self.op.append(clone)
            found = list(clone.outputs)
        if not inner and not draws(node):
            self._clones[key] = found
        return found

    def _folded(self, node: ir.Node) -> list[ir.Value] | None:
        """Small whole numbers that are constant, such as a loop's counter and what it decides."""
        contents = [self._known[o].value for o in node.outputs]
        if not all(c is not None and c.dtype.kind in "ib" and c.size <= SMALL for c in contents):
            return None
        return [self.op.value(c) for c in contents]

    def _picked(self, node: ir.Node, inputs: Sequence[ir.Value | None]) -> ir.Value | None:
        """Row of a Gather at a constant index: steps of a loop share one Split of the sequence."""
        if node.op_type != "Gather" or node.domain or inputs[0] not in self._reached:
            return None
        data, index = inputs[0], self.known(inputs[1]).value
        dims = self.known(data).dims
        if data is None or index is None or index.ndim or not dims:
            return None
        given = node.attributes.get("axis")
        axis = (given.as_int() if given else 0) % len(dims)
        count = dims[axis]
        if count is None or not -count <= index < count:
            return None
        return self.slices(data, axis, count)[int(index)]


class Emitter(Builder):
    """A builder that remembers what it appended, to be moved to where it belongs."""

    def __init__(self, graph: ir.Graph, reached: set[ir.Value]) -> None:
        super().__init__(graph)
        self._reached = reached  # what depends on the explained values; kept up to date here
        self.emitted: dict[ir.Node, None] = {}

    def several(self, op_type: str, *inputs: object, **settings: object) -> tuple[ir.Value, ...]:
        """Append a node and remember it."""
        outputs = super().several(op_type, *inputs, **settings)  # type: ignore[arg-type]
        node = outputs[0].producer()
        assert node is not None
        self.emitted[node] = None
        if any(v in self._reached for v in node.inputs):
            self._reached.update(outputs)
        return outputs

    def append(self, node: ir.Node) -> None:
        """Append a node made elsewhere."""
        self.graph.append(node)
        self.emitted[node] = None

    def fresh_name(self, op_type: str) -> str:
        """Return a name below the current scope for a node of this operator."""
        return self._unique(f"{self._scope}/{op_type}")

    def take(self) -> list[ir.Node]:
        """Return what was appended since the last call."""
        taken, self.emitted = list(self.emitted), {}
        return taken


def operator(node: ir.Node) -> str:
    """Name of a node's operator, behind its domain where that is not ai.onnx."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
