"""``python -m onnxshap.scoreboard.operators``: what becomes of every operator, as a page.

All of it is read from the registries; ``make operators`` writes it to OPERATORS.md.
"""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema

import onnxshap.autodiff.rules.multiplier
import onnxshap.autodiff.rules.shap
import onnxshap.autodiff.rules.vjp  # noqa: F401  registers the rules
from onnxshap.autodiff.registry import (
    BLOCKED,
    MEANING,
    Rule,
    RuleSet,
    multiplier,
    shap,
    since_versions,
    vjp,
)
from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.lower import REWRITES
from onnxshap.graph.lower.lowering import Rewrite
from onnxshap.graph.lower.training import TRAINING
from onnxshap.graph.lower.vendor.attention import refused
from onnxshap.scoreboard.schemas import coverage

_VENDOR = "com.microsoft::"
_MANY = OpSchema.FormalParameterOption.Variadic

_HEAD = """# Operators

Written by `make operators` from the registries; not to be edited.

An operator has rules of its own, or is replaced before anything is differentiated: by ONNX's own
definition of it, or rewritten, in operators that have rules. *Since* are the versions of its
definition that are known, of those that opsets 18 to 26 use. g is the cotangent of the output y, m
its multiplier; x and r are explicand and reference, d = x - r, and W' is W transposed. A
*multiplier* is of the kind that `onnxshap.check` reports:
"""


def page() -> str:
    """The page, in Markdown."""
    own = {r.op_type: r for r in vjp.rules.values() if not r.domain}
    rewritten = {op: f for op, f in REWRITES.items() if _VENDOR not in op and op not in EXPANDED}
    vendor = {op.removeprefix(_VENDOR): f for op, f in REWRITES.items() if _VENDOR in op}
    parts = [
        _HEAD,
        *_kinds(own),
        *_counts(own, rewritten, vendor),
        *_rules(own),
        "\n## By ONNX's own definition\n",
        *_table(("operator", "since"), ([op, _since(op)] for op in sorted(EXPANDED))),
        "\n## Rewritten\n",
        *_rewrites(rewritten),
        "\n## Rewritten in training\n\nElsewhere these have rules of their own.\n",
        *_rewrites(TRAINING),
        "\n## com.microsoft\n\nRewritten in operators of ONNX, quantised ones in float between "
        "QuantizeLinear and DequantizeLinear.\n",
        *_rewrites(vendor, versions=False),
        "\n## Derivative zero",
        *_blocked(),
    ]
    return "\n".join(parts) + "\n"


# Counts -------------------------------------------------------------------------------------------


def _kinds(own: Mapping[str, Rule]) -> Iterator[str]:
    counts = Counter(rule.family for op in own if (rule := _multiplier(op)) is not None)
    rows = ([kind, str(counts[kind]), what] for kind, what in MEANING.items() if counts[kind])
    return _table(("multiplier", "operators", "meaning"), rows)


def _counts(
    own: Mapping[str, Rule], rewritten: Mapping[str, Rewrite], vendor: Mapping[str, Rewrite]
) -> Iterator[str]:
    found = coverage(vjp)
    declared, pairs, extras = found.of
    missing = ", ".join(sorted(found.missing))
    barred = sum(f is refused for f in vendor.values())
    differing = ", ".join(sorted({op for _, op, _ in shap.rules}))
    yield from _wrapped(
        f"Of ai.onnx {len(own)} operators have rules of their own, {len(EXPANDED)} go by their "
        f"definition, {len(rewritten)} are rewritten, and {len(BLOCKED)} have a derivative of "
        f"zero. Of com.microsoft {len(vendor) - barred} are rewritten; {barred} are refused, with "
        "a remedy."
    )
    yield from _wrapped(
        f"ONNX's schemas call {declared} operators differentiable, in {pairs} of their inputs: "
        f"{found.operators} can be differentiated, in {found.pairs} of them. So can "
        f"{found.extras} of {extras} operators of which the schemas say nothing, or deny it. "
        f"Missing: {missing or 'none'}."
    )
    yield from _wrapped(f'`rules="shap"` has multipliers of its own for {differing}.')


def _wrapped(text: str) -> Iterator[str]:
    yield "\n" + textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


# Tables -------------------------------------------------------------------------------------------


def _rules(own: Mapping[str, Rule]) -> Iterator[str]:
    """A table for every file of gradient rules."""
    files: dict[str, list[Rule]] = defaultdict(list)
    for rule in own.values():
        files[_module(rule.function)].append(rule)
    titles = ("operator", "since", "inputs", "gradient", "multiplier", "formula")
    for name in sorted(files):
        rules = sorted(files[name], key=lambda rule: rule.op_type)
        yield f"\n## {name.capitalize()} ({len(rules)})\n"
        yield from _table(titles, map(_row, rules))


def _row(rule: Rule) -> list[str]:
    op = rule.op_type
    kind, formula, found = "none", "", _multiplier(op)
    if found is not None:
        kind = found.family
        if kind == "product" or found.linear is not None:
            kind += ", or exact-linear"  # where one factor moves, or the conditions do not
        formula = found.formula
        if found.name == vjp.name:
            formula = "the gradient" + (" at the midpoint" if found.family == "product" else "")
    return [op, _since(op), _inputs(rule), rule.formula, kind, formula]


def _rewrites(rewrites: Mapping[str, Rewrite], versions: bool = True) -> Iterator[str]:
    rows = []
    for op, rewrite in sorted(rewrites.items()):
        note = (rewrite.__doc__ or "").strip().split("\n")[0]
        note = f"refused: {note}" if rewrite is refused else note
        rows.append([op, *([_since(op)] if versions else []), _module(rewrite), note])
    return _table(("operator", *(["since"] if versions else []), "file", "what it is"), rows)


def _blocked() -> Iterator[str]:
    stepping = {op: rule for op in sorted(BLOCKED) if (rule := _multiplier(op)) is not None}
    yield from _wrapped(f"Nothing flows back through {', '.join(sorted(BLOCKED - set(stepping)))}.")
    yield "\nOf these the gradient is zero, but not the multiplier:\n"
    rows = ([op, _since(op), rule.family, rule.formula] for op, rule in stepping.items())
    yield from _table(("operator", "since", "multiplier", "formula"), rows)


def _table(titles: tuple[str, ...], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"| {' | '.join('---' for _ in titles)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


# Cells --------------------------------------------------------------------------------------------


def _multiplier(op: str) -> Rule | None:
    """The rule for the newest version, by the rule set's own way of finding one."""
    return _find(multiplier, op)


def _find(rules: RuleSet, op: str) -> Rule | None:
    return rules.find(ir.Node("", op, []), {"": since_versions(op)[-1]})


def _since(op: str) -> str:
    found = since_versions(op)
    if found == (0,):  # newer than what runtimes read, so replaced
        found = (onnx.defs.get_schema(op).since_version,)
    return ", ".join(map(str, found))


def _inputs(rule: Rule) -> str:
    formals = onnx.defs.get_schema(rule.op_type, max(rule.since)).inputs
    names = [f"{f.name}..." if f.option == _MANY else f.name for f in formals]
    return ", ".join(n for i, n in enumerate(names) if rule.inputs is None or i in rule.inputs)


def _module(function: Any) -> str:
    """Name of the file that a rule is written in."""
    return str(function.__module__).rpartition(".")[2]


if __name__ == "__main__":
    print(page(), end="")
