"""Concats that begin with one another's inputs, as in a DenseNet, built up one from the next."""

from dataclasses import dataclass, field

import onnx_ir as ir


@dataclass
class _Begun:
    """Values that Concats begin with: the first result of them alone, and how others go on."""

    result: ir.Value | None = None
    further: "dict[ir.Value | None, _Begun]" = field(default_factory=dict)


def chain_concats(graph: ir.Graph) -> None:
    """Let a Concat read an earlier one's result where it repeats its inputs; in place.

    Concat(a, b), Concat(a, b, c), ... hand n values on n^2/2 times, and as many sums flow back.
    """
    along: dict[int, _Begun] = {}
    for node in graph:
        if node.op_type != "Concat" or node.domain:
            continue
        begun = along.setdefault(node.attributes["axis"].as_int(), _Begun())
        rest: list[ir.Value | None] = []
        for value in node.inputs:
            if begun.result is not None:
                rest = [begun.result]
            rest.append(value)
            begun = begun.further.setdefault(value, _Begun())
        if begun.result is None:
            begun.result = node.outputs[0]
        if rest != list(node.inputs):
            node.resize_inputs(len(rest))
            for place, value in enumerate(rest):
                node.replace_input_with(place, value)
