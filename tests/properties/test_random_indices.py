"""Gathering and scattering by any index."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.cases import Case, N, Rows, normal
from tests.properties.judge import data, judge, lists, numbers, spelt

REDUCTIONS = ("none", "add", "mul", "max", "min")


def within(draw: st.DrawFn, shape: list[int], size: int) -> np.ndarray:
    """Places along an axis of ``size``, from either end; they may repeat."""
    return np.array(draw(lists(math.prod(shape), -size, size - 1)), np.int64).reshape(shape)


@st.composite
def gathers(draw: st.DrawFn) -> Case:
    sizes, batched = draw(data())
    axis = draw(st.integers(0, len(sizes) - 1))
    index = within(draw, draw(lists(draw(st.integers(0, 2)), 1, 3)), sizes[axis])
    attrs = {"axis": draw(spelt(axis + batched, len(sizes) + batched))}
    return Case("Gather", [(N, *sizes), index], attrs, alone=not batched)


@st.composite
def gather_elements(draw: st.DrawFn) -> Case:
    sizes, batched = draw(data())
    axis, shape, index = _along(draw, sizes, batched)
    if draw(st.booleans()):  # an index for each sample
        rows = Rows(np.stack([index, within(draw, shape, sizes[axis])]))
        attrs = {"axis": draw(spelt(axis + batched, len(sizes) + batched))}
        return Case("GatherElements", [(N, *sizes), rows], attrs, alone=not batched)
    attrs = {"axis": draw(spelt(axis, len(sizes)))}
    return Case("GatherElements", [(N, *sizes), index], attrs, alone=True)


def _along(draw: st.DrawFn, sizes: list[int], batched: bool) -> tuple[int, list[int], np.ndarray]:
    """An axis, and places along it at some positions of the others."""
    axis = draw(st.integers(0, len(sizes) - 1))
    shape = [draw(st.integers(1, n)) for n in sizes]
    shape[axis] = draw(st.integers(1, 4))
    if not batched:
        shape[0] = max(2, shape[0])  # as in `data`
    return axis, shape, within(draw, shape, sizes[axis])


@st.composite
def gather_nd(draw: st.DrawFn) -> Case:
    sizes, batched = draw(data(most=4))
    lead = draw(st.integers(0, len(sizes) - 1))
    depth = draw(st.integers(1, len(sizes) - lead))
    shape = [*sizes[:lead], *draw(lists(draw(st.integers(0, 2)), 1, 3))]
    if not batched and not shape and lead + depth == len(sizes):
        shape = [2]  # ONNX infers no rank for a GatherND that gives a scalar
    own = sizes[lead : lead + depth]
    if batched:
        rows = Rows(np.stack([_tuples(draw, shape, own) for _ in range(2)]))
        return Case("GatherND", [(N, *sizes), rows], {"batch_dims": lead + 1})
    index = _tuples(draw, shape, own)
    return Case("GatherND", [(N, *sizes), index], {"batch_dims": lead}, alone=True)


def _tuples(draw: st.DrawFn, shape: list[int], sizes: list[int]) -> np.ndarray:
    return np.stack([within(draw, shape, n) for n in sizes], axis=-1)


@st.composite
def scatter_elements(draw: st.DrawFn) -> Case:
    sizes, batched = draw(data())
    reduction = draw(st.sampled_from(REDUCTIONS))
    axis, shape, index = _along(draw, sizes, batched)
    rows = [index, within(draw, shape, sizes[axis])]
    if reduction == "none":  # which of two updates of one element is kept is not defined
        shape[axis] = min(shape[axis], sizes[axis])
        rows = [_distinct(draw, shape, axis, sizes[axis]) for _ in range(2)]
    attrs = {"reduction": reduction, "axis": draw(spelt(axis + batched, len(sizes) + batched))}
    given: list[Any] = [(N, *sizes), Rows(np.stack(rows)), (N, *shape)]
    if not batched:
        given = _some(draw, given, rows[0])
    return Case("ScatterElements", given, attrs, alone=not batched)


def _distinct(draw: st.DrawFn, shape: list[int], axis: int, size: int) -> np.ndarray:
    seed = draw(st.integers(0, 2**16))
    everywhere = np.tile(np.arange(size), (*shape[:axis], *shape[axis + 1 :], 1))
    mixed = np.random.default_rng(seed).permuted(everywhere, axis=-1)[..., : shape[axis]]
    return np.moveaxis(mixed - size * draw(st.integers(0, 1)), -1, axis)


def _some(draw: st.DrawFn, given: list[Any], index: np.ndarray) -> list[Any]:
    """Data, updates or both are explained; the index is constant."""
    free = draw(st.sampled_from(((0,), (2,), (0, 2))))
    data, updates = (given[i] if i in free else normal(*given[i][1:]) for i in (0, 2))
    return [data, index, updates]


@st.composite
def scatter_nd(draw: st.DrawFn) -> Case:
    sizes, _ = draw(data())
    sizes[0] = max(2, sizes[0])
    reduction = draw(st.sampled_from(REDUCTIONS))
    depth = draw(st.integers(1, len(sizes)))
    shape = draw(lists(draw(st.integers(1, 2)), 1, 3))
    shape[0] = max(2, shape[0])
    index = _tuples(draw, shape, sizes[:depth])
    if reduction == "none":
        places = {tuple(p) for p in (index.reshape(-1, depth) % sizes[:depth]).tolist()}
        index = np.array(sorted(places), np.int64)
        index = index - np.array(sizes[:depth]) * draw(st.integers(0, 1))
        shape = [len(index)]
    given: list[Any] = [(N, *sizes), index, (N, *shape, *sizes[depth:])]
    return Case("ScatterND", _some(draw, given, index), {"reduction": reduction}, alone=True)


@given(gathers(), numbers)
def test_gather(case: Case, seed: int) -> None:
    judge(case, seed)


@given(gather_elements(), numbers)
def test_gather_elements(case: Case, seed: int) -> None:
    judge(case, seed)


@given(gather_nd(), numbers)
def test_gather_nd(case: Case, seed: int) -> None:
    judge(case, seed)


@given(scatter_elements(), numbers)
def test_scatter_elements(case: Case, seed: int) -> None:
    judge(case, seed)


@given(scatter_nd(), numbers)
def test_scatter_nd(case: Case, seed: int) -> None:
    judge(case, seed)
