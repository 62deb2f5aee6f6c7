"""Every gradient graph is a model: differentiated again, against differences of itself by hand."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import helper

from onnxshap.autodiff.registry import vjp
from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.model import load
from onnxshap.methods import build_program, named
from onnxshap.oneshot.averages import ChunkSizes
from onnxshap.oneshot.build import one_shot
from tests.autodiff.test_quantise import model_of
from tests.helpers import architectures, models
from tests.helpers.cases import CASES, FLOAT32_ALONE, Case
from tests.helpers.gradcheck import STENCIL, STEP, Arrays, Emitted, emit, evaluator, relative_gap
from tests.helpers.gradcheck import seeds as cotangents
from tests.helpers.precision import doubled

ROWS: dict[str, list[Case]] = defaultdict(list)
for row in CASES:
    if row.op in {op for _, op, _ in vjp.rules} | EXPANDED:
        ROWS[row.op].append(row)

FLAT = {
    # linear in everything that has a derivative
    *("Add", "AffineGrid", "AveragePool", "Cast", "CastLike", "CenterCropPad", "Col2Im"),
    *("Compress", "Concat", "CumSum", "DFT", "DepthToSpace", "Dropout", "Expand", "Flatten"),
    *("Gather", "GatherElements"),
    *("GatherND", "GlobalAveragePool", "Identity", "MaxUnpool", "Mean", "Neg", "OneHot"),
    *("Pad", "ReduceMean", "ReduceSum", "Reshape", "Resize"),
    *("ReverseSequence", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub", "Sum"),
    *("TensorScatter", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where"),
    # linear in pieces
    *("Abs", "Clip", "GlobalMaxPool", "HardSigmoid", "LeakyRelu", "Max", "MaxPool", "MaxRoiPool"),
    *("Min", "Mod", "ReduceL1", "ReduceMax", "ReduceMin", "Relu", "Shrink", "ThresholdedRelu"),
    "TopK",
}
"""Operators whose second derivative is zero in all that they are given."""

DIRECTIONS = 2
EXACT = 1e-7  # of the largest directional derivative
CURVED = 1e-6  # differences of what is linear reach about 1e-12


@dataclass(frozen=True)
class Second:
    """One row's gradient with respect to one input, differentiated again along directions."""

    gap: float
    """How far second derivatives are from differences, in all explained inputs and the seed."""
    curved: bool
    """Whether the gradient changes with any of the inputs."""
    zero: bool
    """Whether the second derivative in all inputs is exactly 0."""


def second_derivatives(case: Case, rng: np.random.Generator) -> list[Second]:
    """Differentiate the row's gradient graph, as it is saved, once more: for every input of it."""
    emitted, x = emit(case), case.draw(rng, 1) | case.held(1)
    seed = cotangents(case, rng, 1, x)
    along: Arrays = {n: rng.normal(size=(DIRECTIONS, *x[n].shape[1:])) for n in case.explained}
    along["seed"] = rng.normal(size=(DIRECTIONS, *seed.shape[2:]))
    gradients = gradients_around(emitted, x, seed, along)
    model, feeds = load(emitted.proto), one_pair(case, x, seed)
    found = []
    for source, end in emitted.program.contributions.items():
        w = rng.normal(size=x[source].shape[1:])
        at = np.tensordot(gradients[source][0], w, w.ndim)  # [len(STENCIL) + 1, D] in a row
        moved = at[:-DIRECTIONS].reshape(len(STENCIL), DIRECTIONS)
        slopes = np.tensordot([c / STEP for _, c in STENCIL], moved, 1)
        again = build_program(model, named("gradient"), output=end, inputs=list(along))
        (own,) = (v for v in again.model.graph.inputs if v.name == again.seed)
        assert own.shape is not None
        weights = w.reshape((1,) * (len(own.shape) - w.ndim) + w.shape)
        run = evaluator(ir.serde.serialize_model(again.model))(feeds | {again.seed: weights})
        taken = {n: run[end].reshape(along[n].shape[1:]) for n, end in again.contributions.items()}
        rises = {n: np.tensordot(along[n], t, t.ndim) for n, t in taken.items()}
        in_inputs = sum(rises[name] for name in case.explained)
        in_seed = at[-DIRECTIONS:]  # linear in the seed: what it gives along a direction
        gap = max(relative_gap(in_inputs, slopes), relative_gap(rises["seed"], in_seed))
        zero = not any(taken[name].any() for name in case.explained)
        found.append(Second(gap, bool(np.abs(slopes).max() > CURVED), zero))
    return found


