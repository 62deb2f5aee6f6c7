"""Every DeepLIFT rule, on every row of the table: completeness, limits, and hard values."""

import numpy as np
import onnx
import pytest

from onnxshap.autodiff.registry import multiplier, vjp
from onnxshap.errors import UnsupportedOpError
from tests.helpers.cases import CASES, Case, N
from tests.helpers.gradcheck import (
    FLOAT,
    Arrays,
    Emitted,
    Multipliers,
    balance,
    emit,
    float32_gap,
    relative_gap,
    seeds,
)

ROWS = [pytest.param(c, id=c.id) for c in CASES]
ON_RUNTIME = [p for p in ROWS if p.values[0].on_runtime]
DIFFERENTIABLE = {op for _, op, _ in vjp.rules}  # steps have slopes between points, no gradient
TARGETS, EXPLICANDS, REFERENCES = 2, 2, 3

EXACT = 1e-9  # of the change of the output, in float64
ROUNDING = 1e-5  # of all that is added up, in float32
SAME = 1e-12  # of the largest contribution: equal up to the order of sums
PRECISE = 2e-5  # of the largest multiplier, in float32


def sides(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    x, r = case.draw(rng, EXPLICANDS), case.draw(rng, REFERENCES)
    if case.flips:
        x |= case.held(EXPLICANDS, varied=True)
        r |= case.held(REFERENCES, varied=True)
    return x, r


def hard_sides(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    return case.draw_special(rng, 6), case.draw_special(rng, 8)


def diagonal(found: Arrays, count: int) -> Arrays:
    """Explicand n against reference n: [K, N, N, *x] -> [K, N, *x]."""
    each = np.arange(count)
    return {name: values[:, each, each] for name, values in found.items()}


@pytest.mark.parametrize("case", ROWS)
def test_complete_in_float64(case: Case, rng: np.random.Generator) -> None:
    x, r = sides(case, rng)
    emitted, seed = emit(case, "deepshap"), seeds(case, rng, TARGETS, x)
    onnx.checker.check_model(emitted.proto, full_check=True)
    onnx.shape_inference.infer_shapes(emitted.proto, check_type=True, strict_mode=True)
    assert emitted.program.separable is not case.alone, emitted.program.mixing
    found = balance(emitted, x, r, seed)
    assert found.credited.shape == (TARGETS, EXPLICANDS, REFERENCES)
    assert found.gap() <= EXACT
    check_no_change(emitted, x, seed)
    if not case.alone:
        check_pairs(emitted, x, r, seed)
    x, r = hard_sides(case, rng)
    assert balance(emitted, x, r, seeds(case, rng, TARGETS, x)).rounding() <= EXACT


def check_no_change(emitted: Emitted, x: Arrays, seed: np.ndarray) -> None:
    """Where a reference is the explicand, contributions are exactly 0."""
    for values in diagonal(emitted.contributions(x, seed, x), EXPLICANDS).values():
        np.testing.assert_array_equal(values, 0.0)


def check_pairs(emitted: Emitted, x: Arrays, r: Arrays, seed: np.ndarray) -> None:
    """All pairs in one run are what each gives alone, in this graph and in an unseparable one."""
    together = emitted.contributions(x, seed, r)
    whole = emit(emitted.case, "deepshap", separable=False, batch=1)
    onnx.checker.check_model(whole.proto, full_check=True)
    axis = whole.program.output_batch or 0
    for k, n, m in ((0, 0, 0), (1, 1, 2), (1, 0, 1)):
        own, other = ({i: v[j : j + 1] for i, v in s.items()} for s, j in ((x, n), (r, m)))
        alone = emitted.contributions(own, seed[k : k + 1, n : n + 1], other)
        single = whole.contributions(own, np.expand_dims(seed[k, n], axis), other)
        for name, values in together.items():
            assert relative_gap(alone[name][0, 0, 0], values[k, n, m]) < SAME
            assert relative_gap(single[name][0], values[k, n, m]) < SAME


@pytest.mark.parametrize("case", ON_RUNTIME)
def test_complete_in_float32(case: Case, rng: np.random.Generator) -> None:
    for x, r in (sides(case, rng), hard_sides(case, rng)):
        seed = seeds(case, rng, TARGETS, x).astype(np.float32)
        assert balance(emit(case, "deepshap", FLOAT), x, r, seed).rounding() <= ROUNDING


@pytest.mark.parametrize("case", ROWS)
def test_tends_to_the_gradient(case: Case, rng: np.random.Generator) -> None:
    emitted = emit(case, Multipliers())
    for x in (case.draw(rng, EXPLICANDS), case.draw_special(rng, EXPLICANDS)):
        at = emitted.contributions(x, seeds(case, rng, TARGETS, x), x)
        assert all(np.isfinite(values).all() for values in diagonal(at, EXPLICANDS).values())
    if case.op not in DIFFERENTIABLE:
        return  # a step has a slope between two points, but no gradient
    x = case.draw(rng, EXPLICANDS)
    r = {n: v + 1e-6 * rng.normal(size=v.shape) if n in case.free else v for n, v in x.items()}
    seed = seeds(case, rng, TARGETS, x)
    gradients = emit(case).contributions(x, seed)
    found = diagonal(emitted.contributions(x, seed, r), EXPLICANDS)
    for name, gradient in gradients.items():
        assert relative_gap(found[name], gradient) < 1e-5


SMOOTH = [
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSwish",
    "Log",
    "Mish",
    "Pow",
    "Reciprocal",
    "Selu",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
]
# Kinks at numbers float32 can hold. HardSigmoid's are not: where one lies between the two points,
# its place is known to a rounding error, which the distance divides.
PIECEWISE = ["Abs", "Clip", "LeakyRelu", "PRelu", "Relu"]


def functions_of_one_number() -> list[object]:
    return [
        pytest.param(c, id=c.id)
        for c in CASES
        if c.op in SMOOTH + PIECEWISE
        and list(c.free) == ["x0"]
        and c.free["x0"] == (N, 5)
        and all(np.size(i) < 2 for i in c.inputs[1:] if i is not None)
    ]


@pytest.mark.parametrize("case", functions_of_one_number())
def test_float32_is_precise_at_every_distance(case: Case, rng: np.random.Generator) -> None:
    assert float32_gap(case, rng) < PRECISE


def test_saturated_log_softmax_in_float32(rng: np.random.Generator) -> None:
    # 1 - w cancels where one class has all the probability: the residual is of the order of the
    # logits' own rounding, not of the output, which is nearly 0 there.
    case = Case("LogSoftmax", [(N, 4)], domain=(-8, 8))
    x, r = case.draw(rng, 50), case.draw(rng, 50)
    found = balance(emit(case, "deepshap", FLOAT), x, r, seeds(case, rng, TARGETS, x))
    weight = 4 * 8 * np.finfo(np.float32).eps
    assert found.residual[1].max() < weight


def test_three_varying_operands_are_refused() -> None:
    case = Case("Einsum", [(N, 3), (N, 3), (N, 3)], {"equation": "bi,bi,bi->b"})
    emit(case)
    with pytest.raises(UnsupportedOpError, match=r"no multiplier rule for 3 operands that differ"):
        emit(case, "deepshap")


def test_rules_without_a_multiplier_of_their_own_are_linear_or_products() -> None:
    own = {op for _, op, _ in multiplier.rules}
    assert {"Conv", "MatMul", "Gemm", "Add"}.isdisjoint(own)
