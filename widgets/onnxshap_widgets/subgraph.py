"""Parts of a model's graph that are small enough to draw: pure functions of protobuf.

A graph for an explanation holds the model several times over: forward for the explicands, for the
references, and one or more backward nodes for each of its nodes. `Anatomy` reads which is which
from the metadata that `onnxshap.build` writes, and cuts out what a reader wants to see.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import onnx

from onnxshap.errors import InputError

SIDES = ("forward", "reference", "points", "seed", "backward")
"""Sides of an explanation, as `onnxshap.build` names them, in the order a reader meets them."""
KEPT_BYTES = 1024
"""Tensors above this are sent without their numbers: a picture of the graph needs only sizes."""


@dataclass(frozen=True)
class Node:
    """What is told of a node."""

    name: str
    operator: str
    side: str
    rule: str
    """Family of its rule, e.g. ``rescale``; "" where it belongs to none."""
    formula: str
    of: str
    """Forward node that it copies or runs backward through; "" where there is none."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Anatomy:
    """A model's nodes, what side of the explanation each is on, and parts of the graph.

    Parameters
    ----------
    model : onnx.ModelProto
        What `onnxshap.build` returns, or any model: then every node is on the forward side.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model, graph = model, model.graph
        self._protos: dict[str, onnx.NodeProto] = {}
        self.nodes: dict[str, Node] = {}
        for index, proto in enumerate(graph.node):
            name = proto.name or next((o for o in proto.output if o), "") or f"node_{index}"
            name = name if name not in self.nodes else f"{name}#{index}"
            self._protos[name], self.nodes[name] = proto, _read(proto, name)
        self._maker = {o: n.name for n in self.nodes.values() for o in n.outputs}
        self._readers: dict[str, list[str]] = defaultdict(list)
        for node in self.nodes.values():
            for value in dict.fromkeys(node.inputs):
                self._readers[value].append(node.name)
        self._constants = {t.name: t for t in graph.initializer}
        known = (*graph.input, *graph.output, *graph.value_info)
        self._types = {value.name: value for value in known}
        self._ends = {value.name for value in graph.output}

    @cached_property
    def layers(self) -> list[str]:
        """Names of the forward nodes, in order."""
        return [n.name for n in self.nodes.values() if n.side == "forward"]

    def counts(self) -> dict[str, int]:
        """How many nodes each side has."""
        sides = [n.side for n in self.nodes.values()]
        return {side: sides.count(side) for side in SIDES if side in sides}

    def of(self, name: str) -> list[str]:
        """Nodes of the other sides that belong to a forward node, in order."""
        return [n.name for n in self.nodes.values() if n.of == name]

    def maker(self, value: str) -> str:
        """Name of the node that makes a value; "" for inputs, constants and unknown values."""
        return self._maker.get(value, "")

    # --- what to show ----------------------------------------------------------------------------

    def around(self, name: str, hops: int = 2) -> list[str]:
        """Return the nodes from which ``name`` is at most ``hops`` edges away, or that from it.

        Nodes that only tell sizes to half the graph (the seed's side) are shown, not followed.
        """
        self._require(name)
        found = {name}
        for step in (self._before, self._after):
            edge = {name}
            for _ in range(hops):
                edge = {n for e in edge for n in step(e)} - found
                found |= edge
                edge = {n for n in edge if self.nodes[n].side != "seed"}
        return self._in_order(found)

    def layer(self, name: str) -> list[str]:
        """Return a forward node, given by itself or one of its own, and all nodes of it."""
        own = self.nodes[self._require(name)].of or name
        return self._in_order({own, *self.of(own), name} & self.nodes.keys())

    def depth(self, first: int, last: int) -> list[str]:
        """Return the forward nodes from the ``first`` to the ``last``, and all nodes of them."""
        if not 0 <= first <= last < len(self.layers):
            raise InputError(
                f"depth ({first}, {last}): the model has layers 0 to {len(self.layers) - 1}"
            )
        chosen = set(self.layers[first : last + 1])
        return [n.name for n in self.nodes.values() if n.name in chosen or n.of in chosen]

    # --- as models -------------------------------------------------------------------------------

    def part(self, names: Collection[str]) -> onnx.ModelProto:
        """Return a model of these nodes; what they read of others are its inputs."""
        chosen = self._in_order(set(names))
        return self._assembled([self._piece(self.nodes[n]) for n in chosen], set(chosen))

    def overview(self) -> tuple[onnx.ModelProto, dict[str, str]]:
        """Return a model with one node for each that runs backward, and who stands for whom.

        The nodes that run backward through one forward node become one, called by the last of
        them. What it reads of the other sides is left out: these edges cross the whole graph, and
        a layer's own view shows them. The dict leads from every node to the one that stands for
        it; nodes that only tell sizes are not shown.
        """
        kept = [n for n in self.nodes.values() if n.side not in ("backward", "seed")]
        pieces: list[onnx.NodeProto] = []
        shown = {node.name: node.name for node in kept}
        left_out = {v for n in kept for v in (*n.inputs, *n.outputs)} | set(self._constants)
        sizes = [n for n in self.nodes.values() if n.side == "seed" and n.operator == "Shape"]
        left_out |= {o for n in sizes for o in n.outputs}
        groups: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes.values():
            if node.side in ("backward", "seed") and not set(node.outputs) <= left_out:
                groups[f"{node.side} {node.of or _scope(node.name)}"].append(node)
        for members in groups.values():
            pieces.append(self._merged(members, left_out))
            shown |= {n.name: members[-1].name for n in members}
        # Columns are drawn in the opposite order of this, then mirrored: forward is the first.
        pieces += [self._piece(node) for node in reversed(kept)]
        return self._assembled(pieces, shown), shown

    def _merged(self, members: list[Node], left_out: Collection[str]) -> onnx.NodeProto:
        """One node in place of several that belong to one forward node, or to one step."""
        last, own = members[-1], {n.name for n in members}
        forward = self.nodes.get(last.of)
        made = [o for n in members for o in n.outputs]
        read = dict.fromkeys(v for n in members for v in n.inputs)
        merged = onnx.NodeProto(
            name=last.name,
            op_type=f"{forward.operator} backward" if forward else _scope(last.name),
            domain="onnxshap",
            doc_string=last.formula,
            input=[v for v in read if v not in left_out and v not in made],
            output=[o for o in made if self._leaves(o, own)],
        )
        _tag(merged, last, nodes=str(len(members)))
        return merged

    def _piece(self, node: Node) -> onnx.NodeProto:
        piece = slim_node(self._protos[node.name])
        piece.name, piece.doc_string = node.name, node.formula
        _tag(piece, node)
        return piece

    def _assembled(self, pieces: list[onnx.NodeProto], inside: Collection[str]) -> onnx.ModelProto:
        """A model of these nodes. ``inside``: names of all nodes that they stand for."""
        model = onnx.ModelProto(ir_version=self._model.ir_version, producer_name="onnxshap")
        model.opset_import.extend(self._model.opset_import)
        graph = model.graph
        graph.name = self._model.graph.name
        graph.node.extend(pieces)
        made = dict.fromkeys(o for piece in pieces for o in piece.output)
        for value in dict.fromkeys(v for piece in pieces for v in piece.input if v):
            if value in self._constants:
                graph.initializer.append(slim(self._constants[value]))
            elif value not in made:
                graph.input.append(self._value(value))
        graph.output.extend(self._value(o) for o in made if self._leaves(o, inside))
        return model

    # --- helpers ---------------------------------------------------------------------------------

    def _before(self, name: str) -> Iterator[str]:
        return (self._maker[v] for v in self.nodes[name].inputs if v in self._maker)

    def _after(self, name: str) -> Iterator[str]:
        return (reader for v in self.nodes[name].outputs for reader in self._readers[v])

    def _leaves(self, value: str, inside: Collection[str]) -> bool:
        """Whether a value is read by other nodes than these, or by the graph's user."""
        return value in self._ends or any(r not in inside for r in self._readers[value])

    def _in_order(self, names: Collection[str]) -> list[str]:
        return [name for name in self.nodes if name in names]

    def _value(self, name: str) -> onnx.ValueInfoProto:
        known = self._types.get(name)
        value = onnx.ValueInfoProto(name=name)
        if known is not None:
            value.type.CopyFrom(known.type)
        return value

    def _require(self, name: str) -> str:
        if name not in self.nodes:
            raise InputError(
                f'the graph has no node "{name}"; the names are those of '
                f"GraphView(...).nodes, e.g. {', '.join(list(self.nodes)[:3])}"
            )
        return name


def slim(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """Return a tensor, above 1 KB without its numbers."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL and tensor.ByteSize() <= KEPT_BYTES:
        return tensor
    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def slim_node(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return a copy of a node, tensors above 1 KB without their numbers, in subgraphs too."""
    copy = onnx.NodeProto(
        op_type=node.op_type, domain=node.domain, input=node.input, output=node.output
    )
    for attribute in node.attribute:
        added = copy.attribute.add(name=attribute.name, type=attribute.type)
        if attribute.type == onnx.AttributeProto.TENSOR:
            added.t.CopyFrom(slim(attribute.t))
        elif attribute.type == onnx.AttributeProto.GRAPH:
            added.g.CopyFrom(_slim_graph(attribute.g))
        else:
            added.CopyFrom(attribute)
    return copy


def _slim_graph(graph: onnx.GraphProto) -> onnx.GraphProto:
    nodes = []
    for node in graph.node:
        nodes.append(slim_node(node))
        nodes[-1].name = node.name
    return onnx.GraphProto(
        name=graph.name,
        node=nodes,
        initializer=[slim(t) for t in graph.initializer],
        input=graph.input,
        output=graph.output,
    )


def _read(proto: onnx.NodeProto, name: str) -> Node:
    notes = {entry.key: entry.value for entry in proto.metadata_props}
    side = notes.get("onnxshap.side", "forward")
    return Node(
        name=name,
        operator=proto.op_type,
        side=side if side in SIDES else "forward",
        rule=notes.get("onnxshap.rule", ""),
        formula=proto.doc_string,
        of=notes.get("onnxshap.of", ""),
        inputs=tuple(v for v in proto.input if v),
        outputs=tuple(v for v in proto.output if v),
    )


def _tag(proto: onnx.NodeProto, node: Node, **more: str) -> None:
    """Write what is told of a node into its metadata, where Netron's side bar lists it."""
    notes = {"side": node.side, "rule": node.rule, "of": node.of, **more}
    for key, value in notes.items():
        if value:
            proto.metadata_props.add(key=f"onnxshap.{key}", value=value)


def _scope(name: str) -> str:
    """``attribution`` of ``attribution/Mul_0``."""
    return name.rpartition("/")[0].rpartition("/")[2] or name
