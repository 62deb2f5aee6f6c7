"""Rows of a softmax that are masked whole: nothing flows back to them, and nothing is no number."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import parser

from onnxshap.graph.model import load
from onnxshap.methods import Program, build_program, named
from tests.helpers.cases.case import Case, N
from tests.helpers.cases.sequences import attentions
from tests.helpers.gradcheck import FLOAT, Arrays, Run, emit, evaluator, session

HEAD = """<ir_version: 8, opset_import: ["": 18]>
masked (double[N, 3, 2] q, double[N, 4, 2] k, double[N, 4, 5] v) => (double[N, 3, 5] y)
<bool[3, 4] seen = {1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0}, double hidden = {-inf}, double zero = {0},
 int64[1] last = {-1}> {
  turned = Transpose<perm = [0, 2, 1]>(k)
  scores = MatMul(q, turned)
  masked = Where(seen, scores, hidden)
  weights = Softmax(masked)
"""
ENDS = {
    "by the mask": """
      highest = ReduceMax(masked, last)
      blind = Equal(highest, hidden)
      chosen = Where(blind, zero, weights)
      y = MatMul(chosen, v) }""",
    "behind the product": """
      product = MatMul(weights, v)
      blind = IsNaN(product)
      y = Where(blind, zero, product) }""",
    "in logarithms": """
      logs = LogSoftmax(masked)
      blind = IsNaN(logs)
      none = IsInf(logs)
      nowhere = Or(blind, none)
      chosen = Where(nowhere, zero, logs)
      y = MatMul(chosen, v) }""",
}


def model_of(end: str, dtype: str = "double") -> onnx.ModelProto:
    return parser.parse_model((HEAD + ENDS[end]).replace("double", dtype))


def samples(count: int, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = {"q": (3, 2), "k": (4, 2), "v": (4, 5)}
    return {name: rng.normal(size=(count, *shape)) for name, shape in shapes.items()}


def run(program: Program, x: Arrays, seed: np.ndarray, r: Arrays, on: object = evaluator) -> Arrays:
    feeds = {n: x[n] for n in program.inputs} | {program.seed: seed}
    feeds |= {twin: r[n] for n, twin in program.references.items()}
    runner: Run = on(ir.serde.serialize_model(program.model))  # type: ignore[operator]
    return runner(feeds)


@pytest.mark.parametrize("end", ENDS)
def test_gradients_are_central_differences(end: str) -> None:
    model, x, rng = model_of(end), samples(2, 0), np.random.default_rng(1)
    seed = rng.normal(size=(1, 2, 3, 5))
    program = build_program(load(model), named("gradient"))
    found, forward = run(program, x, seed, {}), evaluator(model)
    assert not found["q/contributions"][:, :, 1].any()  # it may see nothing
    for name, values in x.items():
        u, step = rng.normal(size=values.shape), 1e-5
        ahead, behind = (forward(x | {name: values + s * step * u})["y"] for s in (1, -1))
        slope = float((seed[0] * (ahead - behind)).sum() / (2 * step))
        taken = float((found[f"{name}/contributions"][0] * u).sum())
        assert taken == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("end", ENDS)
def test_multipliers_are_complete(end: str) -> None:
    model, x, r = model_of(end), samples(2, 2), samples(3, 3)
    seed = np.random.default_rng(4).normal(size=(1, 2, 3, 5))
    program = build_program(load(model), named("deepshap"))
    found, forward = run(program, x, seed, r), evaluator(model)
    credited = sum(found[end].sum((3, 4)) for end in program.contributions.values())
    change = forward(x)["y"][:, None] - forward(r)["y"]
    expected = np.einsum("knab,nmab->knm", seed, change)
    np.testing.assert_allclose(credited, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("end", ENDS)
def test_onnxruntime_gives_the_same(end: str) -> None:
    x, r = samples(2, 5), samples(3, 6)
    seed = np.random.default_rng(7).normal(size=(1, 2, 3, 5))
    double, single = (
        build_program(load(model_of(end, dtype)), named("deepshap"))
        for dtype in ("double", "float")
    )
    narrow = [{n: v.astype(FLOAT) for n, v in side.items()} for side in (x, r)]
    precise = run(double, x, seed, r)
    found = run(single, narrow[0], seed.astype(FLOAT), narrow[1], session)
    for name in double.contributions.values():
        np.testing.assert_allclose(found[name], precise[name], rtol=1e-3, atol=1e-5)


def guards(program: Program) -> int:
    """How many values are looked through for what is no number, in order to go back."""
    tagged = (n for n in program.model.graph if n.metadata_props["onnxshap.side"] == "backward")
    return sum(node.op_type == "IsNaN" for node in tagged)


@pytest.mark.parametrize(("end", "count"), [("by the mask", 2), ("behind the product", 4)])
def test_each_value_is_guarded_once_a_side(end: str, count: int) -> None:
    assert guards(build_program(load(model_of(end)), named("deepshap"))) == count


def test_a_softmax_without_a_choice_behind_it_is_not_guarded() -> None:
    for case in (Case("Softmax", [(N, 5)]), *attentions()):
        assert guards(emit(case, "deepshap").program) == 0, case.id
