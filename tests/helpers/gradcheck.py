"""Build a row's model and explanation graphs, run them twice over, and differentiate by hand.

Float64 runs on ONNX's reference evaluator, float32 on onnxruntime: two implementations.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from onnxshap.autodiff.registry import RuleSet, multiplier
from onnxshap.graph.model import load
from onnxshap.methods import build_program, named
from onnxshap.methods.draft import Draft
from onnxshap.methods.program import Program
from onnxshap.scoreboard import runners
from onnxshap.scoreboard.reference_ops import CORRECTED
from onnxshap.scoreboard.runners import Arrays, Run, session
from tests.helpers.cases import DTYPE, Case, Sizes, ints
from tests.helpers.recurrent import RECURRENT

RECENT = 32
"""How many graphs are kept: a test asks for the same few again, the next one for others."""

DOUBLE, FLOAT = np.dtype(np.float64), np.dtype(np.float32)


# Models -------------------------------------------------------------------------------------------


def one_node_model(
    case: Case, dtype: np.dtype = DOUBLE, batch: str | int = "N", opset: int | None = None
) -> onnx.ModelProto:
    """The row's operator as a model; ``batch``: name or size of the batch axis."""
    lead = [] if case.alone else [batch]
    inputs, nodes, initializers, names = [], [], [], []
    for i, given in enumerate(case.inputs):
        name = f"x{i}"
        if isinstance(given, np.ndarray):
            name = f"c{i}"
            array = given.astype(dtype) if given.dtype == np.float64 else given
            initializers.append(numpy_helper.from_array(array, name))
        elif given is None:
            name = ""
        elif isinstance(given, Sizes):
            name = f"c{i}"
            initializers.append(numpy_helper.from_array(ints(*given.rest), f"{name}/rest"))
            nodes.append(helper.make_node("Shape", ["x0"], [f"{name}/batch"], "size", end=1))
            parts = [f"{name}/batch", f"{name}/rest"]
            nodes.append(helper.make_node("Concat", parts, [name], "sizes", axis=0))
        elif name in case.rows:
            values = case.rows[name]
            inputs.append(_tensor(name, values.dtype, [*lead, *values.shape[1:]]))
        else:
            inputs.append(_tensor(name, dtype, [*lead, *case.free[name][1:]]))
            if case.batch:
                nodes.append(_move_batch(name, len(case.free[name]), case.batch))
                name = f"{name}/moved"
        names.append(name)
    while names and not names[-1]:
        names.pop()
    outputs = [f"y{k}" if k in case.join else f"unused{k}" for k in range(case.outputs)]
    attrs = {
        name: helper.np_dtype_to_tensor_dtype(dtype) if value is DTYPE else value
        for name, value in case.attrs.items()
    }
    nodes.append(helper.make_node(case.op, names, outputs, name="node", **attrs))
    target = outputs[case.join[0]]
    if len(case.join) > 1:
        parts, target = [outputs[k] for k in case.join], "joined"
        nodes.append(helper.make_node("Concat", parts, [target], "join", axis=case.attrs["axis"]))
    declared = [onnx.ValueInfoProto(name=target)]
    declared[0].type.tensor_type.elem_type = attrs.get("to", helper.np_dtype_to_tensor_dtype(dtype))
    graph = helper.make_graph(nodes, case.op, inputs, declared, initializers)
    opsets = [helper.make_opsetid("", opset or case.opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    found = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    kind = found.graph.output[0].type.tensor_type
    if not kind.HasField("shape"):  # ONNX infers none for some functions: theirs is x0's
        kind.shape.CopyFrom(found.graph.input[0].type.tensor_type.shape)
    return found


def _tensor(name: str, dtype: np.dtype, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


def _move_batch(name: str, rank: int, to: int) -> onnx.NodeProto:
    perm = list(range(1, rank))
    perm.insert(to, 0)
    return helper.make_node("Transpose", [name], [f"{name}/moved"], f"move {name}", perm=perm)


@dataclass(frozen=True)
class Multipliers:
    """DeepSHAP before the product with x - x_ref: what a multiplier is where that is 0."""

    rules: RuleSet = multiplier

    name: ClassVar[str] = "multipliers"
    needs_background: ClassVar[bool] = True

    def build(self, draft: Draft) -> Program:
        """Append the backward pass; contributions are multipliers [K, N, M, *x]."""
        found = draft.walk(self.rules)
        everywhere = {  # a multiplier that is alike for all references has size 1 there
            source: draft.op.Add(m, draft.op.Mul(draft.delta(source), 0.0))
            for source, m in found.items()
        }
        return draft.finish(everywhere)


@dataclass(frozen=True, eq=False)
class Emitted:
    """An explanation graph and its two implementations."""

    case: Case
    program: Program
    dtype: np.dtype

    @property
    def proto(self) -> onnx.ModelProto:
        """The graph as a file holds it."""
        return ir.serde.serialize_model(self.program.model)

    def run(self, x: Arrays, seed: np.ndarray, r: Arrays | None = None) -> Arrays:
        """Run where the dtype belongs: float64 by reference, float32 on onnxruntime."""
        feeds = {name: self._cast(x[name]) for name in self.program.inputs}
        feeds["seed"] = self._cast(seed)
        for name, twin in self.program.references.items():
            feeds[twin] = self._cast((r or x)[name])
        return self._each(feeds) if self.case.alone else self._runner(feeds)

    def _each(self, feeds: Arrays) -> Arrays:
        """Run pair by pair a program that takes no batches; results as one that does gives them."""
        program, twins = self.program, set(self.program.references.values())
        targets, explicands = feeds["seed"].shape[:2]
        shape = [targets, explicands, *({len(feeds[t]) for t in twins})]
        found, seed = [], feeds.pop("seed")
        for k, n, *m in np.ndindex(*shape):
            pair = {name: v[m[0] if name in twins else n] for name, v in feeds.items()}
            found.append(self._runner(pair | {"seed": np.asarray(seed[k, n])}))
        stacked = {}
        for name in found[0]:
            every = np.stack([one[name] for one in found])
            every = every.reshape(*shape, *every.shape[1:])
            if name == program.output:
                every = every[0][:, 0] if twins else every[0]
            elif name == program.reference_output:
                every = every[0, 0]
            stacked[name] = every
        return stacked

    def _cast(self, array: np.ndarray) -> np.ndarray:
        return array.astype(self.dtype) if array.dtype.kind == "f" else array

    @property
    def _runner(self) -> Run:
        return by_reference(self) if self.dtype == DOUBLE else on_runtime(self)

    def contributions(
        self, x: Arrays, seed: np.ndarray, r: Arrays | None = None
    ) -> dict[str, np.ndarray]:
        """Contributions by input, as the program gives them."""
        found = self.run(x, seed, r)
        return {name: found[end] for name, end in self.program.contributions.items()}


@lru_cache(RECENT)
def _loaded(case: Case, dtype: np.dtype, batch: str | int, opset: int | None) -> Any:
    return load(one_node_model(case, dtype, batch, opset))


@lru_cache(RECENT)
def emit(
    case: Case,
    method: str | Multipliers = "gradient",
    dtype: np.dtype = DOUBLE,
    *,
    separable: bool = True,
    batch: str | int = "N",
    opset: int | None = None,
) -> Emitted:
    """Build the explanation graph of a row."""
    model = _loaded(case, np.dtype(dtype), batch, opset)
    chosen = named(method) if isinstance(method, str) else method
    varying = [*case.free, *(case.rows if case.flips else ())]
    program = build_program(
        model, chosen, inputs=case.explained, varying=varying, separable=separable
    )
    return Emitted(case, program, np.dtype(dtype))


# Runners ------------------------------------------------------------------------------------------


def evaluator(proto: onnx.ModelProto) -> Run:
    """Return a function that runs ``proto`` by the reference evaluator, corrected where it errs."""
    return runners.evaluator(proto, [*CORRECTED, *RECURRENT])


@lru_cache(RECENT)
def by_reference(emitted: Emitted) -> Run:
    """Reference evaluation of an explanation graph."""
    return evaluator(emitted.proto)


@lru_cache(RECENT)
def on_runtime(emitted: Emitted) -> Run:
    """Onnxruntime session of an explanation graph."""
    return session(emitted.proto)


@dataclass(frozen=True, eq=False)
class Forward:
    """A row's function in float64; its output's batch axis is moved to the front."""

    run: Run
    batch: int
    """The axis that was moved."""

    def __call__(self, x: Arrays) -> np.ndarray:
        (y,) = self.run(x).values()
        return np.moveaxis(y, self.batch, 0)


@lru_cache(RECENT)
def forward(case: Case) -> Forward:
    """Return the row's function; where its batch axis is shows at two batch sizes."""
    run, rng = evaluator(one_node_model(case)), np.random.default_rng(0)
    run = sample_by_sample(run) if case.alone else run
    two, three = (next(iter(run(case.draw(rng, count)).values())).shape for count in (2, 3))
    (batch,) = (k for k, (a, b) in enumerate(zip(two, three, strict=True)) if a != b)
    return Forward(run, batch)


def sample_by_sample(run: Run) -> Run:
    """Return ``run``, which takes one sample without a batch axis, for many of them."""

    def stacked(feeds: Arrays) -> Arrays:
        count = len(next(iter(feeds.values())))
        each = [run({name: v[n] for name, v in feeds.items()}) for n in range(count)]
        return {name: np.stack([one[name] for one in each]) for name in each[0]}

    return stacked


# Differences --------------------------------------------------------------------------------------

STEP = 1e-4
STENCIL = ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12))  # of fourth order


def directional(
    case: Case, x: Arrays, name: str, directions: np.ndarray, step: float = STEP
) -> np.ndarray:
    """Derivatives of every sample's output along ``directions`` [D, *x] of one input.

    Returns [D, N, *output], by central differences. One run for all: samples do not mix.
    """
    count, wide = len(x[name]), len(directions)
    moved = [x[name] + step * k * u for k, _ in STENCIL for u in directions]
    repeats = len(STENCIL) * wide
    feeds = {n: np.concatenate([v] * repeats) for n, v in x.items()}
    y = forward(case)(feeds | {name: np.concatenate(moved)})
    y = y.reshape(len(STENCIL), wide, count, *y.shape[1:])
    weights = np.array([w for _, w in STENCIL]) / step
    return np.tensordot(weights, y, 1)


def directions_for(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Three random directions, and every coordinate of small inputs."""
    size = int(np.prod(shape, dtype=int))
    chosen = rng.normal(size=(3, *shape))
    if size <= 64:
        chosen = np.concatenate([chosen, np.eye(size).reshape(size, *shape)])
    return chosen


def seeds(case: Case, rng: np.random.Generator, targets: int, x: Arrays) -> np.ndarray:
    """Cotangents [K, N, *output]: the first random, the others one random output element each."""
    y = forward(case)(x)
    found = np.zeros((targets, *y.shape))
    found[0] = rng.normal(size=y.shape)
    for k in range(1, targets):
        flat = found[k].reshape(len(y), -1)
        flat[:, rng.integers(flat.shape[1])] = 1.0
    return found


def relative_gap(found: np.ndarray, expected: np.ndarray, floor: float = 1e-3) -> float:
    """Largest difference, relative to the largest expected magnitude (or ``floor``)."""
    if found.shape != expected.shape:
        return np.inf
    if not np.isfinite(found).all():
        return np.inf
    scale = max(floor, float(np.abs(expected).max(initial=0)))
    return float(np.abs(found - expected).max(initial=0)) / scale


def vjp_gap(case: Case, x: Arrays, seed: np.ndarray, found: Arrays, rng: Any) -> float:
    """How far gradients [K, N, *x] are from central differences; worst over inputs."""
    gaps = []
    for name, gradient in found.items():
        shape = x[name].shape[1:]
        if gradient.shape != (*seed.shape[:2], *shape):
            return np.inf
        directions = directions_for(shape, rng)
        slopes = directional(case, x, name, directions)
        expected = np.einsum("kns,dns->dkn", _flat(seed, 2), _flat(slopes, 2))
        taken = np.einsum("knx,dx->dkn", _flat(gradient, 2), _flat(directions, 1))
        gaps.append(relative_gap(taken, expected))
    return max(gaps)


def forget() -> None:
    """Drop remembered graphs: the rules they were built by have changed."""
    for remembered in (emit, by_reference, on_runtime):
        remembered.cache_clear()


def _flat(array: np.ndarray, lead: int) -> np.ndarray:
    return array.reshape(*array.shape[:lead], -1)


@dataclass(frozen=True)
class Balance:
    """Both sides of completeness for every target, explicand and reference: [K, N, M] each."""

    credited: np.ndarray
    """Sum of contributions over all inputs."""
    change: np.ndarray
    """Seed times (y - y0), summed over the output."""
    turnover: np.ndarray
    """Sum of the magnitudes of all contributions, and of seed times max(|y|, |y0|)."""

    @property
    def residual(self) -> np.ndarray:
        """Gap between the sides; infinite where a contribution is not a number."""
        with np.errstate(invalid="ignore"):
            gap = np.abs(self.credited - self.change)
        return np.where(np.isfinite(gap), gap, np.inf)

    def gap(self, floor: float = 1e-3) -> float:
        """Worst residual relative to the change, or to ``floor`` where that is smaller."""
        return float((self.residual / np.maximum(np.abs(self.change), floor)).max())

    def rounding(self, floor: float = 1e-3) -> float:
        """Worst residual relative to the turnover: what rounding alone may leave."""
        return float((self.residual / np.maximum(self.turnover, floor)).max())


def balance(emitted: Emitted, x: Arrays, r: Arrays, seed: np.ndarray) -> Balance:
    """Run a DeepSHAP graph and compare what it credits with how its own outputs differ."""
    found, program = emitted.run(x, seed, r), emitted.program
    axis = program.output_batch or 0
    y, y0 = (
        _flat(np.moveaxis(found[name], axis, 0).astype(DOUBLE), 1)
        for name in (program.output, program.reference_output or "")
    )
    parts = [_flat(found[end], 3).astype(DOUBLE) for end in program.contributions.values()]
    credits, weights = np.concatenate(parts, axis=3), _flat(seed, 2)
    largest = np.maximum(np.abs(y)[:, None], np.abs(y0)[None])
    with np.errstate(invalid="ignore"):  # a sum that is not a number is told by its residual
        return Balance(
            credits.sum(3),
            np.einsum("kns,nms->knm", weights, y[:, None] - y0[None]),
            np.abs(credits).sum(3) + np.einsum("kns,nms->knm", np.abs(weights), largest),
        )


# Precision ----------------------------------------------------------------------------------------

PAIRS = 4000


def float32_gap(case: Case, rng: np.random.Generator) -> float:
    """Worst float32 error of a function of one number's multiplier, relative to the largest one.

    Distances between the two points run from 1e-7 to 10, and are 0 at five pairs.
    """
    wide = replace(case, inputs=[("N", PAIRS), *case.inputs[1:]])
    low, high = case.interval("x0")
    x = rng.uniform(low, high, (1, PAIRS))
    d = 10 ** rng.uniform(-7, 1, x.shape) * rng.choice([-1, 1], x.shape)
    d[0, :5] = 0
    r = x - d
    with np.errstate(all="ignore"):
        bounded = not low <= 0 <= high or not np.isfinite(forward(wide)({"x0": r})).all()
    if bounded:  # a function that is not defined, or not smooth, everywhere
        r = np.where((r < low) | (r > high), x + d, r).clip(low, high)
    x32, r32 = ({"x0": v.astype(FLOAT)} for v in (x, r))
    seed = np.ones((1, 1, PAIRS))
    precise, single = (
        emit(wide, Multipliers(), dtype).contributions(x32, seed, r32)["x0"]
        for dtype in (DOUBLE, FLOAT)
    )
    return relative_gap(single, precise)
