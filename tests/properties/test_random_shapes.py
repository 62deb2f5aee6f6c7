"""Pad and Slice of any border."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.cases import Case, N, ints, scalar
from tests.properties.judge import axes, data, judge, numbers, spelt

FAR = 2**62


@st.composite
def pads(draw: st.DrawFn) -> Case:
    """A node of any mode; borders may be negative."""
    mode = draw(st.sampled_from(("constant", "reflect", "edge", "wrap")))
    sizes, batched = draw(data())
    begins, ends, places = [], [], []
    for axis in draw(axes(len(sizes))):
        size = sizes[axis]
        begin = draw(st.integers(-(size - 1), 2 * size))
        end = draw(st.integers(-(size - 1 - max(0, -begin)), 2 * size))
        if mode == "reflect":  # what is left is reflected once
            left = size + min(0, begin) + min(0, end)
            begin, end = min(begin, left - 1), min(end, left - 1)
        begins.append(begin)
        ends.append(end)
        places.append(draw(spelt(axis + batched, len(sizes) + batched)))
    given: list[Any] = [(N, *sizes), ints(*begins, *ends), None, ints(*places)]
    if mode == "constant" and draw(st.booleans()):
        given[2] = scalar(2.5)
    opset = draw(st.sampled_from((19, 23)))
    return Case("Pad", given, {"mode": mode}, opset=opset, alone=not batched)


@st.composite
def slices(draw: st.DrawFn) -> Case:
    """A node that cuts forwards and backwards, from and to places that need not exist."""
    sizes, batched = draw(data())
    starts, ends, steps, places = [], [], [], []
    for axis in draw(axes(len(sizes))):
        size = sizes[axis]
        place = st.integers(-size - 2, size + 2) | st.sampled_from((-FAR, FAR))
        step = draw(st.sampled_from((1, 2, 3, -1, -2, -3)))
        start, end = draw(place), draw(place)
        if not len(range(size)[_bounds(start, end, step, size)]):
            start, end = (0, FAR) if step > 0 else (FAR, -FAR)
        starts.append(start)
        ends.append(end)
        steps.append(step)
        places.append(draw(spelt(axis + batched, len(sizes) + batched)))
    given = [(N, *sizes), ints(*starts), ints(*ends), ints(*places), ints(*steps)]
    if set(steps) == {1} and draw(st.booleans()):
        given.pop()
    return Case("Slice", given, alone=not batched)


def _bounds(start: int, end: int, step: int, size: int) -> slice:
    """ONNX's text: both ends are clamped, backwards to one before the first."""
    start, end = (k + size if k < 0 else k for k in (start, end))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    end = min(max(end, -1), size - 1)
    return slice(min(max(start, 0), size - 1), None if end < 0 else end, step)


@given(pads(), numbers)
def test_pad(case: Case, seed: int) -> None:
    judge(case, seed)


@given(slices(), numbers)
def test_slice(case: Case, seed: int) -> None:
    judge(case, seed)
