"""Concats that begin with one another's inputs, as in a DenseNet, built up one from the next."""

import onnx_ir as ir


def chain_concats(graph: ir.Graph) -> None:
    """Let a Concat read an earlier one's result where it repeats its inputs; in place.

    Concat(a, b), Concat(a, b, c), ... hand n values on n^2/2 times, and as many sums flow back.
    """
    earlier: dict[tuple[ir.Value | None, ...], dict[int, ir.Value]] = {}
    for node in graph:
        if node.op_type != "Concat" or node.domain:
            continue
        inputs, axis = tuple(node.inputs), node.attributes["axis"].as_int()
        for count in range(len(inputs) - 1, 1, -1):
            prefix = earlier.get(inputs[:count], {}).get(axis)
            if prefix is not None:
                node.replace_input_with(0, prefix)
                _drop(node, count)
                break
        earlier.setdefault(inputs, {})[axis] = node.outputs[0]


def _drop(node: ir.Node, count: int) -> None:
    """Drop the inputs 1 to ``count`` - 1."""
    rest = node.inputs[count:]
    node.resize_inputs(1 + len(rest))
    for place, value in enumerate(rest, 1):
        node.replace_input_with(place, value)
