"""Values that a graph cannot do without: each stands alone on every path from inputs to output."""

from collections.abc import Iterable

import onnx_ir as ir

from onnxshap.graph.dependence import carries_numbers, node_inputs, reachable


def single_cuts(graph: ir.Graph, inputs: Iterable[ir.Value], target: ir.Value) -> list[ir.Value]:
    """Values through which every path from ``inputs`` to ``target`` runs, in order of depth.

    Takes time in proportion to the edges. The values on some path are laid out in the graph's
    order; one of them is on every path exactly if no edge leaps over it. A leaping edge belongs to
    a path around the value, since what comes before the edge lies before the value, and what comes
    after lies after; and a path around it must leap over it somewhere.
    """
    starts = list(dict.fromkeys(inputs))
    on_path = reachable(graph, starts, carries_numbers) & _reaching(graph, target)
    made = (o for node in graph for o in node.outputs)
    order = dict.fromkeys(v for v in (*starts, *made) if v in on_path)
    place = {value: k for k, value in enumerate(order)}
    farthest = list(range(len(place)))
    for node in graph:
        ends = [place[o] for o in node.outputs if o in place]
        for index, value in enumerate(node_inputs(node) if ends else ()):
            if value in place and carries_numbers(node, index):
                farthest[place[value]] = max(farthest[place[value]], *ends)
    cuts, reach = [], sum(v in place for v in starts) - 1  # paths begin at each of the inputs
    for value, k in place.items():
        if reach <= k:
            cuts.append(value)
        reach = max(reach, farthest[k])
    return cuts


def _reaching(graph: ir.Graph, target: ir.Value) -> set[ir.Value]:
    """Values whose numbers, not only whose sizes, the target depends on; itself included."""
    found = {target}
    for node in reversed(graph):
        if any(output in found for output in node.outputs):
            inputs = enumerate(node_inputs(node))
            found |= {v for i, v in inputs if v is not None and carries_numbers(node, i)}
    return found
