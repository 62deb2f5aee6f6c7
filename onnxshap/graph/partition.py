"""Partial evaluation: split a graph by what is known first.

What depends on the known inputs alone becomes the first graph, the rest the second. Between them
lies the *cut*: values the first hands to the second. Of all cuts that cost no more than cheap
recomputation, a small one is taken: ``|r|`` and ``relu(r)`` are recomputed from ``r``, so that r is
kept once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from onnxshap.graph.dependence import Nodes, ancestors, node_inputs, reachable

_VIEWS = frozenset(["Identity", "Reshape", "Squeeze", "Unsqueeze"])
"""Nodes that give a value another shape and move none of it, unless it is handed over."""

_CHEAP = _VIEWS | frozenset(
    [
        "Abs",
        "Add",
        "Cast",
        "Clip",
        "Div",
        "Equal",
        "Greater",
        "Less",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Sign",
        "Sqrt",
        "Sub",
    ]
)


@dataclass(frozen=True)
class Piece:
    """Some nodes of a model, in order, that compute values of it from others."""

    model: ir.Model
    nodes: list[ir.Node]
    inputs: list[ir.Value]
    outputs: list[ir.Value]

    @classmethod
    def of(cls, model: ir.Model) -> "Piece":
        """All of a model."""
        return cls(model, list(model.graph), list(model.graph.inputs), list(model.graph.outputs))

    def between(self, inputs: list[ir.Value], outputs: list[ir.Value]) -> "Piece":
        """What computes ``outputs`` from ``inputs``."""
        given = set(inputs)
        needed = ancestors_until(self.nodes, outputs, given) - given
        nodes = [n for n in self.nodes if any(o in needed for o in n.outputs)]
        return Piece(self.model, nodes, inputs, outputs)

    def copy(self) -> ir.Model:
        """A model of its own, of the same names."""
        copies: dict[ir.Value, ir.Value] = {}

        def copy(value: ir.Value) -> ir.Value:
            if value not in copies:
                twin = ir.Value(
                    name=value.name,
                    type=value.type,
                    shape=value.shape,
                    const_value=value.const_value,
                )
                copies[value] = twin
            return copies[value]

        graph, inputs = self.model.graph, [copy(v) for v in self.inputs]
        read = {v for node in self.nodes for v in node_inputs(node)} | set(self.outputs)
        held = [v for v in graph.initializers.values() if v in read and v not in copies]
        initializers = [copy(v) for v in held]
        nodes = [
            ir.Node(
                node.domain,
                node.op_type,
                [None if v is None else copy(v) for v in node.inputs],
                list(node.attributes.values()),
                outputs=[copy(o) for o in node.outputs],
                name=node.name,
                doc_string=node.doc_string,
                metadata_props=dict(node.metadata_props),
            )
            for node in self.nodes
        ]
        copied = ir.Graph(
            inputs,
            [copy(v) for v in self.outputs],
            nodes=nodes,
            initializers=initializers,
            opset_imports=dict(graph.opset_imports),
            name=graph.name,
        )
        return ir.Model(copied, ir_version=self.model.ir_version, producer_name="onnxshap")


@dataclass(frozen=True)
class Parts:
    """The two graphs of a partition.

    ``cut``: names of values the first hands to the second. The second may read inputs of the
    first as well, by their own names.
    """

    begin: Piece
    rest: Piece
    cut: list[str]

    @cached_property
    def first(self) -> ir.Model:
        """The first graph, as a model of its own."""
        return self.begin.copy()

    @cached_property
    def second(self) -> ir.Model:
        """The second graph, as a model of its own."""
        return self.rest.copy()


def partition(
    model: ir.Model | Piece,
    known: Iterable[str],
    sizes: Mapping[str, int],
    keep: Iterable[str] = (),
    *,
    recompute: bool = True,
) -> Parts:
    """Split ``model`` into what depends on the inputs named ``known`` alone, and the rest.

    Parameters
    ----------
    model : ir.Model or Piece
        Not modified.
    known : iterable of str
        Names of inputs that are known first.
    sizes : mapping
        Bytes of a value by name, for choosing the cut.
    keep : iterable of str
        Outputs of ``model`` the first part must compute as well, if it can.
    recompute : bool
        Whether to hand over less and compute it again; else as much as possible is done first
        that takes time, unless inputs alone would do.
    """
    piece = model if isinstance(model, Piece) else Piece.of(model)
    nodes, inputs, outputs, names = piece.nodes, piece.inputs, piece.outputs, set(known)
    early = reachable(nodes, [v for v in inputs if v.name in names])
    late = reachable(nodes, [v for v in inputs if v.name not in names])
    needed = ancestors(nodes, outputs)
    ready = {v for v in early - late if v in needed}
    kept = set(keep)
    finished = [o for o in outputs if o in ready and o.name in kept]
    remaining = [o for o in outputs if o not in finished]
    late_values = ancestors_until(nodes, remaining, ready)
    latest = {v for v in late_values if v in ready}
    chosen = _pulled_back(nodes, ready, latest, sizes, _CHEAP)
    if not recompute and not chosen <= set(inputs):
        chosen = _pulled_back(nodes, ready, latest, sizes, _VIEWS)
    order = [*inputs, *(o for node in nodes for o in node.outputs)]
    cut = [v for v in order if v in chosen]
    given = [v for v in inputs if v.name in names]
    handed = [v for v in cut if v not in given and v not in finished]
    first = piece.between(given, [*finished, *handed])
    rest = [v for v in inputs if v.name not in names]
    second = _deferred(piece.between([*rest, *cut], remaining), rest)
    return Parts(first, second, [str(v.name) for v in cut if v not in given])


def _pulled_back(
    nodes: Nodes,
    ready: set[ir.Value],
    latest: set[ir.Value],
    sizes: Mapping[str, int],
    through: frozenset[str],
) -> set[ir.Value]:
    """Pull the latest cut back through operators where that makes it no larger."""
    cut = set(latest)
    for node in reversed(nodes):
        outputs = [o for o in node.outputs if o in cut]
        inputs = [v for v in node_inputs(node) if v in ready and v is not None]
        if not outputs or node.op_type not in through or node.domain:
            continue
        gain = sum(sizes.get(str(v.name), 0) for v in outputs)
        cost = sum(sizes.get(str(v.name), 0) for v in set(inputs) - cut)
        # One value for another of its size: it may serve others too, but no sum or product does.
        if cost < gain or (cost == gain and len(inputs) == 1):
            cut.difference_update(outputs)
            cut.update(inputs)
    return cut


def _deferred(piece: Piece, late: list[ir.Value]) -> Piece:
    """Move recomputed values to just before their first use, so that they live no longer."""
    moving, ends = reachable(piece.nodes, late), set(piece.outputs)
    deferred = {n for n in piece.nodes if not any(o in moving for o in n.outputs)}
    ordered: list[ir.Node] = []
    for node in piece.nodes:
        if node not in deferred or any(o in ends for o in node.outputs):
            _place(node, deferred, ordered)
    for node in piece.nodes:
        if node in deferred:
            _place(node, deferred, ordered)
    return Piece(piece.model, ordered, piece.inputs, piece.outputs)


def _place(node: ir.Node, deferred: set[ir.Node], ordered: list[ir.Node]) -> None:
    """Append ``node`` after the deferred nodes it needs."""
    stack = [node]
    while stack:
        needed = [p for p in stack[-1].predecessors() if p in deferred and p is not stack[-1]]
        if needed:
            stack.append(needed[0])
            continue
        ready = stack.pop()
        deferred.discard(ready)
        ordered.append(ready)


def ancestors_until(
    graph: Nodes, targets: Iterable[ir.Value], stop: set[ir.Value]
) -> set[ir.Value]:
    """Values ``targets`` are computed from, not looking behind those in ``stop``."""
    needed = set(targets)
    for node in reversed(graph):
        if any(o in needed and o not in stop for o in node.outputs):
            needed.update(v for v in node_inputs(node) if v is not None)
    return needed


def extract(model: ir.Model, inputs: Iterable[ir.Value], outputs: Iterable[ir.Value]) -> ir.Model:
    """Return a new model that computes ``outputs`` from ``inputs`` by the same nodes."""
    return Piece.of(model).between(list(inputs), list(outputs)).copy()
