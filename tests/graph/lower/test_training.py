"""Operators in training: what is rewritten, what stays, and what is said of the batch.

Rows that ONNX knows in float64 are in test_operators; statistics of a LayerNormalization are
float32 by definition, and here.
"""

import re

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

import onnxshap
from onnxshap.errors import UnsupportedOpError
from onnxshap.graph.model import load
from onnxshap.methods import build_program, named
from onnxshap.methods.draft import Draft
from tests.helpers.gradcheck import Arrays, evaluator, session

HEAD = """<ir_version: 8, opset_import: ["": 18]>"""
EPSILON = 0.1
STATISTICS = (
    HEAD
    + """ level (T[N, 2, 6] x, T[6] scale, T[6] shift) => (T[N, 2, 6] y, float[N, 2, 1] mean,
     float[N, 2, 1] inverse) {
      y, mean, inverse = LayerNormalization<axis = -1, epsilon = 0.1>(x, scale, shift) }"""
)
BATCH = (
    HEAD
    + """ level (float[N, 3] x) => (float[N, 3] y)
    <float[3] ones = {1, 1, 1}, float[3] old = {0, 1, 2}, float[3] wide = {1, 2, 3}> {
      y, mean, variance = BatchNormalization<training_mode = 1>(x, ones, old, old, wide) }"""
)
DROPS = (
    HEAD
    + """ drops (float[N, 3] x) => (float[N, 3] y)
    <float ratio = {0.5}, bool on = {1}> { y = Dropout<SEED>(x, ratio, on) }"""
)


def text(source: str, dtype: str = "double") -> onnx.ModelProto:
    return parser.parse_model(source.replace("T[", f"{dtype}["))


def contributions(
    method: str, output: str, x: Arrays, seed: np.ndarray, r: Arrays, dtype: str = "double"
) -> Arrays:
    program = build_program(
        load(text(STATISTICS, dtype)), named(method), output=output, inputs=["x"]
    )
    runner = evaluator if dtype == "double" else session
    kind = np.dtype({"double": "f8", "float": "f4", "float16": "f2"}[dtype])
    feeds = {name: x[name].astype(kind) for name in program.inputs}
    feeds |= {twin: r[name].astype(kind) for name, twin in program.references.items()}
    feeds[program.seed] = seed.astype(program.number)
    found = runner(ir.serde.serialize_model(program.model))(feeds)
    return {name: found[end] for name, end in program.contributions.items()}


def standardised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    c = x - x.mean(-1, keepdims=True)
    return c, 1 / np.sqrt((c * c).mean(-1, keepdims=True) + EPSILON)


def drawn(rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    weights = {"scale": rng.normal(size=6), "shift": rng.normal(size=6)}
    sides = (rng.normal(size=(n, 2, 6)) for n in (2, 3))
    x, r = ({"x": values} | weights for values in sides)
    return x, r


@pytest.mark.parametrize("dtype", ["double", "float", "float16"])
def test_gradients_of_statistics(dtype: str, rng: np.random.Generator) -> None:
    """dmean/dx = 1/n;  ds/dx = -s^3 c / n."""
    told = {"double": 1e-6, "float": 1e-5, "float16": 2e-3}[dtype]
    x, _ = drawn(rng)
    seed = rng.normal(size=(1, 2, 2, 1))
    c, s = standardised(x["x"])
    for output, slope in (("mean", np.ones_like(c)), ("inverse", -(s**3) * c)):
        found = contributions("gradient", output, x, seed, {}, dtype)
        np.testing.assert_allclose(found["x"], seed * slope / 6, rtol=told, atol=told)


def test_multipliers_of_statistics(rng: np.random.Generator) -> None:
    """m/n, and (s - s0)/(u - u0) (c + c0)/n, u the variance: times x - r they are the change."""
    x, r = drawn(rng)
    seed = rng.normal(size=(1, 2, 2, 1))
    (c, s), (c0, s0) = standardised(x["x"][:, None]), standardised(r["x"])
    d = x["x"][:, None] - r["x"]
    u, u0 = ((v * v).mean(-1, keepdims=True) for v in (c, c0))
    for output, slope in (("mean", np.ones_like(d)), ("inverse", (s - s0) / (u - u0) * (c + c0))):
        found = contributions("deepshap", output, x, seed, r)["x"]
        np.testing.assert_allclose(found, seed[:, :, None] * slope * d / 6, rtol=1e-6)
    assert np.allclose((slope * d / 6).sum(-1, keepdims=True), s - s0)


def written(model: onnx.ModelProto, output: str | None = None) -> list[str]:
    return [node.op_type for node in Draft(load(model), output, ["x"]).graph]


def test_what_is_not_in_training_stays() -> None:
    assert written(text(STATISTICS), "y") == ["LayerNormalization"]
    assert "LayerNormalization" not in written(text(STATISTICS), "mean")
    assert written(parser.parse_model(BATCH.replace("training_mode = 1", "epsilon = 0.1"))) == [
        "BatchNormalization"
    ]
    quiet = DROPS.replace("<SEED>", "").replace("{1}", "{0}")
    assert written(parser.parse_model(quiet)) == ["Dropout"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (BATCH, r'no axis of "y/ReduceMean_0" .* moves one to one with the batch'),
        (DROPS.replace("SEED", "seed = 1"), r'Dropout "y/Dropout_0" draws "y/Dropout_0" for all'),
    ],
    ids=["BatchNormalization", "Dropout"],
)
def test_samples_meet_one_pair_at_a_time(source: str, reason: str) -> None:
    report = onnxshap.check(parser.parse_model(source))
    assert report.ok
    assert re.search(f"^one pair at a time: {reason}", report.batch)


@pytest.mark.parametrize("constant", [True, False])
def test_a_mask_without_a_seed_is_refused(constant: bool) -> None:
    source = DROPS.replace("<SEED>", "")
    if not constant:
        source = source.replace(", bool on = {1}", "").replace("3] x)", "3] x, bool on)")
    with pytest.raises(UnsupportedOpError, match=r"it may be in training mode and has no seed"):
        Draft(load(parser.parse_model(source)), None, ["x"])
