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


class _Line:
    """A value and, behind it, those it is a function of, element by element: a path in a tree."""

    def __init__(self, value: ir.Value, behind: "_Line | None" = None) -> None:
        is_float = value.dtype is not None and value.dtype.is_floating_point()
        self.number = value if is_float else None
        """The first float of the line."""
        self.depth, self.behind, self.leap = 0, self, self
        if behind is not None:
            self.number = value if is_float else behind.number
            self.depth, self.behind = behind.depth + 1, behind
            # Back by powers of two, so that `_meet` takes log(n) steps: Myers 1983, "An applicative
            # random-access stack".
            far = behind.leap
            even = behind.depth - far.depth == far.depth - far.leap.depth
            self.leap = far.leap if even else behind


def roots(
    graph: ir.Graph, sources: Iterable[ir.Value], varying: Iterable[ir.Value] = ()
) -> dict[ir.Node, ir.Value]:
    """The tensor that decides a Where all by itself, for each that has one.

    Only of those whose condition differs between the sides. ``varying``: values beyond those that
    depend on ``sources`` that differ, too.
    """
    if not any(n.op_type == "Where" and not n.domain for n in graph):
        return {}
    ends = set(sources)
    moving = reachable(graph, ends, carries_numbers) | set(varying)
    lines: dict[ir.Value, _Line] = {}
    found = {}
    for node in graph:
        if node.domain or node.op_type not in ELEMENTWISE:
            continue
        read = [v for v in node.inputs if v is not None and v in moving]
        common = _common([lines.setdefault(v, _Line(v)) for v in read])
        if common is None:
            continue
        decides = node.op_type == "Where" and node.inputs[0] in moving
        if decides and common.number is not None:
            found[node] = common.number
        lines |= {o: _Line(o, common) for o in node.outputs if o not in ends}
    return found


def decisive(nodes: Iterable[ir.Node], chosen: Collection[ir.Node]) -> set[ir.Node]:
    """Nodes, given in graph order, that serve only as conditions of ``chosen`` Wheres."""
    found: set[ir.Node] = set()
    for node in reversed(list(nodes)):
        uses = [use for output in node.outputs for use in output.uses() if use.node.graph]
        if uses and all(u in found or (u in chosen and place == 0) for u, place in uses):
            found.add(node)
    return found


def _common(lines: list[_Line]) -> _Line | None:
    """What all lines end in."""
    common = lines[0] if lines else None
    for line in lines[1:]:
        common = common and _meet(common, line)
    return common


def _meet(a: _Line, b: _Line) -> _Line | None:
    """The first that two lines have in common."""
    if a.depth < b.depth:
        a, b = b, a
    while a.depth > b.depth:
        a = a.leap if a.leap.depth >= b.depth else a.behind
    while a is not b:
        if not a.depth:
            return None
        a, b = (a.behind, b.behind) if a.leap is b.leap else (a.leap, b.leap)
    return a
