"""Run the part of a graph that depends on a large constant in a Scan, chunk by chunk.

For backgrounds whose activations do not fit into memory: the work is repeated at each run, since a
runtime does not fold a Scan over constants, but memory stays bounded by one chunk.
"""

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from onnxshap.graph.builder import Builder
from onnxshap.graph.dependence import ancestors, reachable

Update = Callable[[Builder, Sequence[ir.Value], Mapping[str, ir.Value]], Sequence[ir.Value]]


def scan(
    graph: ir.Graph,
    chunks: Mapping[ir.Value, ir.Value],
    results: Sequence[ir.Value],
    states: Sequence[ir.Value],
    update: Update,
    name: str,
) -> list[ir.Value]:
    """Move what depends on some inputs into a Scan over chunks of them; returns the final states.

    Parameters
    ----------
    graph : ir.Graph
        Changed in place.
    chunks : mapping
        For each input of the graph that is scanned, the value [S, m, ...] it is a chunk of.
    results : sequence of ir.Value
        What is computed from one chunk and handed to ``update`` by name.
    states : sequence of ir.Value
        Initial states.
    update : callable
        ``update(op, states, results)`` emits the next states inside the Scan's body.
    name : str
        Of the Scan node; its values and body are called ``name/...``, which must be free.
    """
    inside = reachable(graph, chunks) & ancestors(graph, results)
    nodes = [n for n in graph if any(o in inside for o in n.outputs)]
    graph.remove(nodes)
    before = [ir.Value(name=f"{name}/state_{k}", type=s.type) for k, s in enumerate(states)]
    for value in chunks:
        graph.inputs.remove(value)
    body = ir.Graph([*before, *chunks], [], nodes=nodes, name=f"{name}/body")
    op = Builder(body, f"{name}/")
    with op.scope(name, side="backward"):
        after = [op.Identity(s) for s in update(op, before, {str(r.name): r for r in results})]
    for value in after:
        body.outputs.append(value)
    node = ir.node(
        "Scan",
        [*states, *chunks.values()],
        {"body": body, "num_scan_inputs": len(chunks)},
        num_outputs=len(states),
        name=name,
    )
    node.metadata_props["onnxshap.side"] = "backward"
    for k, (output, state) in enumerate(zip(node.outputs, states, strict=True)):
        output.name, output.type = f"{name}/final_{k}", state.type
    graph.append(node)
    return list(node.outputs)
