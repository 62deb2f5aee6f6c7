"""The checkers are checked: wrong rules are planted, and each must be caught."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import Phase, given, settings
from hypothesis.errors import FailedHealthCheck

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, RuleSet, multiplier, shap, vjp
from onnxshap.autodiff.secants import exp_secant, ratio
from onnxshap.autodiff.windows import max_positions, zero
from tests.autodiff import test_shap
from tests.autodiff.test_formulas import expected
from tests.helpers.cases import CASES, Case, N, ints, normal
from tests.helpers.gradcheck import (
    Multipliers,
    balance,
    directional,
    emit,
    float32_gap,
    forget,
    relative_gap,
    seeds,
    vjp_gap,
)
from tests.properties.judge import judge, numbers

VJP_BOUND, COMPLETE_BOUND, FORMULA_BOUND, FLOAT32_BOUND = 1e-7, 1e-9, 1e-9, 2e-5

Plant = Callable[..., None]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def plant() -> Iterator[Plant]:
    """Replace an operator's rule until the test ends."""
    before = {id(rules): dict(rules.rules) for rules in (vjp, multiplier, shap)}

    def put(rules: RuleSet, op: str, function: Callable[..., Cotangents], **changes: Any) -> None:
        keys = [key for key in rules.rules if key[1] == op]
        assert keys, f"no {rules.name} rule for {op} to replace"
        for key in keys:
            rules.rules[key] = replace(rules.rules[key], function=function, **changes)
        forget()

    yield put
    for rules in (vjp, multiplier, shap):
        rules.rules = before[id(rules)]
    forget()


def row(name: str) -> Case:
    return next(case for case in CASES if case.id == name)


def gradient_gap(case: Case, rng: np.random.Generator) -> float:
    x = case.draw(rng, 3)
    seed = seeds(case, rng, 2, x)
    return vjp_gap(case, x, seed, emit(case).contributions(x, seed), rng)


def completeness_gap(case: Case, rng: np.random.Generator) -> float:
    x, r = case.draw(rng, 2), case.draw(rng, 3)
    return balance(emit(case, "deepshap"), x, r, seeds(case, rng, 2, x)).gap()


def formula_gap(case: Case, rng: np.random.Generator) -> float:
    x, r = case.draw(rng, 1), case.draw(rng, 1)
    seed = seeds(case, rng, 1, x)
    found = emit(case, Multipliers()).contributions(x, seed, r)
    slopes = expected(case, x, r, seed[0])
    return max(relative_gap(found[name][0, 0, 0], slope) for name, slope in slopes.items())


# Wrong rules --------------------------------------------------------------------------------------


def tanh_almost(ctx: Context, g: ir.Value) -> Cotangents:
    op, y = ctx.op, ctx.y()
    return [op.Mul(g, op.Sub(1.0, op.Mul(op.Mul(y, y), 1.0005)))]


def square_almost(ctx: Context, g: ir.Value) -> Cotangents:
    return [ctx.op.Mul(g, ctx.op.Mul(ctx.x(), 2.001)), None]


def mul_swapped(ctx: Context, g: ir.Value) -> Cotangents:
    return [ctx.op.Mul(g, ctx.x(i)) for i in (0, 1)]


def passed_on(ctx: Context, g: ir.Value) -> Cotangents:
    return [g, g]


def cumsum_same_way(ctx: Context, g: ir.Value) -> Cotangents:
    return [ctx.op.CumSum(g, ctx.op.value(1, ir.DataType.INT64))]


def gather_overwrites(ctx: Context, g: ir.Value) -> Cotangents:
    op = ctx.op
    column = op.Reshape(ctx.input(1), [1, -1, 1])
    zeros = op.Expand(
        op.value(0.0, g.dtype), op.Concat(op.Shape(g, end=1), op.value([4, 3]), axis=0)
    )
    return [op.ScatterElements(zeros, op.Expand(column, op.Shape(g)), g, axis=1)]


