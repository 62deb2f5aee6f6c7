"""Reductions and running sums."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.helpers.cases.case import Case, N, ints

REDUCTIONS = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
]

UNCLEAR = ["ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"]
"""Runtimes differ on what these do to elements when no axis is reduced."""


def reductions() -> Iterator[Case]:
    for reverse in (0, 1):
        for exclusive in (0, 1):
            yield Case(
                "CumSum", [(N, 4, 3), np.array(1)], {"reverse": reverse, "exclusive": exclusive}
            )
            yield Case(
                "CumProd",
                [(N, 4, 3), np.array(1)],
                {"reverse": reverse, "exclusive": exclusive},
                opset=26,
            )
    yield Case("CumSum", [(N, 4, 3), np.array(-1)], note="last axis")
    for size in (1, 2, 5):
        note = f"last axis of {size}"
        yield Case("CumProd", [(N, 2, size), np.array(-1)], note=note, opset=26)
    yield Case("ReduceProd", [(N, 2, 5), ints(-1)], note="of five", special=(0.0, 1.0, 2.0))
    yield Case("ReduceProd", [(3, 4)], note="everything", alone=True)
    yield Case("ReduceProd", [(N, 2, 0, 3), ints(2)], note="of none")
    for op in REDUCTIONS:
        extra: dict[str, Any] = {"special": (0.0, 1.0, -1.0, 2.0)}
        if op == "ReduceLogSum":
            extra = {"domain": (0.2, 3.0), "special": (0.5, 1.0, 2.0, 30.0)}
        if op == "ReduceLogSumExp":
            extra = {"special": (-30.0, 0.0, 0.5, 30.0)}
        yield Case(op, [(N, 3, 4), ints(1)], note="axis 1", **extra)
        yield Case(op, [(N, 3, 4), ints(-1)], {"keepdims": 0}, note="axis -1 dropped", **extra)
        yield Case(op, [(N, 3, 4), ints(1, 2)], {"keepdims": 0}, note="axes 1 2 dropped", **extra)
        yield Case(op, [(N, 2, 3, 2), ints(-1, 1)], note="axes -1 1", **extra)
        yield Case(
            op, [(N, 2, 3, 2), ints(3, 1)], {"keepdims": 0}, note="axes 3 1 dropped", **extra
        )
        if op not in UNCLEAR:
            yield Case(op, [(N, 3, 4)], {"noop_with_empty_axes": 1}, note="noop", **extra)
        yield Case(
            op, [(N, 3, 4), ints(0)], {"keepdims": 0}, note="axis 0 dropped", batch=1, **extra
        )
        yield Case(op, [(N, 3, 4), ints(0)], note="axis 0", batch=2, **extra)
        yield Case(op, [(N, 3, 1), ints(2)], note="size 1", **extra)
