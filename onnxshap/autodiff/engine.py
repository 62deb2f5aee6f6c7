"""One reverse walk over a graph, parameterised by a rule set.

With `vjp` rules what flows backward are cotangents, with `multiplier` rules DeepLIFT multipliers.
Fan-out, broadcasting, naming and the two forms of a batch are handled here, never in a rule.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import onnx_ir as ir

from onnxshap.autodiff.context import Context, MidpointContext
from onnxshap.autodiff.lift import Lift
from onnxshap.autodiff.masked import masked_rows
from onnxshap.autodiff.registry import (
    BLOCKED,
    WITH_ANOTHER,
    Family,
    Rule,
    RuleSet,
    since_version,
    spell,
)
from onnxshap.autodiff.remedies import gives_text, remedies
from onnxshap.autodiff.unary import decisive, roots
from onnxshap.errors import UnsupportedOpError
from onnxshap.graph.batch import Layout, Layouts
from onnxshap.graph.dependence import QUANTISED, ancestors, node_inputs

# Linear in all their float inputs together: what one contributes does not depend on the others.
_ADDITIVE = frozenset(("Add", "Concat", "Mean", "Sub", "Sum", "TensorScatter"))


@dataclass
class Cotangent:
    """What flows backward along one value: pair or flat form, over one or all references."""

    value: ir.Value
    flat: bool
    spread: bool


@dataclass
class Walk:
    """One reverse walk: what to differentiate, by which rules, emitting where."""

    graph: ir.Graph
    opsets: dict[str, int]
    rules: RuleSet
    lift: Lift
    sources: list[ir.Value]
    target: ir.Value
    references: dict[ir.Value, ir.Value] = field(default_factory=dict)
    """Reference-side counterpart of every value that can differ between the sides."""

    def __post_init__(self) -> None:
        self.path = Path(
            self.graph, self.opsets, self.rules, self.sources, self.target, self.references
        )
        self.nodes, self.ends = list(self.graph), set(self.sources)  # before anything is emitted
        masked = masked_rows(self.path.nodes)
        self.lift.masked |= masked | {self.references[v] for v in masked if v in self.references}

    def run(self, seed: ir.Value) -> dict[ir.Value, ir.Value]:
        """Propagate ``seed`` (pair form, laid out like the target, references not spread).

        Returns the cotangent of every source in pair form. Sources the target does not depend
        on are missing.
        """
        self.path.require_rules(self.lift.layouts, self.references)
        arriving: dict[ir.Value, list[Cotangent]] = {self.target: [Cotangent(seed, False, False)]}
        for node in reversed(self.nodes):
            if node not in self.path.nodes or not any(o in arriving for o in node.outputs):
                continue
            rule = self.rules.find(node, self.opsets)
            assert rule is not None
            scope = self.lift.op.scope(
                f"{self.rules.kind}/{node.name}",
                doc=rule.formula,
                side="backward",
                rule=self.path.family(node, self.references) if self.references else "vjp",
                of=node.name or "",
            )
            with scope:
                for value, cotangent in self._step(node, rule, arriving):
                    arriving.setdefault(value, []).append(cotangent)
        with self.lift.op.scope(f"{self.rules.kind}/inputs", side="backward"):
            return {
                source: self._in_form(self._sum(source, arriving), source, False)
                for source in self.sources
                if source in arriving
            }

    def rules_hash(self) -> str:
        """sha256 over the rules this walk uses: which, for what versions, by what formula."""
        used = {self.rules.find(node, self.opsets) for node in self.path.order} - {None}
        lines = sorted(
            f"{r.name} {spell(r.domain, r.op_type, max(r.since))} {r.form} {r.family} {r.formula}"
            for r in used
            if r is not None
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _step(
        self, node: ir.Node, rule: Rule, arriving: dict[ir.Value, list[Cotangent]]
    ) -> Iterable[tuple[ir.Value, Cotangent]]:
        flat = rule.form == "flat"
        kind = MidpointContext if rule.family == "product" and self.references else Context
        outputs = node.outputs if rule.outputs is None else node.outputs[: rule.outputs]
        totals = [self._sum(o, arriving) if o in arriving else None for o in outputs]
        spread = any(t.spread for t in totals if t is not None)
        if flat and not spread and self._reads_batches(node):
            totals = [t and self._spread(t, o) for t, o in zip(totals, outputs, strict=True)]
            spread = True
        cotangents = [
            None if t is None else self._in_form(t, o, flat)
            for t, o in zip(totals, outputs, strict=True)
        ]
        view = node, rule.form, self.lift, self.references, self.path.active
        ctx = kind(*view, self.ends, spread)
        ctx.root = self.path.roots.get(node)
        returned = rule.function(ctx, *cotangents)
        for i, source in enumerate(node.inputs):
            if i == 0 and ctx.root is not None:
                source = ctx.root
            elif source not in self.path.active or not self.path.carries(node, i):
                continue
            value = returned[i] if i < len(returned) else None
            if value is None:
                raise UnsupportedOpError(
                    f'the {self.rules.kind} rule of {node.op_type}, node "{node.name}", returned '
                    f"nothing for input {i}, which the explained input reaches"
                )
            if value is WITH_ANOTHER:
                continue
            if rule.form == "elementwise":
                value = self._unbroadcast(value, self._broadcast_layout(node), source)
            yield source, Cotangent(value, flat, ctx.is_spread)

    def _reads_batches(self, node: ir.Node) -> bool:
        """Whether a flat rule multiplies by something that differs from sample to sample."""
        if "references" not in self.lift.sizes:
            return False
        held = [v for v in node.inputs if v is not None and v not in self.path.active]
        per_sample = any(self.lift.layouts[v].batch is not None for v in held)
        return self.path.family(node, self.references) != "exact-linear" or per_sample

    def _broadcast_layout(self, node: ir.Node) -> Layout:
        return self.lift.layouts[node.outputs[0]]

    def _unbroadcast(self, value: ir.Value, output: Layout, source: ir.Value) -> ir.Value:
        """Sum a cotangent of the output's shape back to the shape of the input it belongs to."""
        own = self.lift.layouts[source]
        missing = len(output.dims) - len(own.dims)
        axes = list(range(missing))
        for k, dim in enumerate(own.dims):
            stretched = output.dims[k + missing] != 1 and k + missing != output.batch
            if dim == 1 and stretched:
                axes.append(k + missing)
        if not axes:
            return value
        op = self.lift.op
        places = [self.lift.axis(a, output) for a in axes]
        value = op.ReduceSum(value, places, keepdims=1)
        return op.Squeeze(value, list(range(missing))) if missing else value

    def _sum(self, value: ir.Value, arriving: dict[ir.Value, list[Cotangent]]) -> Cotangent:
        """Sum over the consumers of ``value``; remembered, so that asking twice emits once."""
        parts = arriving[value]
        if len(parts) == 1:
            return parts[0]
        spread = any(p.spread for p in parts)
        flat = all(p.flat for p in parts) and len({p.spread for p in parts}) == 1
        with self.lift.op.scope(f"{self.rules.kind}/{value.name}", side="backward"):
            formed = [self._in_form(part, value, flat) for part in parts]
            # What is repeated comes last: Add broadcasts it, and nothing is copied.
            total, *rest = sorted(formed, key=lambda v: self.lift.once(v) is not v)
            for part in rest:
                total = self.lift.op.Add(total, self.lift.once(part))
        arriving[value] = [Cotangent(total, flat, spread)]
        return arriving[value][0]

    def _in_form(self, cotangent: Cotangent, value: ir.Value, flat: bool) -> ir.Value:
        layout = self.lift.layouts[value]
        if cotangent.flat == flat:
            return cotangent.value
        if flat:
            return self.lift.flatten(cotangent.value, layout, value)
        return self.lift.unflatten(cotangent.value, layout, cotangent.spread, value)

    def _spread(self, cotangent: Cotangent, value: ir.Value) -> Cotangent:
        pair = self._in_form(cotangent, value, False)
        return Cotangent(self.lift.spread(pair, self.lift.layouts[value]), False, True)


