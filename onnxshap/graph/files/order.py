"""The order of nodes: every value is made before it is read, and nothing needs itself.

Recurses into subgraphs: their depth must have been checked by `walk.rooms`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from onnx import GraphProto, NodeProto

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.names import describe, quote
from onnxshap.graph.files.walk import Body, subgraphs


class _Scope(NamedTuple):
    """A body being walked, the names made so far, and the index of the node it has come to."""

    body: Body
    made: set[str]
    reader: int


def check_order(body: Body, around: tuple[_Scope, ...] = ()) -> None:
    """Check that every value read was made before, in this body or, for a subgraph, around it."""
    made = _given(body)
    for index, node in enumerate(body.node):
        scopes = (_Scope(body, made, index), *around)
        for name in node.input:
            if name and not _is_made(name, scopes):
                raise _not_made(name, node, scopes)
        for graph in subgraphs(node):  # runs before its node's outputs exist
            check_order(graph, scopes)
        made.update(node.output)
    for output in body.output:
        name = output if isinstance(output, str) else output.name
        if name and name not in made and not _is_made(name, around):
            raise ModelFileError(
                f"the graph output {quote(name)} is made by no node, input or initializer; "
                "remove it from the outputs or export the model again"
            )


def _given(body: Body) -> set[str]:
    """Names that exist before the first node runs."""
    if not isinstance(body, GraphProto):
        return set(body.input)
    return {
        *(value.name for value in body.input),
        *(tensor.name for tensor in body.initializer),
        *(sparse.values.name for sparse in body.sparse_initializer),
    }


def _is_made(name: str, scopes: tuple[_Scope, ...]) -> bool:
    return any(name in scope.made for scope in scopes)


def _not_made(name: str, reader: NodeProto, scopes: tuple[_Scope, ...]) -> ModelFileError:
    """Tell a missing value from an unsorted graph and from a cycle."""
    start = f"{describe(reader)} reads {quote(name)}"
    for scope in scopes:
        nodes = scope.body.node
        index = next((i for i, node in enumerate(nodes) if name in node.output), None)
        if index is None:
            continue
        maker = nodes[index]
        if _needs(scope.body, index, scope.reader):
            return ModelFileError(
                f"{start}, made by {describe(maker)}, which in turn needs this node: "
                "the graph has a cycle; export the model again"
            )
        return ModelFileError(
            f"{start} before {describe(maker)} makes it; sort the nodes in topological order"
        )
    return ModelFileError(
        f"{start}, which no node, input or initializer makes; export the model again"
    )


def _needs(body: Body, node: int, other: int) -> bool:
    """Whether the node of one index needs the node of another, directly or not."""
    makers = {name: index for index, maker in enumerate(body.node) for name in maker.output if name}
    seen: set[int] = set()
    todo = [node]
    while todo:
        index = todo.pop()
        if index == other:
            return True
        if index not in seen:
            seen.add(index)
            todo.extend(makers[name] for name in _reads(body.node[index]) if name in makers)
    return False


def _reads(node: NodeProto) -> Iterator[str]:
    """Names a node or anything in its subgraphs reads."""
    yield from node.input
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from _reads(inner)