def max_pool_overwrites(ctx: Context, m: ir.Value) -> Cotangents:
    """shap's and captum's: where windows overlap the last one wins."""
    op, own, output = ctx.op, ctx.input(0), ctx.node.outputs[0]
    rise, placed = op.Sub(ctx.y(), ctx.y_ref()), []
    for side, values, share in (
        ("explicand", own, op.Relu(rise)),
        ("reference", ctx.counterpart(0), op.Neg(op.Relu(op.Neg(rise)))),
    ):
        indices, layout = max_positions(ctx, values)
        places = ctx.flatten(ctx.spread(ctx.pair(indices, layout, side), layout), layout)
        updates = op.Reshape(ctx.flatten(op.Mul(m, share), output), [0, 0, -1])
        shape = op.Concat(op.Shape(updates, end=2), op.value([30]), axis=0)
        zeros = op.ConstantOfShape(shape, value=zero(updates))
        planes = op.ScatterElements(zeros, places, updates, axis=2)
        placed.append(ctx.unflatten(op.Reshape(planes, ctx.shape(0)), own))
    return [ratio(op, op.Add(*placed), ctx.delta())]


def softmax_without_normaliser(ctx: Context, m: ir.Value) -> Cotangents:
    op = ctx.op
    steps = (op.Log(ctx.y()), op.Log(ctx.y_ref()))
    return [op.Mul(m, exp_secant(op, ctx.y(), ctx.y_ref(), op.Sub(*steps)))]


def elementwise_quotient(ctx: Context, m: ir.Value) -> Cotangents:
    """shap's Softmax: complete, since each output charges its own logit, but not ours."""
    op = ctx.op
    return [op.Mul(m, ratio(op, op.Sub(ctx.y(), ctx.y_ref()), ctx.delta()))]


def quotient(ctx: Context, m: ir.Value) -> Cotangents:
    """Exact in exact arithmetic; in float32 noise where the two points are close."""
    return elementwise_quotient(ctx, m)


def gradient_at_explicand(ctx: Context, m: ir.Value) -> Cotangents:
    return [ctx.op.Mul(m, ctx.x(1 - i)) for i in (0, 1)]


WRONG_GRADIENTS = {
    "Tanh 2.001": ("Tanh", row("Tanh"), tanh_almost, {}),
    "Pow 2.001": ("Pow", row("Pow-exponent 2.0"), square_almost, {}),
    "Mul swapped": ("Mul", row("Mul-both"), mul_swapped, {}),
    "Add without unbroadcast": ("Add", row("Add-both stretched"), passed_on, {"form": "paired"}),
    "CumSum forward": ("CumSum", row("CumSum-reverse=0-exclusive=0"), cumsum_same_way, {}),
    "Gather overwrites": ("Gather", row("Gather-repeated, negative"), gather_overwrites, {}),
}


@pytest.mark.parametrize("name", WRONG_GRADIENTS)
def test_wrong_gradients_are_caught(name: str, plant: Plant, rng: np.random.Generator) -> None:
    op, case, wrong, changes = WRONG_GRADIENTS[name]
    assert gradient_gap(case, rng) < VJP_BOUND
    plant(vjp, op, wrong, **changes)
    assert gradient_gap(case, rng) > 1e3 * VJP_BOUND


WRONG_MULTIPLIERS = {
    "MaxPool overwrites": (multiplier, "MaxPool", row("MaxPool-overlapping"), max_pool_overwrites),
    "Softmax without w": (multiplier, "Softmax", row("Softmax"), softmax_without_normaliser),
    "Mul at the explicand": (vjp, "Mul", row("Mul-both"), gradient_at_explicand),
    "Tanh by its gradient": (multiplier, "Tanh", row("Tanh"), vjp.rules["", "Tanh", 13].function),
}


@pytest.mark.parametrize("name", WRONG_MULTIPLIERS)
def test_incomplete_multipliers_are_caught(
    name: str, plant: Plant, rng: np.random.Generator
) -> None:
    rules, op, case, wrong = WRONG_MULTIPLIERS[name]
    assert completeness_gap(case, rng) < COMPLETE_BOUND
    plant(rules, op, wrong, **({"family": "rescale"} if rules is vjp else {}))
    if rules is vjp:  # found through the other set only as long as it says so
        multiplier.rules |= {k: r for k, r in vjp.rules.items() if k[1] == op}
    assert completeness_gap(case, rng) > 1e3 * COMPLETE_BOUND


