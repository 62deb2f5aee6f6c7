"""x sigmoid(x) as exporters write it: one unary function, though it is a product of two nodes."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

import onnxshap
from onnxshap.methods import build_program, named
from tests.helpers import models
from tests.helpers.models import node

FEATURES = 6


def gated(
    dtype: type, order: tuple[str, str] = ("x", "s"), shared: bool = False
) -> onnx.ModelProto:
    """y = x sigmoid(x), of order ``order``; ``shared``: plus 3 sigmoid(x)."""
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", list(order), ["y"])]
    if shared:
        nodes += [node("Mul", ["s", "three"], ["more"]), node("Add", ["y", "more"], ["z"])]
    ends = {"z" if shared else "y": (dtype, ["N", FEATURES])}
    return models.graph(
        nodes, {"x": (dtype, ["N", FEATURES])}, ends, {"three": np.array(3.0, dtype)}
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def slopes(proto: onnx.ModelProto, x: np.ndarray, r: np.ndarray, **settings: object) -> np.ndarray:
    """Contributions [N, M, x] of the sum over y, by the reference evaluator."""
    model = onnxshap.load(proto)
    program = build_program(model, named("deepshap"), **settings)
    feeds = {program.inputs[0]: x, program.references[program.inputs[0]]: r}
    feeds[program.seed] = np.ones((1, *x.shape), x.dtype)
    wanted = next(iter(program.contributions.values()))
    proto = ir.serde.serialize_model(program.model)
    found: np.ndarray = ReferenceEvaluator(proto).run([wanted], feeds)[0][0]
    return found


@pytest.mark.parametrize("order", [("x", "s"), ("s", "x")])
@pytest.mark.parametrize("shared", [False, True])
def test_float64_is_the_secant(
    order: tuple[str, str], shared: bool, rng: np.random.Generator
) -> None:
    x, r = rng.normal(size=(3, FEATURES)) * 4, rng.normal(size=(5, FEATURES)) * 4
    r[0] = x[0]  # nothing moves: nothing is credited, and no number is lost
    r[1] = x[0] + 1e-7

    def value(v: np.ndarray) -> np.ndarray:
        return v * sigmoid(v) + 3 * shared * sigmoid(v)

    found = slopes(gated(np.float64, order, shared), x, r)
    expected = value(x)[:, None] - value(r)[None]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_float32_keeps_the_slope_where_the_sides_nearly_meet(rng: np.random.Generator) -> None:
    x = rng.uniform(-8, 8, (200, FEATURES)).astype(np.float32)
    gaps = 10 ** rng.uniform(-7, 1, x.shape) * rng.choice([-1, 1], x.shape)
    r = (x - gaps).astype(np.float32)
    d = x.astype(np.float64) - r
    middle = (x.astype(np.float64) + r) / 2
    s = sigmoid(middle)
    derivative = s * (1 + middle * (1 - s))
    rise = x * sigmoid(x.astype(np.float64)) - r * sigmoid(r.astype(np.float64))
    exact = np.where(np.abs(d) < 1e-3, derivative, rise / np.where(d == 0, 1, d))
    own = np.stack(
        [slopes(gated(np.float32), x[k : k + 1], r[k : k + 1])[0, 0] for k in range(len(x))]
    )
    moved = np.abs(d) > 1e-6
    error = np.abs(own[moved] / d[moved] - exact[moved])
    assert error.max() < 5e-4
    assert np.sqrt((error**2).mean()) < 3e-5


def test_float16_keeps_the_slope_too(rng: np.random.Generator) -> None:
    """Its own outputs are rounded to 11 bits: their difference is no slope where d is small."""
    x = rng.uniform(2, 8, (1, FEATURES)).astype(np.float16)
    r = (x - np.float16(0.01)).astype(np.float16)
    model = onnxshap.load(gated(np.float16))
    program = build_program(model, named("deepshap"))
    feeds = {"x": x, program.references["x"]: r, program.seed: np.ones((1, 1, FEATURES), "f4")}
    graph = ir.serde.serialize_model(program.model)
    found = ReferenceEvaluator(graph).run([program.contributions["x"]], feeds)[0].ravel()
    wide, narrow = x.astype(np.float64).ravel(), r.astype(np.float64).ravel()
    exact = wide * sigmoid(wide) - narrow * sigmoid(narrow)
    assert (wide != narrow).all()
    np.testing.assert_allclose(found, exact, rtol=5e-3)


def test_an_explained_gate_keeps_its_share(rng: np.random.Generator) -> None:
    """As a product of two: what the gate contributes is not its own to give to x."""
    proto = gated(np.float64)
    x, r = rng.normal(size=(1, FEATURES)), rng.normal(size=(1, FEATURES))
    model = onnxshap.load(proto)
    program = build_program(model, named("deepshap"), inputs=["s"])
    feeds = {"x": x, program.references["x"]: r, program.seed: np.ones((1, 1, FEATURES))}
    graph = ir.serde.serialize_model(program.model)
    found = ReferenceEvaluator(graph).run([program.contributions["s"]], feeds)[0]
    expected = (x + r) / 2 * (sigmoid(x) - sigmoid(r))
    np.testing.assert_allclose(found.ravel(), expected.ravel(), rtol=1e-12)
