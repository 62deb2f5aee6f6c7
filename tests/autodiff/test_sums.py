"""Cotangents of several consumers, added: what is repeated is broadcast, not copied."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

import onnxshap
from onnxshap.methods import build_program, named
from tests.helpers import models
from tests.helpers.models import node


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "ReduceMean"])
@pytest.mark.parametrize("gated_first", [True, False])
def test_a_pooled_gate_copies_nothing(
    operator: str, gated_first: bool, rng: np.random.Generator
) -> None:
    """y = tanh(x) times the sigmoid of its own mean, as in a squeeze-and-excitation block."""
    inputs = ["t"] if operator == "GlobalAveragePool" else ["t", "axes"]
    product = ["t", "g"] if gated_first else ["g", "t"]
    nodes = [
        node("Tanh", ["x"], ["t"]),
        node(operator, inputs, ["p"]),
        node("Sigmoid", ["p"], ["g"]),
        node("Mul", product, ["y"]),
    ]
    ends = {"x": (np.float64, ["N", 2, 3, 4])}, {"y": (np.float64, ["N", 2, 3, 4])}
    proto = models.graph(nodes, *ends, {"axes": np.array([2, 3])} if len(inputs) > 1 else {})
    program = build_program(onnxshap.load(proto), named("deepshap"))
    x, r = rng.normal(size=(2, 2, 3, 4)), rng.normal(size=(3, 2, 3, 4))
    seed = np.ones((1, *x.shape))
    feeds = {"x": x, program.references["x"]: r, program.seed: seed}
    graph = ir.serde.serialize_model(program.model)
    found = ReferenceEvaluator(graph).run([program.contributions["x"]], feeds)[0][0]

    def total(v: np.ndarray) -> np.ndarray:
        t = np.tanh(v)
        gate = 1 / (1 + np.exp(-t.mean((2, 3), keepdims=True)))
        return (t * gate).sum((1, 2, 3))

    expected = total(x)[:, None] - total(r)[None]
    np.testing.assert_allclose(found.sum((2, 3, 4)), expected, rtol=0, atol=1e-12)
    # Repeated values are left only where no sum takes them in.
    repeats = [n for n in program.model.graph if n.op_type == "Expand"]
    used = {v for n in program.model.graph for v in n.inputs}
    assert not [n for n in repeats if n.outputs[0] in used]


@pytest.mark.parametrize("separable", [True, False])
def test_sums_of_nothing_but_repeats_are_whole(separable: bool, rng: np.random.Generator) -> None:
    """y = tanh(row means) + sigmoid(column means) of x: each repeats along the other's axis."""
    nodes = [
        node("ReduceMean", ["x", "one"], ["rows"]),
        node("ReduceMean", ["x", "two"], ["columns"]),
        node("Tanh", ["rows"], ["t"]),
        node("Sigmoid", ["columns"], ["s"]),
        node("Add", ["t", "s"], ["y"]),
    ]
    ends = {"x": (np.float64, ["N", 3, 4])}, {"y": (np.float64, ["N", 3, 4])}
    axes = {"one": np.array([1]), "two": np.array([2])}
    model = onnxshap.load(models.graph(nodes, *ends, axes))
    program = build_program(model, named("deepshap"), separable=separable)
    x, r = rng.normal(size=(1, 3, 4)), rng.normal(size=(1, 3, 4))
    seed = np.ones((1, 1, 3, 4) if separable else (1, 3, 4))
    feeds = {"x": x, program.references["x"]: r, program.seed: seed}
    graph = ir.serde.serialize_model(program.model)
    found = ReferenceEvaluator(graph).run([program.contributions["x"]], feeds)[0]

    def total(v: np.ndarray) -> float:
        rows, columns = v.mean(1, keepdims=True), v.mean(2, keepdims=True)
        return float((np.tanh(rows) + 1 / (1 + np.exp(-columns))).sum())

    assert found.size == x.size
    np.testing.assert_allclose(found.sum(), total(x) - total(r), rtol=0, atol=1e-12)
