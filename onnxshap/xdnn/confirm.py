"""Confirm a proven degree by runs: f(a x) against a^k f(x)."""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from onnxshap.errors import ExecutionError, InputError
from onnxshap.graph.dependence import ancestors
from onnxshap.graph.partition import ancestors_until
from onnxshap.inputs import Data, Inputs
from onnxshap.methods.draft import Draft
from onnxshap.xdnn.runs import Arrays, Part, one_by_one

FACTORS = (0.01, 0.3, 0.5, 3.0, 17.0, 100.0)
"""Values of a. Not powers of two alone: those leave the rounding, and what it hides, as it is."""

_DRAWN = 2  # samples, where none are given


class Confirmation(NamedTuple):
    """What the runs showed."""

    deviation: float | None
    """Largest |f(a x) - a^k f(x)| over the largest |a^k f(x)|, for the worst a."""
    unconfirmed: str = ""
    """Why there is no deviation."""


def confirm(draft: Draft, degree: Fraction, samples: Data | None) -> Confirmation:
    """Compare f(a x) with a^k f(x) on ``samples`` of the model's inputs, or on random ones."""
    graph, sources, target = draft.graph, draft.sources, draft.target
    needed = ancestors(graph, [target, *sources])
    fed = [v for v in draft.model_inputs if v in needed]
    inputs = Inputs(graph, [str(v.name) for v in fed])
    if samples is None:
        free = [s.name for s in inputs.specs.values() if None in s.sample]
        if free:
            return Confirmation(None, f'the sizes of "{free[0]}" are free; give samples=')
        given = _draw(inputs)
    else:
        arrays = inputs.by_name(samples, "samples")
        count = len(next(iter(arrays.values())))
        if not count:
            raise InputError("samples: there are none; leave samples= out for random ones")
        given = inputs.rows(arrays, 0, count, "samples")
    behind = ancestors_until(graph, [target], set(sources))
    held = [v for v in fed if v in behind and v not in sources]
    inner = [v for v in sources if v not in draft.model_inputs]
    try:
        feeds = list(one_by_one(graph, given))
        if inner:
            first = Part(draft.model, fed, inner, "part before the explained values")
            feeds = [feed | first(feed) for feed in feeds]
        part = Part(draft.model, [*sources, *held], [target], "part that is certified")
        return _compare(part, feeds, [str(v.name) for v in sources], degree)
    except ExecutionError as error:
        return Confirmation(None, str(error))


def _draw(inputs: Inputs) -> Arrays:
    """Normal numbers for floats; 0 and 1 for integers, which every table of rows has."""
    rng = np.random.default_rng(0)
    drawn = {}
    for spec in inputs.specs.values():
        shape = (_DRAWN, *(size or 0 for size in spec.sample))
        drawn[spec.name] = (
            rng.normal(size=shape) if spec.is_float else rng.integers(0, 2, shape)
        ).astype(spec.dtype)
    return drawn


def _compare(part: Part, feeds: list[Arrays], sources: list[str], degree: Fraction) -> Confirmation:
    def outputs(factor: float) -> np.ndarray:
        scaled = [feed | {s: _times(feed[s], factor) for s in sources} for feed in feeds]
        return np.array([next(iter(part(feed).values())) for feed in scaled], np.float64)

    own = outputs(1.0)
    if not np.isfinite(own).all():
        return Confirmation(None, "the output is not finite at the samples; give others (samples=)")
    if not own.any():
        return Confirmation(None, "the output is 0 at all samples; give others (samples=)")
    worst = 0.0
    for factor in FACTORS:
        expected, found = factor ** float(degree) * own, outputs(factor)
        if not np.isfinite(found).all():
            return Confirmation(None, f"the output is not finite for a = {factor:g}")
        worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
    return Confirmation(worst)


def _times(array: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(array * array.dtype.type(factor))
