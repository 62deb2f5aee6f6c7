"""Concats that begin with one another's inputs, as in a DenseNet, built up one from the next."""

from collections import defaultdict

import onnx_ir as ir

_Made = list[tuple[tuple[ir.Value | None, ...], ir.Value]]
"""Inputs and results of Concats."""


def chain_concats(graph: ir.Graph) -> None:
    """Let a Concat read an earlier one's result where it repeats its inputs; in place.

    Concat(a, b), Concat(a, b, c), ... hand n values on n^2/2 times, and as many sums flow back.
    """
    earlier: dict[tuple[int, ir.Value | None], _Made] = defaultdict(list)
    for node in graph:
        if node.op_type != "Concat" or node.domain:
            continue
        inputs = tuple(node.inputs)
        alike = earlier[node.attributes["axis"].as_int(), inputs[0]]
        begun = [e for e in alike if len(e[0]) < len(inputs) and inputs[: len(e[0])] == e[0]]
        alike.append((inputs, node.outputs[0]))
        if begun:
            prefix, result = max(begun, key=lambda e: len(e[0]))
            rest = [result, *inputs[len(prefix) :]]
            node.resize_inputs(len(rest))
            for place, value in enumerate(rest):
                node.replace_input_with(place, value)
