"""Take the branch of every If whose condition is constant.

What it computes is then the graph's own: its sizes are known, and so are those that hang on it.
"""

from collections import Counter
from collections.abc import Iterator

import onnx_ir as ir

from onnxshap.graph.constants import initializer


def take_known_branches(graph: ir.Graph) -> bool:
    """Put the branch in the place of each such If, under the names of its outputs; whether any.

    Names of nodes are not made unique.
    """
    names = Counter(str(v.name) for v in _values(graph))
    found = False
    for node in list(graph):
        condition = node.inputs[0].const_value if node.op_type == "If" and node.inputs[0] else None
        if condition is None or node.domain not in ("", "ai.onnx"):
            continue
        name = "then_branch" if condition.numpy().all() else "else_branch"
        _take(graph, node, node.attributes[name].as_graph(), names)
        found = True
    return found


def _take(graph: ir.Graph, node: ir.Node, branch: ir.Graph, names: Counter[str]) -> None:
    ends, inner, constants = list(branch.outputs), list(branch), list(branch.initializers.values())
    branch.outputs.clear()
    branch.initializers.clear()
    branch.remove(inner)
    for value in (o for each in inner for o in each.outputs):
        if value.name:
            value.name = _own(value.name, names)
    for value in constants:
        name, tensor = _own(str(value.name), names), value.const_value
        if name == value.name:
            graph.register_initializer(value)
        elif tensor is not None:  # another value: a new name would change the caller's tensor
            value.replace_all_uses_with(initializer(graph, name, tensor.numpy()))
    graph.insert_before(node, inner)
    for output, end in zip(node.outputs, ends, strict=True):
        if end.producer() not in inner or end.is_graph_output():  # not the branch's own, or twice
            copy = ir.node("Identity", [end])
            graph.insert_before(node, copy)
            end = copy.outputs[0]
        own, output.name = output.name, None
        end.name, end.type, end.shape = own, output.type or end.type, output.shape or end.shape
        output.replace_all_uses_with(end, replace_graph_outputs=True)
    graph.remove(node)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    """All values, those of subgraphs included."""
    yield from (*graph.inputs, *graph.initializers.values())
    for node in graph:
        yield from node.outputs
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from _values(attribute.as_graph())


def _own(name: str, names: Counter[str]) -> str:
    """The name if no other value has it; else a longer one. Branches may repeat each other's."""
    if names[name] > 1:
        names[name] -= 1
        while names[name]:
            name += "_"
        names[name] = 1
    return name
