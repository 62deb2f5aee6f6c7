"""No rule without a row, no row without a rule; what registration refuses; what rules emit."""

import onnx_ir as ir
import pytest

from onnxshap.autodiff.registry import BLOCKED, RuleSet, multiplier, shap, since_versions, vjp
from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.normalize import OPSETS
from tests.helpers.cases import CASES, FLOAT32_ALONE, Case
from tests.helpers.gradcheck import emit

ROWS = {case.op for case in CASES}
SETS = [vjp, multiplier, shap]


@pytest.mark.parametrize("rules", SETS, ids=[s.name for s in SETS])
def test_every_rule_has_a_row(rules: RuleSet) -> None:
    registered = {op for domain, op, _ in rules.rules if not domain} - FLOAT32_ALONE
    assert registered <= ROWS, f"add rows to tests/helpers/cases/: {sorted(registered - ROWS)}"


def test_every_row_has_a_rule() -> None:
    registered = {op for _, op, _ in (*vjp.rules, *multiplier.rules)}
    assert registered >= ROWS - EXPANDED


ELSEWHERE = {"Celu", "LinearAttention", "RotaryEmbedding"}
"""Rows are float64, which these refuse: see tests/graph/test_expand.py and graph/lower/."""


def test_what_is_expanded_has_a_row_and_no_rule() -> None:
    assert EXPANDED - ELSEWHERE <= ROWS
    assert not EXPANDED & {op for _, op, _ in (*vjp.rules, *multiplier.rules)}


def test_every_row_has_a_name_of_its_own() -> None:
    names = [case.id for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rules", SETS, ids=[s.name for s in SETS])
def test_rules_cover_every_version_in_range(rules: RuleSet) -> None:
    for domain, op, _ in rules.rules:
        found = {since for d, o, since in rules.rules if (d, o) == (domain, op)}
        assert found == set(since_versions(op, domain)), op


def test_blocked_operators_have_no_gradient_rule() -> None:
    assert not BLOCKED & {op for _, op, _ in vjp.rules}


def test_a_second_rule_is_refused() -> None:
    fresh = RuleSet("vjp")
    fresh("Tanh")(print)
    with pytest.raises(
        ValueError, match=r"^a vjp rule for ai\.onnx@13::Tanh is registered already$"
    ):
        fresh("Tanh")(print)
    with pytest.raises(ValueError, match=r"a vjp rule for ai\.onnx@13::Tanh is registered already"):
        vjp("Tanh")(print)


@pytest.mark.parametrize("since", [(7,), (13, 14), (99,)])
def test_a_version_that_never_was_is_refused(since: tuple[int, ...]) -> None:
    said = (
        rf"^ai\.onnx::Tanh has since-versions \(13,\) in opsets {OPSETS[0]} to {OPSETS[-1]}, "
        rf"not \({since[0]},"
    )
    with pytest.raises(ValueError, match=said):
        RuleSet("vjp")("Tanh", since=since)


def test_versions_of_other_domains_are_not_checked() -> None:
    fresh = RuleSet("vjp")
    fresh("Swoosh", domain="org.example")(print)
    assert list(fresh.rules) == [("org.example", "Swoosh", 0)]


def is_integer(node: ir.Node) -> bool:
    return all(o.dtype is not None and not o.dtype.is_floating_point() for o in node.outputs)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.id) for c in CASES])
def test_gradients_can_be_differentiated_again(case: Case) -> None:
    differentiable = {op for _, op, _ in vjp.rules} | BLOCKED
    program = emit(case).program
    emitted = [n for n in program.model.graph if n.metadata_props.get("onnxshap.side")]
    foreign = {n.op_type for n in emitted if n.op_type not in differentiable and not is_integer(n)}
    assert not foreign