class Path:
    """The nodes between sources and target that something can flow back through."""

    def __init__(
        self,
        graph: ir.Graph,
        opsets: dict[str, int],
        rules: RuleSet,
        sources: list[ir.Value],
        target: ir.Value,
        varying: Iterable[ir.Value] = (),
    ) -> None:
        """``varying``: what differs between the sides though it depends on no source."""
        self.opsets, self.rules, self.sources, self.target = opsets, rules, sources, target
        chosen = roots(graph, sources, varying) if rules.kind == "multiplier" else {}
        forward = self._forward(graph, chosen)
        needed = ancestors(graph, [target])
        self.active = {v for v in forward & needed if v.dtype is None or _carries(v.dtype)}
        self.roots = {n: t for n, t in chosen.items() if t in self.active}
        """Values that the condition of a Where is credited to, see `unary.roots`."""
        self.order = [
            n
            for n in graph
            if any(o in self.active for o in n.outputs)
            and (
                n in self.roots
                or any(
                    v in self.active and self.carries(n, i) for i, v in enumerate(node_inputs(n))
                )
            )
        ]
        self.nodes = set(self.order)
        self.blocked = [
            n
            for n in graph
            if any(v in self.active for v in node_inputs(n))
            and any(o in needed for o in n.outputs)
            and n not in self.nodes
        ]
        decide = decisive(graph, self.roots)
        self.blocked = [n for n in self.blocked if n not in decide]

    def _forward(self, graph: ir.Graph, chosen: dict[ir.Node, ir.Value]) -> set[ir.Value]:
        """Values that sources reach, also by way of the conditions of ``chosen`` Wheres."""
        reached = set(self.sources)
        for node in graph:
            inputs = enumerate(node_inputs(node))
            if any(v in reached and self.carries(node, i) for i, v in inputs):
                reached.update(node.outputs)
            elif chosen.get(node) in reached:
                reached.add(node.outputs[0])
        return reached

    def carries(self, node: ir.Node, index: int) -> bool:
        """Whether a derivative can flow through input ``index`` of ``node``."""
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None:
            return True  # read inside a subgraph: unsupported, and reported as such
        if value.dtype is not None and not _carries(value.dtype):
            return False
        quantised = value.dtype in QUANTISED
        if node.domain in ("", "ai.onnx") and node.op_type in BLOCKED:
            return self.rules.find(node, self.opsets) is not None
        output = node.outputs[0].dtype
        if output in QUANTISED and (quantised or node.op_type == "QuantizeLinear"):
            return True
        return output is None or output.is_floating_point() or len(node.outputs) > 1

    def family(self, node: ir.Node, varying: Collection[ir.Value] = ()) -> Family:
        """How ``node`` is treated, in `onnxshap.check`'s words."""
        if node not in self.nodes:
            return "unsupported" if gives_text(node) else "blocked"
        rule = self.rules.find(node, self.opsets)
        if rule is None or self._misfit(node, rule) is not None:
            return "unsupported"
        active = [v for v in node.inputs if v in self.active]
        if rule.family == "product" and len(active) == 1 and len(set(active)) == 1:
            return "exact-linear"
        if node in self.roots:
            return "rescale"
        moving = {i for i, v in enumerate(node.inputs) if v in self.active or v in varying}
        if rule.linear is not None and rule.linear(node, moving):
            return "exact-linear"
        return rule.family

    def _misfit(self, node: ir.Node, rule: Rule) -> str | None:
        """Why ``rule`` does not cover this use of the operator, if so."""
        for i, value in enumerate(node.inputs):
            if value in self.active and rule.inputs is not None and i not in rule.inputs:
                return f"its input {i} depends on the explained input"
        count = len(node.outputs) if rule.outputs is None else rule.outputs
        if any(o in self.active for o in node.outputs[count:]):
            return f"an output beyond the first {count} reaches the target"
        return None

    def require_rules(self, layouts: Layouts, references: Iterable[ir.Value] = ()) -> None:
        """Raise one error that names every node on the path without a rule."""
        varying = set(references)
        found = {n: p for n in self.order if (p := self._problem(n, layouts, varying)) is not None}
        found |= {n: f"{self._named(n)}: it gives text" for n in self.blocked if gives_text(n)}
        if found:
            listed = "\n  ".join(found.values())
            ends = f'from "{self.sources[0].name}" to "{self.target.name}"'
            raise UnsupportedOpError(
                f"{len(found)} node(s) on the path {ends} cannot be differentiated:\n"
                f"  {listed}\n{remedies(found, self.rules.kind)}"
            )

    def _named(self, node: ir.Node) -> str:
        operator = spell(node.domain, node.op_type, since_version(node, self.opsets))
        return f'{operator}, node "{node.name}" (output "{node.outputs[0].name}")'

    def _problem(self, node: ir.Node, layouts: Layouts, varying: set[ir.Value]) -> str | None:
        rule = self.rules.find(node, self.opsets)
        if rule is None:
            return f"no {self.rules.kind} rule for {self._named(node)}"
        reason = self._misfit(node, rule)
        if reason is None and rule.family == "exact-linear" and varying:
            held = [v for v in node.inputs if v is not None and v not in self.active]
            if node.op_type in _ADDITIVE and not node.domain:
                held = [v for v in held if v.dtype is None or not v.dtype.is_floating_point()]
            if any(v in varying for v in held):
                reason = "an input that is not explained differs between explicand and reference"
        return f"{self._named(node)}: {reason}" if reason else None


def _carries(dtype: ir.DataType) -> bool:
    """Whether derivatives flow along values of ``dtype``: not along indices and conditions."""
    return dtype.is_floating_point() or dtype in QUANTISED