def test_another_complete_rule_is_told_apart(plant: Plant, rng: np.random.Generator) -> None:
    case = row("Softmax")
    assert formula_gap(case, rng) < FORMULA_BOUND
    plant(multiplier, "Softmax", elementwise_quotient)
    assert completeness_gap(case, rng) < COMPLETE_BOUND
    assert formula_gap(case, rng) > 1e3 * FORMULA_BOUND


@pytest.mark.parametrize("name", ["Relu", "Tanh", "MaxPool-2x2", "Softmax"])
def test_a_shap_rule_without_its_threshold_is_caught(
    name: str, plant: Plant, rng: np.random.Generator
) -> None:
    case = row(name)
    x = {"x0": rng.choice([4e-8, -4e-8, 0.5], (16, *case.free["x0"][1:]))}
    r = test_shap.around(case, x, rng)
    assert test_shap.gap(case, x, r, rng) < FORMULA_BOUND
    exact = next(rule for (_, op, _), rule in multiplier.rules.items() if op == case.op)
    plant(shap, case.op, exact.function)
    assert test_shap.gap(case, x, r, rng) > 10 * FORMULA_BOUND


def test_imprecise_multipliers_are_caught(plant: Plant, rng: np.random.Generator) -> None:
    case = row("Tanh")
    assert float32_gap(case, rng) < FLOAT32_BOUND
    plant(multiplier, "Tanh", quotient)
    assert completeness_gap(case, rng) < COMPLETE_BOUND
    assert float32_gap(case, rng) > 10 * FLOAT32_BOUND


def test_planted_rules_are_removed_again(rng: np.random.Generator) -> None:
    for case in (row("Tanh"), row("Softmax"), row("MaxPool-overlapping")):
        assert completeness_gap(case, rng) < COMPLETE_BOUND


# Checkers -----------------------------------------------------------------------------------------


def test_differences_are_exact_for_a_cubic(rng: np.random.Generator) -> None:
    case = Case("Pow", [(N, 3), np.array(3.0)])
    x, directions = case.draw(rng, 2), rng.normal(size=(4, 3))
    found = directional(case, x, "x0", directions)
    exact = 3 * x["x0"] ** 2 * directions[:, None]
    assert relative_gap(found, exact) < 1e-10


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1.0 + 1e-6])
def test_gaps_see_every_kind_of_wrong(wrong: float) -> None:
    assert relative_gap(np.array([1.0, wrong]), np.array([1.0, 1.0])) >= 0.9e-6


def test_gaps_see_a_wrong_shape() -> None:
    assert relative_gap(np.ones((2, 3)), np.ones((3,))) == np.inf


def test_balance_sees_contributions_that_are_not_numbers(
    plant: Plant, rng: np.random.Generator
) -> None:
    def undefined(ctx: Context, m: ir.Value) -> Cotangents:
        return [ctx.op.Div(m, ctx.op.Sub(ctx.delta(), ctx.delta()))]

    plant(multiplier, "Tanh", undefined)
    assert completeness_gap(row("Tanh"), rng) == np.inf


def test_rows_draw_what_they_say(rng: np.random.Generator) -> None:
    case = Case("Div", [(N, 2), normal(2), (N, 1)], domain=[(0.0, 1.0), (5.0, 6.0)])
    x = case.draw(rng, 100)
    assert {n: v.shape for n, v in x.items()} == {"x0": (100, 2), "x2": (100, 1)}
    assert x["x0"].max() <= 1
    assert x["x2"].min() >= 5
    assert Case("Split", [(N, 2), ints(1, 1)]).explained == ["x0"]


# Random nodes -------------------------------------------------------------------------------------


def judge_once(case: Case) -> None:
    @settings(max_examples=1, phases=[Phase.generate], database=None, derandomize=True)
    @given(numbers)
    def once(seed: int) -> None:
        judge(case, seed)

    once()


def test_judge_of_random_nodes_sees_a_wrong_gradient(plant: Plant) -> None:
    judge_once(row("Tanh"))
    plant(vjp, "Tanh", tanh_almost)
    with pytest.raises(AssertionError, match="vjp_gap"):
        judge_once(row("Tanh"))


def test_judge_of_random_nodes_leaves_a_kink_out() -> None:
    with pytest.raises(FailedHealthCheck, match="filtering out a lot"):
        judge_once(Case("Abs", [(N, 4)], domain=(-2e-5, 2e-5)))
