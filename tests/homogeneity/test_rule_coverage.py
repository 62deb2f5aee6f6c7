"""No rule without a row, no row without a rule; what registration refuses."""

import onnx
import pytest

from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.normalize import OPSETS
from onnxshap.homogeneity.registry import RULES, rule
from tests.helpers.degrees import ROWS

ELSEWHERE = {
    "DequantizeLinear",
    "If",
    "Loop",
    "Multinomial",
    "RandomNormal",
    "RandomUniform",
    "Scan",
}
"""Operators that take more than one node to be tested: see test_proof.py."""


def test_every_rule_has_a_row() -> None:
    without = set(RULES) - {row.op for row in ROWS} - ELSEWHERE
    assert not without, f"add rows to tests/helpers/degrees.py: {sorted(without)}"


def test_every_row_has_a_rule() -> None:
    assert {row.op for row in ROWS} <= set(RULES) | EXPANDED


def test_what_is_expanded_needs_no_rule() -> None:
    assert not EXPANDED & set(RULES)


def test_every_rule_says_what_it_does() -> None:
    assert all((function.__doc__ or "").strip() for function in RULES.values())


def test_every_rule_is_of_an_operator() -> None:
    assert [op for op in RULES if not onnx.defs.has(op, OPSETS[-1])] == []


def test_rules_were_read_against_these_versions() -> None:
    # A rule counts for every version of its operator. Before widening this range, read what
    # changed in the operators that have a rule.
    assert (OPSETS[0], OPSETS[-1]) == (18, 26)


def test_a_second_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a homogeneity rule for Relu is registered already$"):
        rule("Relu")(lambda ctx: ctx.degree())