def gradients_around(emitted: Emitted, x: Arrays, seed: np.ndarray, along: Arrays) -> Arrays:
    """Gradients at the points that differences ask for, and at x by seeds as directions go.

    As one batch: [1, (len(STENCIL) + 1) D, *x].
    """
    rows = (len(STENCIL) + 1) * DIRECTIONS
    points = {name: np.repeat(v, rows, 0) for name, v in x.items()}
    for name in emitted.case.explained:
        moves = [STEP * k * along[name] for k, _ in STENCIL]
        points[name][:-DIRECTIONS] += np.concatenate(moves)
    cotangents = np.repeat(seed, rows, 1)
    cotangents[0, -DIRECTIONS:] = along["seed"]
    return emitted.contributions(points, cotangents)


def one_pair(case: Case, x: Arrays, seed: np.ndarray) -> dict[str, Any]:
    """Feeds of the gradient graph at x itself."""
    if case.alone:
        return {name: v[0] for name, v in x.items()} | {"seed": seed[0, 0]}
    return x | {"seed": seed}


@pytest.mark.parametrize("op", sorted(ROWS))
def test_gradients_differentiated_again(op: str, rng: np.random.Generator) -> None:
    found = {case.id: second_derivatives(case, rng) for case in ROWS[op]}
    gaps = {row: max(s.gap for s in each) for row, each in found.items()}
    assert {row: gap for row, gap in gaps.items() if gap > EXACT} == {}
    every = [s for each in found.values() for s in each]
    if op in FLAT:
        assert all(s.zero for s in every)
    else:
        assert any(s.curved for s in every), "add a row whose second derivative is not zero"


def test_no_rule_escapes() -> None:
    rules = {op for _, op, _ in vjp.rules}
    assert rules - set(ROWS) == FLOAT32_ALONE
    assert set(ROWS) >= FLAT


def test_quantised_gradients_are_straight_through_again(rng: np.random.Generator) -> None:
    """y = (q - zero) s of q = clip(round(x / scale) + zero): d2y / ds dx = 1 / scale, or 0."""
    scale, zero = np.float32(0.25), np.array(3, np.uint8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "zero"], ["y"]),
    ]
    model = model_of(nodes, {"x": [3], "s": []}, scale=scale, zero=zero)
    ends = ["x", "s", "seed"]
    first = build_program(load(model), named("gradient"), inputs=ends[:2])
    model = ir.serde.serialize_model(first.model)
    again = build_program(
        load(model), named("gradient"), inputs=ends, output=first.contributions["s"]
    )
    g, w = (rng.normal(size=shape).astype(np.float32) for shape in ((3,), ()))
    feeds = {"x": np.array([0.4, 70, -0.4], np.float32), "s": np.float32(0.5), "seed": g}
    run = evaluator(ir.serde.serialize_model(again.model))(feeds | {again.seed: w})
    x, s, seed = (run[again.contributions[name]] for name in ends)
    np.testing.assert_allclose(x, w * g / scale * [1, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(seed, w * np.array([2, 252, -2]), rtol=1e-6)
    assert s == 0


NETS = {  # products, normalisations, softmax, gates, and pools, whose samples meet in one index
    "vit": (architectures.vit, True),
    "squeeze and excite": (models.squeeze_excite, True),
    "two inputs": (architectures.two_inputs, False),
}


@pytest.mark.parametrize("name", NETS)
def test_a_file_that_explains_itself_is_differentiated(name: str, rng: np.random.Generator) -> None:
    build, separable = NETS[name]
    model = load(doubled(build()))
    program = build_program(model, named("gradient"))
    file = one_shot(model, program, 0, {}, "embed", ChunkSizes())
    x = {n: v.astype(np.float64) for n, v in models.samples(model.proto, 1).items()}
    along = {n: rng.normal(size=v.shape) for n, v in x.items()}
    end = f"{program.sources[0]}/attribution"
    w, run = rng.normal(size=x[program.sources[0]].shape), evaluator(file.proto)
    moved = [run({n: v + STEP * k * along[n] for n, v in x.items()})[end] for k, _ in STENCIL]
    slope = sum(c / STEP * (w * y).sum() for (_, c), y in zip(STENCIL, moved, strict=True))
    again = build_program(file, named("gradient"), output=end)
    assert again.separable is separable
    seed = w[None] if separable else w
    found = evaluator(ir.serde.serialize_model(again.model))(x | {again.seed: seed})
    rises = [(found[again.contributions[n]].reshape(u.shape) * u).sum() for n, u in along.items()]
    assert abs(sum(rises) - slope) < EXACT * abs(slope)
