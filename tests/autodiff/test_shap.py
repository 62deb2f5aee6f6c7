"""Rules of ``rules="shap"``: by formula, at and around their thresholds; what they leave exact.

That they are shap's is shown by its own numbers, in tests/methods/test_shap_parity.py.
"""

import numpy as np
import pytest

from onnxshap.autodiff.registry import RuleSet, multiplier, shap
from onnxshap.methods import DeepShap
from tests.autodiff.formulas import SHAP
from tests.autodiff.test_formulas import expected
from tests.helpers.cases import CASES, Case
from tests.helpers.gradcheck import Arrays, Multipliers, balance, emit, relative_gap, seeds

OPERATORS = {op for _, op, _ in shap.rules}
ROWS = [pytest.param(c, id=c.id) for c in CASES if c.op in OPERATORS]
STEPS = (0.0, 4e-8, -4e-8, 2e-7, 9e-7, -9e-7, 2e-6, -2e-6)
"""Differences on both sides of the thresholds, 1e-6 and 1e-7."""

EXACT = 1e-9


def around(case: Case, x: Arrays, rng: np.random.Generator) -> Arrays:
    """References of which half the elements are an explicand's, or within some of `STEPS` of it."""
    far = case.draw(rng, len(x["x0"]))["x0"]
    near = x["x0"] + rng.choice(STEPS, far.shape)
    return x | {"x0": np.where(rng.random(far.shape) < 0.5, near, far)}


def gap(case: Case, x: Arrays, r: Arrays, rng: np.random.Generator) -> float:
    """Worst difference from the formula over explicand n and reference n."""
    seed = seeds(case, rng, 1, x)
    found = emit(case, Multipliers(shap)).contributions(x, seed, r)["x0"]
    gaps = []
    for n in range(len(r["x0"])):
        own, other = ({i: v[n : n + 1] for i, v in side.items()} for side in (x, r))
        slopes = expected(case, own, other, seed[0, n : n + 1], SHAP)
        gaps.append(relative_gap(found[0, n, n], slopes["x0"]))
    return max(gaps)


@pytest.mark.parametrize("case", ROWS)
def test_rule_equals_its_formula(case: Case, rng: np.random.Generator) -> None:
    x = case.draw(rng, 4)
    assert gap(case, x, around(case, x, rng), rng) < EXACT
    kinks = {"x0": rng.choice([0.0, 0.5, *STEPS], x["x0"].shape)}
    assert gap(case, kinks, around(case, kinks, rng), rng) < EXACT


def test_every_rule_has_a_formula_and_a_row() -> None:
    assert set(SHAP) == OPERATORS
    assert {case.op for case in CASES} >= OPERATORS


@pytest.mark.parametrize("case", ROWS)
def test_complete_where_points_are_apart(case: Case, rng: np.random.Generator) -> None:
    x, r = case.draw(rng, 2), case.draw(rng, 3)
    found = balance(emit(case, DeepShap(rules="shap")), x, r, seeds(case, rng, 2, x))
    assert found.gap() <= EXACT


def test_a_softmax_loses_nothing_where_logits_stay(rng: np.random.Generator) -> None:
    case = next(c for c in CASES if c.id == "Softmax")
    x, r = case.draw(rng, 2), case.draw(rng, 2)
    r["x0"][:, :2] = x["x0"][:, :2]
    seed = seeds(case, rng, 2, x)
    found = balance(emit(case, DeepShap(rules="shap")), x, r, seed)
    assert found.gap() <= EXACT


def test_overlapping_windows_accumulate(rng: np.random.Generator) -> None:
    case = next(c for c in CASES if c.id == "MaxPool-overlapping")
    x, r = case.draw(rng, 2), case.draw(rng, 2)
    seed = seeds(case, rng, 2, x)
    ours, theirs = (
        emit(case, Multipliers(rules)).contributions(x, seed, r)["x0"]
        for rules in (multiplier, shap)
    )
    np.testing.assert_array_equal(ours, theirs)


# A set over another -------------------------------------------------------------------------------


def test_rules_that_are_not_laid_over_are_the_parents(rng: np.random.Generator) -> None:
    for name in ("LayerNormalization", "Mul-both", "Conv", "Clip-both", "LogSoftmax"):
        case = next(c for c in CASES if c.id.startswith(name))
        node = emit(case).program.model.graph.node("node")
        opsets = {"": case.opset}
        assert shap.find(node, opsets) is multiplier.find(node, opsets)
        assert shap.find(node, opsets) is not None


def test_a_users_rule_reaches_both_sets() -> None:
    below = RuleSet("multiplier")
    above = RuleSet("shap", parent=below)
    below("Tanh")(print)
    node = emit(next(c for c in CASES if c.id == "Tanh")).program.model.graph.node("node")
    found = above.find(node, {"": 18})
    assert found is not None
    assert found.function is print
    above("Tanh")(repr)
    found = above.find(node, {"": 18})
    assert found is not None
    assert found.function is repr
    assert (above.kind, above.name) == ("multiplier", "shap")
