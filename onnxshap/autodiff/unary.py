"""Choices that one tensor alone decides, element by element: Where(t > 0, f(t), g(t)).

Such a Where is a function of one number, so its multiplier is that function's secant. Where both
sides take the same branch the branch's own rule gives it; where they do not, the share of the
condition is credited to t: see the rule of Where.
"""

from collections.abc import Collection, Iterable

import onnx_ir as ir

from onnxshap.graph.dependence import carries_numbers, reachable

_ARITHMETIC = "Abs Add Ceil Cos Div Exp Floor Log Max Min Mod Mul Neg Pow Reciprocal Round Sign Sin"
_ACTIVATIONS = "Celu Clip Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Shrink"
_MORE = "Sigmoid Softplus Softsign Sqrt Sub Sum Swish Tanh ThresholdedRelu"
_LOGIC = "And Cast Equal Greater GreaterOrEqual Identity IsInf IsNaN Less LessOrEqual Not Or Where"
ELEMENTWISE = frozenset(" ".join((_ARITHMETIC, _ACTIVATIONS, _MORE, _LOGIC, "Xor")).split())
"""Operators of which an output element depends on the elements at its own place alone."""


def roots(
    graph: ir.Graph, sources: Iterable[ir.Value], varying: Iterable[ir.Value] = ()
) -> dict[ir.Node, ir.Value]:
    """The tensor that decides a Where all by itself, for each that has one.

    Only of those whose condition differs between the sides. ``varying``: values beyond those that
    depend on ``sources`` that differ, too.
    """
    choices = [n for n in graph if n.op_type == "Where" and not n.domain]
    if not choices:
        return {}
    ends = set(sources)
    moving = reachable(graph, ends, carries_numbers) | set(varying)
    lines: dict[ir.Value, list[ir.Value]] = {}

    def line(value: ir.Value) -> list[ir.Value]:
        """The values that ``value`` is a function of, element by element, from itself back."""
        return lines.get(value, [value])

    found = {}
    for node in graph:
        common = _common([line(v) for v in node.inputs if v is not None and v in moving])
        if node.domain or node.op_type not in ELEMENTWISE or not common:
            continue
        if node.op_type == "Where" and node.inputs[0] in moving:
            floats = [v for v in common if v.dtype is not None and v.dtype.is_floating_point()]
            if floats:
                found[node] = floats[0]
        for output in node.outputs:
            if output not in ends:
                lines[output] = [output, *common]
    return found


def decisive(nodes: Iterable[ir.Node], chosen: Collection[ir.Node]) -> set[ir.Node]:
    """Nodes, given in graph order, that serve only as conditions of ``chosen`` Wheres."""
    found: set[ir.Node] = set()
    for node in reversed(list(nodes)):
        uses = [use for output in node.outputs for use in output.uses() if use.node.graph]
        if uses and all(u in found or (u in chosen and place == 0) for u, place in uses):
            found.add(node)
    return found


def _common(lines: list[list[ir.Value]]) -> list[ir.Value]:
    """What all lines end in."""
    if not lines:
        return []
    shared = set(lines[0]).intersection(*lines[1:])
    return [v for v in lines[0] if v in shared]
