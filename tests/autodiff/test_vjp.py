"""Every gradient rule, on every row of the table, against differences taken by hand."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxshap.autodiff.registry import vjp
from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.model import load
from onnxshap.methods import build_program, named
from tests.helpers.cases import CASES, DTYPE, FLOAT32_ALONE, Case, N, Sizes
from tests.helpers.gradcheck import (
    FLOAT,
    Arrays,
    Emitted,
    emit,
    evaluator,
    forward,
    one_node_model,
    relative_gap,
    sample_by_sample,
    seeds,
    session,
    vjp_gap,
)

OPERATORS = {op for _, op, _ in vjp.rules} | EXPANDED
ROWS = [pytest.param(c, id=c.id) for c in CASES if c.op in OPERATORS]
FIRST = {c.op: c for c in reversed(CASES) if c.op in OPERATORS}

TARGETS, EXPLICANDS = 2, 3
EXACT = 1e-7  # of the largest directional derivative; differences themselves reach about 1e-11
SAME = 1e-12  # of the largest gradient: equal up to the order of sums


def bakes_batch(case: Case) -> bool:
    """Whether a literal batch of 1 is folded into sizes that are not freed with it."""
    return case.op == "Resize" and any(isinstance(given, Sizes) for given in case.inputs)


def samples(case: Case, rng: np.random.Generator, count: int = EXPLICANDS) -> Arrays:
    return case.draw(rng, count) | case.held(count, varied=True)


@pytest.mark.parametrize("case", ROWS)
def test_gradient_equals_central_differences(case: Case, rng: np.random.Generator) -> None:
    x, emitted = samples(case, rng), emit(case)
    onnx.checker.check_model(emitted.proto, full_check=True)
    onnx.shape_inference.infer_shapes(emitted.proto, check_type=True, strict_mode=True)
    assert emitted.program.separable is not case.alone, emitted.program.mixing
    seed = seeds(case, rng, TARGETS, x)
    gradients = emitted.contributions(x, seed)
    assert vjp_gap(case, x, seed, gradients, rng) < EXACT


@pytest.mark.parametrize("case", [p for p in ROWS if p.values[0].on_runtime])
def test_onnxruntime_agrees(case: Case, rng: np.random.Generator) -> None:
    x = samples(case, rng)
    seed = seeds(case, rng, TARGETS, x)
    double, single = emit(case), emit(case, dtype=FLOAT)
    gradients, lowered = double.contributions(x, seed), single.contributions(x, seed)
    for name, gradient in gradients.items():
        scale = max(1.0, float(np.abs(gradient).max(initial=0)))
        np.testing.assert_allclose(lowered[name], gradient, rtol=1e-3, atol=1e-5 * scale)
    check_forward(case, x)


def check_forward(case: Case, x: Arrays) -> None:
    """Reference and runtime must run the same operator, or their agreement says nothing."""
    single = {n: v.astype(FLOAT) if v.dtype.kind == "f" else v for n, v in x.items()}
    run = session(one_node_model(case, FLOAT))
    (y,) = (sample_by_sample(run) if case.alone else run)(single).values()
    y = np.moveaxis(y, forward(case).batch, 0)
    np.testing.assert_allclose(y, forward(case)(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", [p for p in ROWS if not p.values[0].alone])
def test_every_way_to_batch_gives_the_same(case: Case, rng: np.random.Generator) -> None:
    x = samples(case, rng)
    seed = seeds(case, rng, TARGETS, x)
    emitted = emit(case)
    together = emitted.contributions(x, seed)
    check_one_by_one(emitted, x, seed, together)
    check_unseparable(case, x, seed, together)
    if not bakes_batch(case):
        check_literal_batch(case, x, seed, together)


def check_one_by_one(emitted: Emitted, x: Arrays, seed: np.ndarray, together: Arrays) -> None:
    for n in range(EXPLICANDS):
        own = {name: values[n : n + 1] for name, values in x.items()}
        for k in range(TARGETS):
            alone = emitted.contributions(own, seed[k : k + 1, n : n + 1])
            for name, gradient in alone.items():
                assert relative_gap(gradient[0, 0], together[name][k, n]) < SAME


def check_unseparable(case: Case, x: Arrays, seed: np.ndarray, together: Arrays) -> None:
    whole = emit(case, separable=False, batch=1)
    onnx.checker.check_model(whole.proto, full_check=True)
    axis = whole.program.output_batch or 0
    for n, k in ((0, 0), (EXPLICANDS - 1, TARGETS - 1)):
        own = {name: values[n : n + 1] for name, values in x.items()}
        one = np.expand_dims(seed[k, n], axis)
        for name, gradient in whole.contributions(own, one).items():
            assert relative_gap(gradient[0], together[name][k, n]) < SAME


def check_literal_batch(case: Case, x: Arrays, seed: np.ndarray, together: Arrays) -> None:
    freed = emit(case, batch=1)
    assert freed.program.separable, freed.program.mixing
    for name, gradient in freed.contributions(x, seed).items():
        assert relative_gap(gradient, together[name]) < SAME


def versions() -> list[object]:
    """The first row of every operator under each since-version its rule was written for."""
    return [
        pytest.param(FIRST[op], max(since, 18), id=f"{op}-{since}")
        for _, op, since in sorted(vjp.rules)
        if op not in FLOAT32_ALONE and max(since, 18) != FIRST[op].opset
    ]


@pytest.mark.parametrize(("case", "opset"), versions())
def test_other_versions_of_the_operator(case: Case, opset: int, rng: np.random.Generator) -> None:
    x = samples(case, rng)
    seed = seeds(case, rng, TARGETS, x)
    emitted = emit(case, opset=opset)
    onnx.checker.check_model(emitted.proto, full_check=True)
    gradients = emit(case).contributions(x, seed)
    for name, gradient in emitted.contributions(x, seed).items():
        assert relative_gap(gradient, gradients[name]) < SAME


@pytest.mark.parametrize(("source", "to"), [(np.float64, np.float32), (np.float32, np.float64)])
def test_cast_returns_to_its_inputs_dtype(source: type, to: type, rng: np.random.Generator) -> None:
    case = Case("Cast", [(N, 4)], {"to": onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to))})
    model = one_node_model(case, np.dtype(source))
    x, seed = rng.normal(size=(3, 4)).astype(source), rng.normal(size=(2, 3, 4)).astype(to)
    gradient = gradient_of(model, {"x0": x}, seed)
    assert gradient.dtype == source
    np.testing.assert_array_equal(gradient, seed.astype(source))


def gradient_of(model: onnx.ModelProto, x: Arrays, seed: np.ndarray) -> np.ndarray:
    program = build_program(load(model), named("gradient"))
    found = evaluator(ir.serde.serialize_model(program.model))(x | {"seed": seed})
    return found["x0/contributions"]


def test_dtype_marker_is_known_to_the_model() -> None:
    cast = next(c for c in CASES if c.op == "Cast")
    assert cast.attrs["to"] is DTYPE
    (node,) = one_node_model(cast, FLOAT).graph.node
    assert node.attribute[0].i == onnx.TensorProto.FLOAT
