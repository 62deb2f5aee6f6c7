"""What the ONNX schemas call differentiable, and what the registry has a rule for."""

from dataclasses import dataclass, field
from functools import cache

import onnx
from onnx.defs import OpSchema

from onnxshap.autodiff.registry import BLOCKED, RuleSet, since_versions
from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.lower import REWRITES

_Category = OpSchema.DifferentiationCategory

EXTRAS: dict[str, tuple[int, ...]] = {
    "AffineGrid": (0,),
    "Attention": (0, 1, 2, 3, 4, 5),
    "DFT": (0,),
    "DeformConv": (0, 1, 2, 3, 4),
    "DequantizeLinear": (1,),
    "If": (),
    "LayerNormalization": (0, 1, 2),
    "OneHot": (2,),
    "QuantizeLinear": (0, 1),
    "RMSNormalization": (0, 1),
    "ReverseSequence": (0,),
    "RoiAlign": (0, 1),
    "RotaryEmbedding": (0, 1, 2),
    "STFT": (0, 2),
    "Scan": (),
}
"""Operators to be differentiated though their schema says nothing of it, or that they cannot be.

With the inputs that count: the smooth ones, whatever the schema marks. If and Scan: what their
subgraphs read.
"""

PARAMETERS: dict[str, tuple[int, ...]] = {"Range": (0, 1, 2), "Resize": (1, 2), "Upsample": (1,)}
"""Float inputs that sizes follow from, in versions whose schema does not mark them."""


@cache
def differentiable() -> dict[str, tuple[int, ...]]:
    """Inputs that the newest schema of every live ai.onnx operator marks differentiable."""
    newest: dict[str, OpSchema] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        known = newest.get(schema.name)
        if schema.domain == "" and (known is None or schema.since_version > known.since_version):
            newest[schema.name] = schema
    marked = {
        name: tuple(
            i
            for i, formal in enumerate(schema.inputs)
            if formal.differentiation_category == _Category.Differentiable
        )
        for name, schema in sorted(newest.items())
        if not schema.deprecated
    }
    return {name: inputs for name, inputs in marked.items() if inputs}


def held(op: str, domain: str, opset: int, position: int) -> bool:
    """Whether an operator's input is a parameter that no derivative is asked for.

    What the schema marks non-differentiable, other than what `EXTRAS` names.
    """
    if position in EXTRAS.get(op, ()):
        return False
    if position in PARAMETERS.get(op, ()):
        return True
    formals = onnx.defs.get_schema(op, opset, domain).inputs
    formal = formals[min(position, len(formals) - 1)]
    return bool(formal.differentiation_category == _Category.NonDifferentiable)


@dataclass(frozen=True)
class Coverage:
    """Operators, (operator, input) pairs and extras: those with a rule, and those without."""

    operators: int
    """How many have a rule for every input that counts."""
    pairs: int
    extras: int
    of: tuple[int, int, int]
    """How many operators, pairs and extras there are."""
    missing: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Inputs without a rule, by operator."""


def coverage(rules: RuleSet) -> Coverage:
    """Compare ``rules`` with what the installed ONNX declares differentiable."""
    declared = differentiable()
    missing: dict[str, tuple[int, ...]] = {}
    for op, inputs in (declared | EXTRAS).items():
        uncovered = tuple(i for i in inputs if not covers(rules, op, i))
        if uncovered or not covers(rules, op):
            missing[op] = uncovered
    pairs = sum(map(len, declared.values()))
    return Coverage(
        operators=sum(op not in missing for op in declared),
        pairs=pairs - sum(len(missing.get(op, ())) for op in declared),
        extras=sum(op not in missing for op in EXTRAS),
        of=(len(declared), pairs, len(EXTRAS)),
        missing=missing,
    )


def covers(rules: RuleSet, op: str, position: int | None = None) -> bool:
    """Whether there is a rule for the newest readable version of an operator (and one input).

    An operator that is replaced by others before differentiation needs none, nor one whose
    derivative is zero on purpose.
    """
    if op in EXPANDED or op in REWRITES or op in BLOCKED:
        return True
    rule = rules.rules.get(("", op, since_versions(op)[-1]))
    if rule is None:
        return False
    return position is None or rule.inputs is None or position in rule.inputs
