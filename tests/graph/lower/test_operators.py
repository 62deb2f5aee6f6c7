"""Recurrent operators and attention written out: the same numbers, gradients and contributions."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxshap.autodiff.engine import Path
from onnxshap.autodiff.registry import multiplier
from onnxshap.graph.lower import REWRITES, lower
from onnxshap.graph.model import Model, load
from onnxshap.methods import build_program, named
from onnxshap.methods.draft import Draft
from tests.helpers.cases import Case
from tests.helpers.cases.sequences import attentions, recurrent
from tests.helpers.cases.training import training
from tests.helpers.gradcheck import (
    DOUBLE,
    FLOAT,
    Arrays,
    balance,
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

CASES = [*recurrent(), *attentions(), *training()]
ROWS = [pytest.param(c, id=c.id) for c in CASES]
ON_RUNTIME = [p for p in ROWS if p.values[0].on_runtime]
TARGETS, EXPLICANDS, REFERENCES = 2, 3, 4

SAME = 1e-12  # of the largest output, in float64
CLOSE = 1e-6  # of the largest output, in float32
EXACT = 1e-7  # of the largest directional derivative
COMPLETE = 1e-9  # of the change of the output, in float64
ROUNDING = 1e-5  # of all that is added up, in float32


def written_out(case: Case, dtype: np.dtype) -> onnx.ModelProto:
    model = load(one_node_model(case, dtype)).normalised.clone()
    sources = [v for v in model.graph.inputs if v.name in case.free]
    lower(model.graph, sources, model.graph.outputs[0])
    assert not [n.name for n in model.graph if n.op_type in REWRITES]
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def samples(case: Case, rng: np.random.Generator, count: int = EXPLICANDS) -> Arrays:
    return case.draw(rng, count) | case.held(count, varied=True)


@pytest.mark.parametrize("case", ROWS)
def test_same_numbers_in_float64(case: Case, rng: np.random.Generator) -> None:
    x = samples(case, rng)
    run = evaluator(written_out(case, DOUBLE))
    (y,) = (sample_by_sample(run) if case.alone else run)(x).values()
    assert relative_gap(np.moveaxis(y, forward(case).batch, 0), forward(case)(x)) < SAME


@pytest.mark.parametrize("case", ON_RUNTIME)
def test_same_numbers_on_onnxruntime(case: Case, rng: np.random.Generator) -> None:
    x = {n: v.astype(FLOAT) if v.dtype.kind == "f" else v for n, v in samples(case, rng).items()}
    found = []
    for proto in (one_node_model(case, FLOAT), written_out(case, FLOAT)):
        run = session(proto)
        (y,) = (sample_by_sample(run) if case.alone else run)(x).values()
        found.append(y)
    assert relative_gap(found[1], found[0]) < CLOSE


@pytest.mark.parametrize("case", ROWS)
def test_gradient_equals_central_differences(case: Case, rng: np.random.Generator) -> None:
    x, emitted = samples(case, rng), emit(case)
    onnx.checker.check_model(emitted.proto, full_check=True)
    onnx.shape_inference.infer_shapes(emitted.proto, check_type=True, strict_mode=True)
    assert emitted.program.separable is not case.alone, emitted.program.mixing
    seed = seeds(case, rng, TARGETS, x)
    assert vjp_gap(case, x, seed, emitted.contributions(x, seed), rng) < EXACT


@pytest.mark.parametrize("case", ROWS)
def test_complete_in_float64(case: Case, rng: np.random.Generator) -> None:
    x, r = case.draw(rng, EXPLICANDS), case.draw(rng, REFERENCES)
    emitted, seed = emit(case, "deepshap"), seeds(case, rng, TARGETS, x)
    assert emitted.program.separable is not case.alone, emitted.program.mixing
    assert balance(emitted, x, r, seed).gap() <= COMPLETE
    x, r = case.draw_special(rng, EXPLICANDS), case.draw_special(rng, REFERENCES)
    assert balance(emitted, x, r, seeds(case, rng, TARGETS, x)).rounding() <= COMPLETE


@pytest.mark.parametrize("case", ON_RUNTIME)
def test_complete_on_onnxruntime(case: Case, rng: np.random.Generator) -> None:
    x, r = case.draw(rng, EXPLICANDS), case.draw(rng, REFERENCES)
    seed = seeds(case, rng, TARGETS, x).astype(FLOAT)
    assert balance(emit(case, "deepshap", FLOAT), x, r, seed).rounding() <= ROUNDING


@pytest.mark.parametrize("case", ROWS)
def test_no_node_needs_the_fallback(case: Case) -> None:
    draft = Draft(load(one_node_model(case)), None, case.explained)
    path = Path(
        draft.graph, dict(draft.graph.opset_imports), multiplier, draft.sources, draft.target
    )
    assert {"fallback", "unsupported"}.isdisjoint(path.family(n) for n in path.order)


SMOOTH = ["LSTM-forward, last state-batch=1", "GRU-reset 1-batch=1", "Attention-grouped"]


@pytest.mark.parametrize("case", [pytest.param(c, id=c.id) for c in CASES if c.id in SMOOTH])
def test_gradients_differentiated_again(case: Case, rng: np.random.Generator) -> None:
    """The curvature along u, as a gradient of the gradient graph, and by differences."""
    x = case.draw(rng, 1)
    seed = seeds(case, rng, 1, x)
    first = emit(case)
    inner = [v for v in first.program.model.graph.outputs if v.name == "x0/contributions"]
    again = build_program(
        Model(first.proto),
        named("gradient"),
        output=str(inner[0].name),
        inputs=["x0"],
        separable=False,
    )
    run = evaluator(ir.serde.serialize_model(again.model))
    u, step = rng.normal(size=x["x0"].shape), 1e-4
    feeds = {name: x.get(name, seed) for name in first.program.inputs}
    feeds |= {"seed": seed, again.seed: u[None]}
    curved = run(feeds)[again.contributions["x0"]]
    moved = [first.contributions(x | {"x0": x["x0"] + k * step * u}, seed)["x0"] for k in (1, -1)]
    slope = (moved[0] - moved[1]) / (2 * step)
    assert relative_gap(curved.reshape(-1), slope.reshape(-1)) < 1e-6
