"""Reductions and running sums."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.helpers.cases.case import Case, N, ints


def reductions() -> Iterator[Case]:
    for reverse in (0, 1):
        for exclusive in (0, 1):
            yield Case(
                "CumSum", [(N, 4, 3), np.array(1)], {"reverse": reverse, "exclusive": exclusive}
            )
    yield Case("CumSum", [(N, 4, 3), np.array(-1)], note="last axis")
    for op in ("ReduceL2", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum"):
        extra: dict[str, Any] = {"special": (0.0, 1.0, -1.0, 2.0)}
        yield Case(op, [(N, 3, 4), ints(1)], note="axis 1", **extra)
        yield Case(op, [(N, 3, 4), ints(-1)], {"keepdims": 0}, note="axis -1 dropped", **extra)
        yield Case(op, [(N, 3, 4), ints(1, 2)], {"keepdims": 0}, note="axes 1 2 dropped", **extra)
        yield Case(op, [(N, 2, 3, 2), ints(-1, 1)], note="axes -1 1", **extra)
        yield Case(
            op, [(N, 2, 3, 2), ints(3, 1)], {"keepdims": 0}, note="axes 3 1 dropped", **extra
        )
        yield Case(op, [(N, 3, 4)], {"noop_with_empty_axes": 1}, note="noop", **extra)
        yield Case(
            op, [(N, 3, 4), ints(0)], {"keepdims": 0}, note="axis 0 dropped", batch=1, **extra
        )
        yield Case(op, [(N, 3, 4), ints(0)], note="axis 0", batch=2, **extra)
        yield Case(op, [(N, 3, 1), ints(2)], note="size 1", **extra)
