"""A case made ready: in float64, at a point where it has a derivative, with that derivative."""

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto

from onnxshap.graph.model import load
from onnxshap.scoreboard.cases import FLOATS, Case
from onnxshap.scoreboard.differences import Function, Slopes, Unsettled, slopes
from onnxshap.scoreboard.precision import doubled, widened
from onnxshap.scoreboard.reference_ops import CORRECTED
from onnxshap.scoreboard.runners import Arrays, Run, evaluator

JITTER = 1e-2
"""How far a case at a kink is moved, in standard deviations of noise."""
HUGE = 1e15
_LOOSE = {2: 2e-2, 4: 1e-4, 8: 1e-6}  # by bytes of a number: reproduction of the suite's outputs


class NotJudged(Exception):
    """The case cannot be judged; the message says why."""


@dataclass(frozen=True)
class Trial:
    """What the three judgements are made on."""

    case: Case
    model: onnx.ModelProto
    """What explanations are built from, in float64 where its operators can be."""
    run: Run
    """The case's function, in float64."""
    x: Arrays
    """The case's own data, moved off kinks; floats in float64."""
    seeds: Arrays
    """Cotangents of the float outputs, float64."""
    slopes: dict[str, Slopes]
    """Derivatives by hand, of every input asked for."""
    moved: bool
    """Whether the data had to be moved."""

    @property
    def pairs(self) -> list[str]:
        """Inputs whose derivative is not zero."""
        return [name for name, found in self.slopes.items() if not found.zero]

    def evaluator(self, emitted: onnx.ModelProto) -> Run:
        """Return a function that runs an emitted graph in float64, whatever it was built in."""
        proto = emitted if _takes_double(self.model, self.case) else doubled(emitted)
        run = evaluator(proto)
        return lambda feeds: run(cast(feeds, proto))


def prepare(case: Case) -> Trial:
    """Find a form of the case that has derivatives, and take them by hand.

    Raises
    ------
    NotJudged
        If the reference evaluator does not reproduce the case, or differences do not settle.
    """
    forward, run = _reproduced(case)
    point = cast(case.feeds, forward)
    y = run(point)
    rng = np.random.default_rng(case.seed)
    seeds = {name: _cotangent(y[name], rng) for name in case.outputs}
    smooth = evaluator(forward, (*CORRECTED, *case.smooth)) if case.smooth else run
    function = Function(smooth, seeds)
    reason = ""
    for attempt in range(4):
        x = point if attempt == 0 else _moved(case, point, rng, attempt)
        try:
            found = {name: slopes(function, x, name, rng) for name in case.inputs}
        except Unsettled as error:
            reason = str(error)
            continue
        return Trial(case, _explained(case, forward), run, x, seeds, found, attempt > 0)
    raise NotJudged(f"finite differences do not settle: {reason}")


def _reproduced(case: Case) -> tuple[onnx.ModelProto, Run]:
    """The case in float64, and its function, which gives the suite's own outputs."""
    model = doubled(case.model, _never_double(case.model) - set(case.inputs))
    failures = []
    for ops in (CORRECTED, ()):
        try:
            run = evaluator(model, ops)
            feeds = cast(case.feeds, model)
            found, again = run(feeds), run(feeds)
            if any(not _same(y, again[name]) for name, y in found.items()):
                raise NotJudged("random: two runs differ")
            reproduces(case, found)
        except NotJudged:
            raise
        except Exception as error:  # what an evaluator raises has no common root
            failures.append(f"{type(error).__name__}")
            continue
        return model, run
    raise NotJudged(f"the reference evaluator does not reproduce it ({failures[-1]})")


def _explained(case: Case, forward: onnx.ModelProto) -> onnx.ModelProto:
    """The case in float64; where an operator takes none, written out in others.

    Where these take none either, as to quantise: in float32.
    """
    if _takes_double(forward, case):
        return forward
    single = widened(case.model, TensorProto.FLOAT)
    written = doubled(ir.serde.serialize_model(load(single).normalised))
    return written if _takes_double(written, case) else single


def _same(a: object, b: object) -> bool:
    floats = isinstance(a, np.ndarray) and a.dtype.kind == "f"
    return np.array_equal(a, b, equal_nan=floats)  # type: ignore[arg-type]


def reproduces(case: Case, found: Arrays) -> None:
    """Raise AssertionError where outputs of a run are not what the suite expects."""
    for (name, y), expected in zip(found.items(), case.expected, strict=True):
        if name in case.outputs and expected is not None:
            own = max(_LOOSE[expected.dtype.itemsize], *case.tolerance)
            np.testing.assert_allclose(
                np.asarray(y, np.float64), expected.astype(np.float64), rtol=own, atol=own
            )


def _takes_double(model: onnx.ModelProto, case: Case) -> bool:
    """Whether what is differentiated is in float64, in operators that take it."""
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
    double = {name for name, elem in types.items() if elem == TensorProto.DOUBLE}
    return set(case.inputs) <= double - _never_double(model)


def _never_double(model: onnx.ModelProto) -> set[str]:
    """Inputs of nodes whose schema does not list float64."""
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    found = set()
    for node in model.graph.node:
        formals = onnx.defs.get_schema(node.op_type, opset, node.domain).inputs
        for place, name in enumerate(node.input):
            if "tensor(double)" not in formals[min(place, len(formals) - 1)].types:
                found.add(name)
    return found


def cast(feeds: Arrays, model: onnx.ModelProto) -> Arrays:
    """Floats in the types a model declares for them."""
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
    return {
        name: array.astype(onnx.helper.tensor_dtype_to_np_dtype(types[name]))
        if types[name] in FLOATS
        else array
        for name, array in feeds.items()
    }


def _cotangent(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random weights of an output; 0 where it is not a number, or a mask's stand-in for one."""
    return np.where(np.abs(y) < HUGE, rng.normal(size=y.shape), 0.0)


def _moved(case: Case, x: Arrays, rng: np.random.Generator, attempt: int) -> Arrays:
    """Add noise to what is differentiated: both ways, then upwards, then downwards.

    Numbers stay ones that the case's own type can hold.
    """
    moved = dict(x)
    for name in case.inputs:
        noise = rng.normal(size=x[name].shape) * JITTER
        noise = (noise, np.abs(noise), -np.abs(noise))[attempt - 1]
        own = (x[name] + noise).astype(case.feeds[name].dtype)
        moved[name] = np.asarray(own).astype(x[name].dtype)
    return moved
