"""Which values depend on which: forward reach, and the path between two ends."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import onnx_ir as ir

Nodes = ir.Graph | Sequence[ir.Node]
"""Nodes in an order in which each comes after those that it reads."""

QUANTISED = frozenset(
    ir.DataType[name] for name in ("INT4", "UINT4", "INT8", "UINT8", "INT16", "UINT16")
)
"""Integers that stand for floats behind a QuantizeLinear, and carry derivatives from there."""


def reachable(
    graph: Nodes,
    sources: Iterable[ir.Value],
    carries: Callable[[ir.Node, int], bool] = lambda node, index: True,
) -> set[ir.Value]:
    """Values that depend on ``sources``; ``carries(node, i)`` says if input i passes it on."""
    reached = set(sources)
    for node in graph:
        inputs = node_inputs(node)
        if any(v in reached and carries(node, i) for i, v in enumerate(inputs) if v is not None):
            reached.update(node.outputs)
    return reached


def carries_numbers(node: ir.Node, index: int) -> bool:
    """Whether a node passes on more of its inputs than their sizes."""
    return node.op_type not in ("Shape", "Size")


def ancestors(
    graph: Nodes,
    targets: Iterable[ir.Value],
    carries: Callable[[ir.Node, int], bool] = lambda node, index: True,
) -> set[ir.Value]:
    """Values that ``targets`` are computed from, and they; ``carries`` as in `reachable`."""
    needed = set(targets)
    for node in reversed(graph):
        if any(output in needed for output in node.outputs):
            inputs = enumerate(node_inputs(node))
            needed.update(v for i, v in inputs if v is not None and carries(node, i))
    return needed


def cut_every_path(
    graph: ir.Graph, inputs: Iterable[ir.Value], cut: Iterable[ir.Value], target: ir.Value
) -> bool:
    """Whether ``cut`` stands on every path from ``inputs`` to ``target``, and once on each.

    Where one value of the cut feeds another, what is credited to both overlaps. Sizes are no path:
    they agree on both sides.
    """
    starts, values = set(inputs), set(cut)
    if _behind(graph, values) & (values - starts):
        return False
    around = reachable(
        graph,
        starts - values,
        lambda node, i: carries_numbers(node, i) and node_inputs(node)[i] not in values,
    )
    return target not in around - values


def _behind(graph: ir.Graph, values: set[ir.Value]) -> set[ir.Value]:
    """What depends on the numbers of ``values``; themselves only where they do on one another's."""
    behind: set[ir.Value] = set()
    for node in graph:
        inputs = enumerate(node_inputs(node))
        if any((v in values or v in behind) and carries_numbers(node, i) for i, v in inputs):
            behind.update(node.outputs)
    return behind


def node_inputs(node: ir.Node) -> list[ir.Value | None]:
    """Inputs of ``node`` followed by what its subgraphs (If, Loop, Scan) read from outside."""
    outer: list[ir.Value | None] = list(node.inputs)
    for attribute in node.attributes.data.values():  # every walk comes by here: the dict itself
        if attribute.type == ir.AttributeType.GRAPH:
            outer += _captured(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            outer += [v for graph in attribute.as_graphs() for v in _captured(graph)]
    return outer


def _captured(graph: ir.Graph) -> list[ir.Value]:
    """Values read inside ``graph`` that it does not define."""
    own: set[ir.Value] = {*graph.inputs, *graph.initializers.values()}
    captured: list[ir.Value] = []
    for node in graph:
        captured += [v for v in node_inputs(node) if v is not None and v not in own]
        own.update(node.outputs)
    return captured + [v for v in graph.outputs if v not in own]


def rebound(attribute: ir.Attr, values: Mapping[ir.Value, ir.Value]) -> ir.Attr:
    """An attribute for a copy of its node: subgraphs are copied, and read ``values`` instead."""
    if attribute.type == ir.AttributeType.GRAPH:
        return ir.AttrGraph(attribute.name, _rebound(attribute.as_graph(), values))
    if attribute.type == ir.AttributeType.GRAPHS:
        graphs = [_rebound(graph, values) for graph in attribute.as_graphs()]
        return ir.AttrGraphs(attribute.name, graphs)
    return attribute


def _rebound(graph: ir.Graph, values: Mapping[ir.Value, ir.Value]) -> ir.Graph:
    copy = graph.clone(allow_outer_scope_values=True)
    for node in ir.traversal.RecursiveGraphIterator(copy):
        for k, value in enumerate(node.inputs):
            if value is not None and value in values:
                node.replace_input_with(k, values[value])
    for k, value in enumerate(copy.outputs):
        if value in values:
            copy.outputs[k] = values[value]
    return copy
