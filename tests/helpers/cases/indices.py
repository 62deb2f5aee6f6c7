"""Gathering and scattering by index."""

from collections.abc import Iterator

import numpy as np

from tests.helpers.cases.case import Case, N, Rows, ints


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
