"""Gathering and scattering by index."""

from collections.abc import Iterator

import numpy as np

from tests.helpers.cases.case import Case, N, Rows, ints, normal


def indices() -> Iterator[Case]:
    data = (N, 4, 3)
    yield Case("Gather", [data, np.array(2)], {"axis": 1}, note="scalar")
    yield Case("Gather", [data, np.array(-1)], {"axis": -1}, note="scalar, last axis")
    yield Case("Gather", [data, ints(0, 3, 3, -1)], {"axis": 1}, note="repeated, negative")
    yield Case("Gather", [data, np.array([[0, 2], [2, 1]])], {"axis": 2}, note="2-D")
    yield Case("Gather", [data, np.array([[0, 2, 1], [2, 1, 1]])], {"axis": 1}, note="2-D, axis 1")
    yield Case("Gather", [data, ints(1, 0, 1)], {"axis": 0}, note="axis 0", batch=1)
    yield Case(
        "Gather", [data, np.array([[1, 0], [1, 1]])], {"axis": 0}, note="2-D, axis 0", batch=1
    )
    yield Case("Gather", [data, np.array(1)], {"axis": 0}, note="scalar, axis 0", batch=2)
    picks = np.array([[[0, 3, 1], [2, 2, 2]], [[1, 1, -1], [0, 0, 0]]])
    yield Case("GatherElements", [data, Rows(picks)], {"axis": 1})
    last = np.array([[[0, 2], [1, 1], [-1, 0], [2, 2]], [[2, 1], [0, 0], [1, 2], [0, 1]]])
    yield Case("GatherElements", [data, Rows(last)], {"axis": -1})
    places = np.array([[[0, 3, 1], [2, 1, -1]], [[1, 0, 3], [0, 2, 0]]])
    yield Case("ScatterElements", [data, Rows(places), (N, 2, 3)], {"axis": 1}, note="none")
    yield Case(
        "ScatterElements",
        [data, Rows(picks), (N, 2, 3)],
        {"axis": 1, "reduction": "add"},
        note="add",
    )
    yield Case("Compress", [data, np.array([True, False, True, True])], {"axis": 1})
    yield Case("Compress", [data, np.array([False, True])], {"axis": -1}, note="short")
    yield Case("Compress", [data, np.array([True, True])], {"axis": 0}, note="axis 0", batch=1)
    below = np.array([[[1, 2], [3, 0], [1, 2]], [[0, -1], [0, -1], [2, 1]]])
    yield Case("GatherND", [data, Rows(below)], {"batch_dims": 1}, note="elements")
    yield Case("GatherND", [data, Rows(below[..., :1])], {"batch_dims": 1}, note="slices")
    deep = Rows(np.array([[[[0], [2]]] * 4, [[[1], [1]]] * 4]))
    yield Case("GatherND", [data, deep], {"batch_dims": 2}, note="batch_dims 2")
    yield Case("GatherND", [data, np.array([[3], [3], [0]])], note="constant", batch=2)
    yield Case(
        "GatherND", [data, np.array([[[3, 0]], [[3, 1]]])], note="constant, elements", batch=2
    )
    yield from _placing()
    chosen = np.array([[1, 0, -1], [2, 9, 0]])  # 9 is in no class
    yield Case("OneHot", [Rows(chosen), np.array(4), (N, 2)], alone=True)
    yield Case("OneHot", [Rows(chosen), np.array(4), (N, 2)], {"axis": 0}, alone=True)
    yield Case(
        "Compress", [(N, 2, 3), np.array([True, False, True, True])], note="flat", alone=True
    )
    line = (N, 4, 3)
    ends = np.array([2, 4, 1])
    yield Case(
        "ReverseSequence",
        [line, ends],
        {"time_axis": 0, "batch_axis": 1},
        note="rows are not samples",
        batch=2,
    )
    yield Case("ReverseSequence", [line, Rows(ends)], {"batch_axis": 0, "time_axis": 1})
    yield Case("ReverseSequence", [line, Rows(ends)], {"time_axis": 0}, note="time first", batch=1)
    late = np.array([1, 0])
    yield Case("TensorScatter", [(N, 2, 4, 3), (N, 2, 2, 3), Rows(late)], opset=24)
    yield Case(
        "TensorScatter",
        [(N, 4, 3), (N, 3, 3), Rows(np.array([2, 3]))],
        {"mode": "circular", "axis": 1},
        opset=24,
    )
    yield Case("TensorScatter", [(N, 4, 3), (N, 2, 3)], note="from the start", opset=24)
    values = {"outputs": 2, "special": (0.0, 1.0, -1.0, 0.5)}
    yield Case("TopK", [data, ints(2)], **values)
    yield Case("TopK", [data, ints(3)], {"axis": 1, "largest": 0}, note="smallest", **values)
    yield Case("TopK", [data, ints(2)], {"axis": 0}, note="axis 0", batch=2, **values)
    yield Case("TopK", [data, ints(1)], note="one", **values)
    for upper in (0, 1):
        yield Case("Trilu", [data], {"upper": upper})
    yield Case("Trilu", [(N, 2, 3, 3), np.array(1)], note="above the diagonal")
    yield Case("Trilu", [data, np.array(-1)], {"upper": 0}, note="below the diagonal")


def _placing() -> Iterator[Case]:
    data = (N, 4, 3)
    twice = np.array([[[0, 3, 1], [2, 3, -1]], [[1, 0, 3], [1, 2, 0]]])
    for reduction in ("mul", "max", "min"):
        attrs = {"axis": 1, "reduction": reduction}
        yield Case("ScatterElements", [data, Rows(twice), (N, 2, 3)], attrs, note=reduction)
    yield Case(
        "ScatterElements",
        [(N, 2, 3), np.array([[0, 1, 0]]), normal(1, 3)],
        {"reduction": "mul"},
        note="mul, constant updates",
        alone=True,
    )
    yield Case(
        "ScatterND",
        [(N, 3, 2), np.array([[[0, 1]], [[-1, 0]]]), (N, 2, 1)],
        note="elements",
        alone=True,
    )
    for reduction in ("none", "add", "mul", "max", "min"):
        attrs = {"reduction": reduction}
        rows = np.array([[3], [0]] if reduction == "none" else [[3], [0], [3]])
        yield Case(
            "ScatterND",
            [data, rows, (N, len(rows), 3)],
            attrs,
            note=f"{reduction}, slices",
            batch=1,
        )
