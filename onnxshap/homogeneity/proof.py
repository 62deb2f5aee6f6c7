"""The proof: one walk through the graph that gives every value its degree."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import onnx_ir as ir

from onnxshap.graph.dependence import node_inputs, reachable
from onnxshap.graph.inference import Known
from onnxshap.graph.partition import ancestors_until
from onnxshap.graph.shapes import infer
from onnxshap.homogeneity.context import SCALABLE, Context, content, degree_of_constant
from onnxshap.homogeneity.degrees import ANY, CONSTANT, Degree, Offence, largest, scales
from onnxshap.homogeneity.registry import RULES


@dataclass(frozen=True)
class Offender:
    """A node whose result is not homogeneous, or cannot be shown to be."""

    node: str
    operator: str
    """The operator's name, behind its domain where that is not ai.onnx."""
    reason: str


@dataclass(frozen=True)
class Proof:
    """What was proven of a target."""

    degree: Fraction | None
    """k in f(a x) = a^k f(x), for every a > 0; None where there are offenders.

    0 for a target that does not depend on the sources, and for one that is zero.
    """
    offenders: list[Offender]
    """Every node at fault, in graph order."""

    @property
    def ok(self) -> bool:
        """Whether X-Gradient holds: k >= 1."""
        return not self.objection

    @property
    def objection(self) -> str:
        """Why X-Gradient does not hold; empty where it does."""
        k = self.degree
        if k is None:
            return f"{len(self.offenders)} node(s) break f(a x) = a^k f(x)"
        if k == 0:
            return (
                "degree 0, scaling the input does not change the output, so input times gradient "
                "is 0 in sum and X-Gradient has nothing to share out"
            )
        if k < 1:
            return (
                f"degree {k} is below 1, the gradient grows without bound near x = 0, where "
                "X-Gradient starts"
            )
        return ""

    @property
    def law(self) -> str:
        """What was proven, e.g. ``f(a x) = a^2 f(x)``; empty where there are offenders."""
        k = self.degree
        if k is None:
            return ""
        power = "" if k == 1 else f"^{k}" if k.denominator == 1 else f"^({k})"
        return f"f(a x) = a{power} f(x)"

    def reasons(self) -> dict[tuple[str, str], list[str]]:
        """Names of the nodes at fault by operator and reason, in the order they first come."""
        found: dict[tuple[str, str], list[str]] = {}
        for o in self.offenders:
            found.setdefault((o.operator, o.reason), []).append(o.node)
        return found


def prove(graph: ir.Graph, sources: Sequence[ir.Value], target: ir.Value) -> Proof:
    """Prove that ``target`` is nonnegatively homogeneous in ``sources``.

    All sources are scaled by the same factor, each as an input of its own even where one is
    computed from another; all other inputs are held. The proof is about real numbers: what
    overflow, underflow and rounding do is not its subject.

    Parameters
    ----------
    graph : ir.Graph
        In the dialect of `Model.normalised`. Not modified.
    sources : sequence of ir.Value
        Inputs or inner values.
    target : ir.Value

    Returns
    -------
    Proof
        Behind an offender the walk goes on as if it were mended, so that all are found at once:
        a constant that is added is left out, a bounded function counts as a factor of degree 0.
    """
    ends = set(sources)
    dependent = reachable(graph, ends)
    known = _inferred(graph, ends)
    needed = ancestors_until(graph, [target], ends)
    degrees: dict[ir.Value, Degree] = {
        v: degree_of_constant(content(v, known))
        for v in (*graph.inputs, *graph.initializers.values())
        if v in needed
    }
    degrees |= dict.fromkeys(ends, Fraction(1))
    offenders: list[Offender] = []
    for node in graph:
        if not any(o in needed and o not in ends for o in node.outputs):
            continue
        inputs = [ANY if v is None else degrees[v] for v in node_inputs(node)]
        context = Context(node, inputs, known, dependent)
        try:
            found = _degrees(context)
        except Offence as offence:
            found = [offence.assumed] * len(node.outputs)
            if offence.always or any(scales(degree) for degree in inputs):
                offenders.append(Offender(node.name or "", _operator(node), offence.reason))
            else:  # whatever it computes, scaling does not reach it
                found = [CONSTANT] * len(node.outputs)
        for output, degree in zip(node.outputs, found, strict=True):
            constant = content(output, known)
            if 0 in (known[output].dims or ()):
                degree = ANY  # no element that could disagree
            if output not in ends:
                degrees[output] = degree if constant is None else degree_of_constant(constant)
    degree = degrees[target]
    if offenders:
        return Proof(None, offenders)
    return Proof(CONSTANT if degree is ANY else degree, [])


def _inferred(graph: ir.Graph, sources: set[ir.Value]) -> dict[ir.Value, Known]:
    """What is known of every value, without contents that come from a source that is constant."""
    known = infer(graph, {})
    constant = reachable(graph, [v for v in sources if known[v].value is not None])
    return known | {v: replace(known[v], value=None) for v in constant}


def _degrees(context: Context) -> list[Degree]:
    """Degrees of a node's outputs by its operator's rule."""
    node = context.node
    narrow = _too_narrow(context, node.inputs, context.degrees)
    if narrow is not None:
        raise Offence(f"reads {narrow}, which cannot be scaled by every a", context.degree())
    rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        raise Offence("no homogeneity rule", largest(context.degrees))
    found = rule(context)
    count = len(node.outputs)
    degrees = found[:count] if isinstance(found, list) else [found] * count
    narrow = _too_narrow(context, node.outputs, degrees)
    if narrow is not None:
        raise Offence(f"makes {narrow}, which cannot be scaled by every a", CONSTANT)
    return degrees


def _too_narrow(
    context: Context, values: Sequence[ir.Value | None], degrees: Sequence[Degree]
) -> str | None:
    """The type of a value that is scaled, if it is an integer or a float of a few bits."""
    for value, degree in zip(values, degrees, strict=False):
        dtype = context.dtype(value)
        if scales(degree) and dtype is not None and dtype not in SCALABLE:
            return dtype.name
    return None


def _operator(node: ir.Node) -> str:
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type
