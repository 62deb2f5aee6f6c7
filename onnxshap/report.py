"""What onnxshap makes of a model, before anything runs: every node, its rule, and the batch."""

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxshap.autodiff.engine import Path
from onnxshap.autodiff.registry import MEANING, Family, multiplier, since_version, spell
from onnxshap.graph.dependence import carries_numbers, reachable
from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.homogeneity import Proof, prove
from onnxshap.methods.draft import Draft


@dataclass(frozen=True)
class NodeReport:
    """One node between the explained inputs and the output."""

    name: str
    operator: str
    """Spelt ``ai.onnx@13::Tanh``."""
    family: Family
    formula: str
    """What flows back, in one line."""


@dataclass(frozen=True)
class WrittenOut:
    """One node of the model that other nodes stand for: an LSTM, or a vendor's fused operator."""

    name: str
    operator: str
    """Spelt ``com.microsoft::FusedConv``."""
    into: tuple[str, ...]
    """The operators of the nodes on the path that stand for it."""


@dataclass(frozen=True)
class Report:
    """What `check` found. ``str()`` for a terminal, an HTML table in a notebook."""

    nodes: list[NodeReport]
    sources: list[str]
    output: str
    batch: str
    """How explicands and references are batched, and if one pair at a time, why."""
    closed: bool
    """Whether the explained values cut every path from the inputs: a residual then has meaning."""
    homogeneity: Proof
    """Whether f(a x) = a^k f(x): then method ``"x_gradient"`` holds."""
    written_out: list[WrittenOut] = field(default_factory=list)
    """Nodes that were replaced by others, which are in ``nodes``."""

    @property
    def ok(self) -> bool:
        """Whether every node on the path is supported."""
        return not self.named("unsupported")

    def named(self, family: Family) -> list[NodeReport]:
        """Nodes of one family, e.g. ``"fallback"``."""
        return [n for n in self.nodes if n.family == family]

    @property
    def families(self) -> dict[Family, int]:
        """How many nodes each family has, in the order of `NodeReport.family`'s meaning."""
        counts = Counter(n.family for n in self.nodes)
        return {family: counts[family] for family in MEANING if counts[family]}

    @property
    def replaced(self) -> list[str]:
        """Which operators were written out, and as what."""
        counts = Counter((w.operator, w.into) for w in self.written_out)
        return [
            f"written out: {count} {operator}, as {', '.join(into)}"
            for (operator, into), count in counts.items()
        ]

    @property
    def x_dnn(self) -> list[str]:
        """What is proven of f(a x), or what breaks it; `xdnn.certify` names every node."""
        proof = self.homogeneity
        if proof.ok:
            return [f"X-DNN: yes, {proof.law}"]
        causes = [f"{len(n):5d}  {op:12s} {why}" for (op, why), n in proof.reasons().items()]
        return [f"X-DNN: no, {proof.objection}", *causes]

    def __str__(self) -> str:
        lines = [
            f"{', '.join(self.sources)} -> {self.output}: {len(self.nodes)} nodes on the path, "
            f"{'all supported' if self.ok else 'NOT all supported'}",
            f"batch: {self.batch}",
        ]
        if not self.closed:
            lines.append("residual: none, the explained values do not cut every path to the output")
        lines += self.replaced
        for family, count in self.families.items():
            lines.append(f"{count:5d}  {family:12s} {MEANING[family]}")
            operators = Counter(n.operator for n in self.named(family))
            lines.append(" " * 20 + ", ".join(f"{o} {c}" for o, c in operators.most_common()))
        lines += self.x_dnn
        for family in ("unsupported", "fallback", "blocked"):
            for node in self.named(family):
                lines.append(f'{family}: {node.operator}, node "{node.name}"')
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{html.escape(cell)}</td>"
                for cell in (n.name, n.operator, n.family, n.formula)
            )
            + "</tr>"
            for n in self.nodes
        )
        head = html.escape(str(self).split("\n")[0]) + "<br>batch: " + html.escape(self.batch)
        head += "".join("<br>" + html.escape(line) for line in [*self.replaced, *self.x_dnn])
        titles = "".join(f"<th>{t}</th>" for t in ("node", "operator", "family", "rule"))
        return f"<p>{head}</p><table><tr>{titles}</tr>{rows}</table>"


def check(
    model: ModelSource | Model,
    *,
    output: str | None = None,
    inputs: str | Sequence[str] | None = None,
) -> Report:
    """Report how each node between inputs and output is differentiated. Runs nothing.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
    output, inputs : str, optional
        As for `Explainer`.

    Returns
    -------
    Report
        ``report.ok`` says whether the model can be explained.
    """
    asked = [inputs] if isinstance(inputs, str) else inputs
    draft = Draft(load(model), output, asked)
    opsets = dict(draft.graph.opset_imports)
    path = Path(draft.graph, opsets, multiplier, draft.sources, draft.target)
    varying = reachable(draft.graph, draft.sources, carries_numbers)
    blocked = [n for n in path.blocked if carries_numbers(n, 0)]
    rows = [_node(n, path, opsets, varying) for n in [*path.order, *blocked]]
    return Report(
        nodes=rows,
        sources=[str(v.name) for v in draft.sources],
        output=str(draft.target.name),
        batch=_batch(draft),
        closed=draft.closed,
        homogeneity=prove(draft.graph, draft.sources, draft.target),
        written_out=_written_out([*path.order, *blocked]),
    )


def _node(node: ir.Node, path: Path, opsets: dict[str, int], varying: set[ir.Value]) -> NodeReport:
    rule = path.rules.find(node, opsets)
    family = path.family(node, varying)
    formula = rule.formula if rule is not None and family != "blocked" else ""
    operator = spell(node.domain, node.op_type, since_version(node, opsets))
    return NodeReport(node.name or "", operator, family, formula)


def _written_out(nodes: Sequence[ir.Node]) -> list[WrittenOut]:
    found: dict[tuple[str, str], dict[str, None]] = {}
    for node in nodes:
        notes = node.metadata_props
        if "onnxshap.written_out" in notes:
            operator = notes["onnxshap.written_out"]
            spelt = operator if "::" in operator else f"ai.onnx::{operator}"
            found.setdefault((notes["onnxshap.of"], spelt), {})[node.op_type] = None
    return [WrittenOut(name, operator, tuple(into)) for (name, operator), into in found.items()]


def _batch(draft: Draft) -> str:
    if draft.layouts.separable:
        axes = sorted({a for v in draft.sources if (a := draft.layouts[v].batch) is not None})
        listed = ", ".join(str(a) for a in axes)
        return f"samples stay separate (axis {listed}); confirmed by a run when explaining"
    return f"one pair at a time: {draft.layouts.mixing}"
