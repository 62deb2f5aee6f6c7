"""Every DeepLIFT rule against the same multiplier written a second time, in plain algebra."""

from collections.abc import Mapping

import numpy as np
import pytest

from onnxshap.autodiff.registry import multiplier, vjp
from onnxshap.graph.expand import EXPANDED
from tests.autodiff.formulas import NONLINEAR, Formula, Pair, multilinear
from tests.helpers.cases import CASES, FLOAT32_ALONE, Case, Sizes
from tests.helpers.gradcheck import Arrays, Multipliers, emit, forward, relative_gap, seeds

EXACT = 1e-9
OPERATORS = {op for _, op, _ in multiplier.rules}
LINEAR = {
    op for (_, op, _), rule in vjp.rules.items() if rule.family in ("exact-linear", "product")
}


def operands(case: Case, x: Arrays) -> list[np.ndarray]:
    """Inputs of the operator for one sample, the batch axis where the operator sees it."""
    found = []
    for i, given in enumerate(case.inputs):
        if f"x{i}" in x and case.alone:
            found.append(x[f"x{i}"][0])
        elif f"x{i}" in x:
            own = x[f"x{i}"]
            batch = min(case.batch, own.ndim - 1)
            found.append(np.moveaxis(own, 0, batch) if f"x{i}" in case.free else own)
        elif given is None or isinstance(given, Sizes):
            found.append(np.zeros(()))
        else:
            found.append(given)
    return found


def expected(
    case: Case,
    x: Arrays,
    r: Arrays,
    seed: np.ndarray,
    formulas: Mapping[str, Formula] = NONLINEAR,
) -> Arrays:
    """Multipliers of one pair by formula; [*x] by input."""
    f = forward(case)
    if case.alone:
        y, y0, m = (v[0] for v in (f(x), f(r), seed))
    else:
        y, y0, m = (np.moveaxis(v, 0, f.batch) for v in (f(x), f(r), seed))
    formula = formulas.get(case.op, multilinear)
    if formula is multilinear:
        m = seed  # taken along with outputs whose batch axis is in front
    slopes = formula(Pair(case, operands(case, x), operands(case, r), y, y0, m))
    if case.alone:
        return {name: slopes[int(name[1:])] for name in case.explained}
    found = {name: slopes[int(name[1:])] for name in case.explained}
    return {n: np.moveaxis(v, min(case.batch, v.ndim - 1), 0)[0] for n, v in found.items()}


@pytest.mark.parametrize("case", [pytest.param(c, id=c.id) for c in CASES if c.op not in EXPANDED])
def test_multiplier_equals_its_formula(case: Case, rng: np.random.Generator) -> None:
    x, r = case.draw(rng, 2), case.draw(rng, 2)
    if case.flips:
        x, r = x | case.held(2, varied=True), r | case.held(3, varied=True)
        r |= {name: rows[1:] for name, rows in r.items() if name in case.rows}
    seed = seeds(case, rng, 1, x)
    found = emit(case, Multipliers()).contributions(x, seed, r)
    for n, m in ((0, 0), (1, 1), (1, 0)):
        own, other = ({i: v[j : j + 1] for i, v in s.items()} for s, j in ((x, n), (r, m)))
        for name, slope in expected(case, own, other, seed[0, n : n + 1]).items():
            assert relative_gap(found[name][0, n, m], slope) < EXACT


def test_every_rule_has_a_formula() -> None:
    assert set(NONLINEAR) == OPERATORS - FLOAT32_ALONE
    assert {c.op for c in CASES} - EXPANDED == (OPERATORS | LINEAR) - FLOAT32_ALONE


def test_products_are_shapley_values_of_their_factors(rng: np.random.Generator) -> None:
    case = next(c for c in CASES if c.id == "MatMul-both")
    x, r = case.draw(rng, 1), case.draw(rng, 1)
    found = emit(case, "deepshap").contributions(x, np.ones((1, 1, 2, 4)), r)

    def value(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b).sum())

    a, b, a0, b0 = x["x0"], x["x1"], r["x0"], r["x1"]
    first = value(a, b0) - value(a0, b0) + value(a, b) - value(a0, b)
    second = value(a0, b) - value(a0, b0) + value(a, b) - value(a, b0)
    np.testing.assert_allclose(found["x0"].sum(), first / 2, rtol=1e-12)
    np.testing.assert_allclose(found["x1"].sum(), second / 2, rtol=1e-12)
