"""What exporters spell out, as one operator again, where the parts alone would lose something.

A softmax of exponentials over their sum has a second way through the maximum that is subtracted,
and quotients of numbers that underflow; and a rule for probabilities that add up to 1 cannot see it
in logarithms, nor undo it. A division by what may be zero is no number where another
value is chosen in its place, and what flows back to it would be none either.
"""

from collections.abc import Sequence

import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering, Rewrite

_SHAPES = {"Expand", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
_TESTS = {"Abs", "And", "Equal", "Greater", "GreaterOrEqual", "Identity", "IsNaN"}
_TESTS |= {"Less", "LessOrEqual", "Not", "Or", "Sign"}


def spells_out(graph: ir.Graph) -> bool:
    """Whether a graph may have such an idiom."""
    found = {n.op_type for n in graph if not n.domain}
    pairs = ("Exp", "ReduceSum"), ("Exp", "LogSoftmax"), ("Log", "Softmax"), ("Div", "Where")
    return any(found.issuperset(pair) for pair in pairs)


def softmax(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """exp(x - s) / sum exp(x - s) is Softmax(x), whatever s is that does not change along it."""
    e, total = node.inputs
    exp, summed = _maker(e, "Exp"), _maker(total, "ReduceSum")
    if e is None or exp is None or summed is None or summed.inputs[0] is not e:
        return None
    axis = _axis(low, summed)
    if axis is None or not _is_row(low, total, e, axis):
        return None
    if low.asked(e) or low.asked(summed.outputs[0]):
        return None
    return [low.op.Softmax(_unshifted(low, exp.inputs[0], axis), axis=axis)]


def log_softmax(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """(x - s) - log sum exp(x - s) is LogSoftmax(x)."""
    t, level = node.inputs
    log = _maker(level, "Log")
    summed = None if log is None else _maker(log.inputs[0], "ReduceSum")
    exp = None if summed is None else _maker(summed.inputs[0], "Exp")
    if log is None or summed is None or exp is None or t is None or exp.inputs[0] is not t:
        return None
    axis = _axis(low, summed)
    if axis is None or not _is_row(low, level, t, axis):
        return None
    if any(low.asked(n.outputs[0]) for n in (exp, summed, log)):
        return None
    return [low.op.LogSoftmax(_unshifted(low, t, axis), axis=axis)]


def exp(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """exp(LogSoftmax(x)) is Softmax(x)."""
    inner = _inner(low, node, "LogSoftmax")
    if inner is None:
        return None
    return [low.op.Softmax(inner.inputs[0], axis=inner.attributes.get_int("axis", -1))]


def log(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """log(Softmax(x)) is LogSoftmax(x), which does not underflow."""
    inner = _inner(low, node, "Softmax")
    if inner is None:
        return None
    return [low.op.LogSoftmax(inner.inputs[0], axis=inner.attributes.get_int("axis", -1))]


def quotient(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """Where(c, 0, a / b) is a times what b alone decides, Where(c, 0, 1 / Where(c, 1, b))."""
    op, (c, *branches) = low.op, node.inputs
    for zero, divided in (branches, branches[::-1]):
        div = divided.producer() if divided is not None else None
        if divided is None or div is None or div.op_type != "Div" or div.domain:
            continue
        a, b = div.inputs
        if b is None or c is None or not _is_zero(low, zero) or low.asked(divided):
            continue
        if not _decides(b, c):
            continue
        one, turned = op.value(1.0, low.known(b).dtype), divided is branches[0]
        safe = op.Where(c, *_turned(turned, one, b))
        return [op.Mul(a, op.Where(c, *_turned(turned, zero, op.Reciprocal(safe))))]
    return None


IDIOMS: dict[str, Rewrite] = {
    "Div": softmax,
    "Exp": exp,
    "Log": log,
    "Sub": log_softmax,
    "Where": quotient,
}
"""How the last node of each idiom is rewritten."""


def _inner(low: Lowering, node: ir.Node, op_type: str) -> ir.Node | None:
    """The node of this operator that ``node`` alone is a function of, if its value need not stay.

    Where others read it too, as an entropy does, two rules for one value would have to agree.
    """
    value = node.inputs[0]
    inner = value.producer() if value is not None else None
    if value is None or inner is None or inner.op_type != op_type or inner.domain:
        return None
    return None if low.asked(value) or len(value.uses()) > 1 else inner


def _maker(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """The node that gives ``value``, up to its shape, if it is of this operator."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in _SHAPES and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node is not None and node.op_type == op_type and not node.domain else None


def _axis(low: Lowering, reduce: ir.Node) -> int | None:
    """The one axis that a sum is over, counted from the front."""
    dims = low.known(reduce.inputs[0]).dims
    axes = low.known(reduce.inputs[1]).value if len(reduce.inputs) > 1 else None
    return int(axes.item()) % len(dims) if axes is not None and axes.size == 1 and dims else None


def _is_row(low: Lowering, value: ir.Value | None, of: ir.Value, axis: int) -> bool:
    """Whether ``value`` broadcasts along ``axis`` of another."""
    own, dims = low.steady(value), low.known(of).dims
    if own is None or dims is None or len(own) != len(dims):
        return False
    return own[axis] == 1 != dims[axis]


def _unshifted(low: Lowering, t: ir.Value | None, axis: int) -> ir.Value | None:
    """x of t = x - s, s the same all along ``axis``; t itself where it is no such thing."""
    minus = t.producer() if t is not None else None
    if t is None or low.asked(t) or minus is None or minus.op_type != "Sub" or minus.domain:
        return t
    x, s = minus.inputs
    return x if low.known(x).dims == low.known(t).dims and _is_row(low, s, t, axis) else t


def _is_zero(low: Lowering, value: ir.Value | None) -> bool:
    found = low.known(value).value
    if found is None and value is not None and value.const_value is not None:
        found = value.const_value.numpy()
    return found is not None and found.dtype.kind == "f" and not found.any()


def _turned(turned: bool, *pair: ir.Value | None) -> tuple[ir.Value | None, ...]:
    return pair[::-1] if turned else pair


def _decides(b: ir.Value, c: ir.Value) -> bool:
    """Whether ``c`` is a test of ``b`` and of constants, element by element."""
    waiting, tested = [c], False
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if value is b:
            tested = True
        elif node is not None and node.op_type in _TESTS and not node.domain:
            waiting += [v for v in node.inputs if v is not None]
        elif node is not None or value.is_graph_input():
            return False
    return tested
