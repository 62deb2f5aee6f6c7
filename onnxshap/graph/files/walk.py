"""Every list of nodes in a model, and every tensor, wherever they hide.

A walk stops with an error below `MAX_DEPTH` subgraphs, so that code after it may recurse.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from onnx import (
    AttributeProto,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
)

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.names import describe, domain_name, quote

MAX_DEPTH = 16  # subgraphs within subgraphs; protobuf ends near 33

Body: TypeAlias = GraphProto | FunctionProto
FunctionKey: TypeAlias = tuple[str, str, str]

_MESSAGE_FIELDS = frozenset(
    kind.name for kind in AttributeProto.DESCRIPTOR.fields if kind.message_type is not None
)


@dataclass(slots=True)
class Room:
    """One list of nodes: a graph, a function's body, or a subgraph of a node in one of them."""

    body: Body
    label: str
    depth: int
    function: FunctionKey | None  # the function it belongs to; None for the model's graph
    domains: frozenset[str]  # that its nodes may use
    # Attributes that hold tensors, graphs or types, each with the name of what holds it.
    holders: list[tuple[str, AttributeProto]] = field(init=False)

    def __post_init__(self) -> None:
        self.holders = []
        if isinstance(self.body, FunctionProto):
            self.holders.extend((self.label, default) for default in self.body.attribute_proto)
        for node in self.body.node:
            for attribute in node.attribute:
                # By the fields present, not the declared type, which may lie.
                if any(kind.name in _MESSAGE_FIELDS for kind, _ in attribute.ListFields()):
                    self.holders.append((describe(node), attribute))


class Held(NamedTuple):
    """A tensor, its name for messages, and the sparse tensor it is a part of."""

    tensor: TensorProto
    label: str
    sparse: SparseTensorProto | None = None


def rooms(model: ModelProto) -> Iterator[Room]:
    """Every list of nodes, each before the subgraphs of its nodes."""
    own = frozenset(domain_name(function.domain) for function in model.functions)
    # Models older than IR 3 have no opset_import and mean ai.onnx 1.
    imports = own | (_imports(model) or {""})
    training = [graph for t in model.training_info for graph in (t.initialization, t.algorithm)]
    for graph in (model.graph, *training):
        yield from _nest(Room(graph, f"graph {quote(graph.name)}", 0, None, imports))
    for body in model.functions:
        key = function_key(body)
        label = f"function {function_name(key)}"
        yield from _nest(Room(body, label, 0, key, own | _imports(body)))


def _imports(owner: ModelProto | FunctionProto) -> frozenset[str]:
    return frozenset(domain_name(opset.domain) for opset in owner.opset_import)


def _nest(room: Room) -> Iterator[Room]:
    yield room
    for owner, attribute in room.holders:
        for graph in present(attribute, "g", "graphs"):
            label = f"subgraph {quote(attribute.name)} of {owner}"
            if room.depth == MAX_DEPTH:
                raise ModelFileError(
                    f"{label} is nested more than {MAX_DEPTH} subgraphs deep; "
                    "flatten the nested If, Loop or Scan nodes before export"
                )
            yield from _nest(Room(graph, label, room.depth + 1, room.function, room.domains))


def present(attribute: AttributeProto, one: str, many: str) -> Iterator[Any]:
    """What an attribute has in a single field and in its repeated twin."""
    if attribute.HasField(one):
        yield getattr(attribute, one)
    yield from getattr(attribute, many)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Graphs in a node's attributes."""
    for attribute in node.attribute:
        yield from present(attribute, "g", "graphs")


def function_key(function: FunctionProto | NodeProto) -> FunctionKey:
    """What a function is found by; of a node, the function that it calls, if there is one."""
    name = function.name if isinstance(function, FunctionProto) else function.op_type
    return domain_name(function.domain), name, function.overload


def function_name(key: FunctionKey) -> str:
    """Spell a function's key for a message."""
    return quote("::".join(part for part in key if part))


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor, itself and not a copy: initializers and attributes, subgraphs included."""
    return (held.tensor for room in rooms(model) for held in held_tensors(room))


def held_tensors(room: Room) -> Iterator[Held]:
    """Tensors of one room, in file order, without those of its subgraphs."""
    if isinstance(room.body, GraphProto):
        for tensor in room.body.initializer:
            yield Held(tensor, f"initializer {quote(tensor.name)} of {room.label}")
        for sparse in room.body.sparse_initializer:
            yield from _parts(sparse, room.label)
    for owner, attribute in room.holders:
        for tensor in present(attribute, "t", "tensors"):
            yield Held(tensor, f"tensor attribute {quote(attribute.name)} of {owner}")
        for sparse in present(attribute, "sparse_tensor", "sparse_tensors"):
            yield from _parts(sparse, owner)


def _parts(sparse: SparseTensorProto, owner: str) -> Iterator[Held]:
    label = f"sparse tensor {quote(sparse.values.name)} of {owner}"
    yield Held(sparse.values, label, sparse)
    yield Held(sparse.indices, label, sparse)
