"""Pools."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.helpers.cases.case import IMAGE, Case, N, ints


def pools() -> Iterator[Case]:
    k2, k3 = {"kernel_shape": [2, 2]}, {"kernel_shape": [3, 3]}
    uneven = {"strides": [2, 2], "pads": [1, 1, 0, 1]}
    ties = (0.0, 1.0, -1.0, 0.5)
    yield Case("AveragePool", [IMAGE], {**k2, "strides": [2, 2]}, note="2x2")
    yield Case("AveragePool", [IMAGE], {**k3}, note="overlapping")
    yield Case("AveragePool", [IMAGE], {**k3, **uneven}, note="padded")
    yield Case(
        "AveragePool", [IMAGE], {**k3, **uneven, "count_include_pad": 1}, note="padded, pads count"
    )
    yield Case("AveragePool", [IMAGE], {**k2, "strides": [2, 2], "ceil_mode": 1}, note="ceil_mode")
    yield Case(
        "AveragePool",
        [IMAGE],
        {**k3, "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1},
        note="ceil_mode, pads count",
    )
    # A last window that starts past the input is dropped by the runtimes. ONNX's own inference,
    # which checks the emitted files, does so from opset 22; tests/graph/test_shapes.py has 18.
    line = (N, 2, 5)
    padded = {"kernel_shape": [3], "strides": [3], "pads": [1, 1], "ceil_mode": 1}
    gaps = {"kernel_shape": [1], "strides": [3], "ceil_mode": 1}
    yield Case("AveragePool", [line], {**padded}, note="ceil_mode, window in padding", opset=22)
    yield Case(
        "AveragePool",
        [line],
        {**padded, "count_include_pad": 1},
        note="ceil_mode, window in padding, pads count",
        opset=22,
    )
    yield Case(
        "AveragePool", [(N, 2, 6)], {**gaps}, note="ceil_mode, window past the end", opset=22
    )
    yield Case(
        "AveragePool",
        [(N, 2, 6)],
        {**gaps, "auto_pad": "VALID"},
        note="ceil_mode, VALID, window past the end",
        opset=22,
    )
    yield Case("AveragePool", [IMAGE], {**k2, "dilations": [2, 2]}, note="dilations", opset=19)
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case("AveragePool", [IMAGE], {**k2, "strides": [2, 2], "auto_pad": auto}, note=auto)
    yield Case("AveragePool", [(N, 2, 6)], {"kernel_shape": [3], "strides": [2]}, note="1-D")
    yield Case("AveragePool", [(N, 1, 3, 3, 4)], {"kernel_shape": [2, 2, 2]}, note="3-D")
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        ties_too = {"special": ties} if op == "GlobalMaxPool" else {}
        yield Case(op, [(N, 3, 3, 4)], note="2-D", **ties_too)
        yield Case(op, [(N, 3, 5)], note="1-D", **ties_too)
        yield Case(op, [(N, 2, 2, 3, 2)], note="3-D", **ties_too)
    pool: dict[str, Any] = {"special": ties}
    yield Case("MaxPool", [IMAGE], {**k2, "strides": [2, 2]}, note="2x2", **pool)
    yield Case("MaxPool", [IMAGE], {**k3}, note="overlapping", **pool)
    yield Case(
        "MaxPool",
        [IMAGE],
        {**k3, "strides": [2, 2], "pads": [1, 1, 1, 1]},
        note="overlapping, padded",
        **pool,
    )
    yield Case("MaxPool", [IMAGE], {**k3, **uneven}, note="uneven pads", **pool)
    yield Case(
        "MaxPool", [IMAGE], {**k2, "strides": [2, 2], "ceil_mode": 1}, note="ceil_mode", **pool
    )
    yield Case("MaxPool", [line], {**padded}, note="ceil_mode, window in padding", opset=22, **pool)
    yield Case(
        "MaxPool", [(N, 2, 6)], {**gaps}, note="ceil_mode, window past the end", opset=22, **pool
    )
    yield Case("MaxPool", [IMAGE], {**k2, "dilations": [2, 2]}, note="dilations", **pool)
    yield Case("MaxPool", [IMAGE], {**k2, "strides": [3, 3]}, note="gaps", **pool)
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case(
            "MaxPool", [IMAGE], {**k2, "strides": [2, 2], "auto_pad": auto}, note=auto, **pool
        )
    for auto in ("SAME_UPPER", "SAME_LOWER"):
        both = {"kernel_shape": [4], "strides": [2], "auto_pad": auto}
        yield Case("MaxPool", [line], both, note=f"overlapping {auto}", **pool)
        yield Case("AveragePool", [line], both, note=f"overlapping {auto}")
    yield Case("MaxPool", [(N, 2, 7)], {"kernel_shape": [3], "strides": [2]}, note="1-D", **pool)
    yield Case("MaxPool", [(N, 1, 3, 3, 4)], {"kernel_shape": [2, 2, 2]}, note="3-D", **pool)
    yield from _lp_pools(uneven)
    yield from _unpools()
    shape = (N, 2, 2, 5, 6)  # two images in one sample
    regions = np.array([[0, 0, 0, 3, 4], [1, 1, 2, 5, 4], [0, 2, 1, 2, 1], [1, 3, 3, 8, 9.0]])
    bins = {"pooled_shape": [2, 2]}
    yield Case("MaxRoiPool", [shape, regions], bins, note="2x2", alone=True, **pool)
    yield Case(
        "MaxRoiPool",
        [shape, regions * [1, 2, 2, 2, 2]],
        {"pooled_shape": [3, 2], "spatial_scale": 0.5},
        note="3x2, scaled",
        alone=True,
        **pool,
    )
    near = [(-2.0, 2.0), (0.0, 1.95)]  # the first column, the image, is rounded down: 0 or 1
    moved = {"note": "regions move", "alone": True, "domain": near}
    yield Case("MaxRoiPool", [shape, (N, 3, 5)], bins | {"spatial_scale": 2.5}, **moved)


def _lp_pools(uneven: dict[str, Any]) -> Iterator[Case]:
    k3 = {"kernel_shape": [3, 3]}
    for p in (1, 2, 3):
        yield Case("GlobalLpPool", [(N, 3, 2, 3)], {"p": p})
        yield Case("LpPool", [IMAGE], {**k3, "p": p})
    yield Case("GlobalLpPool", [(N, 2, 5)], note="1-D")
    yield Case("LpPool", [IMAGE], {**k3, **uneven, "p": 4}, note="padded, p 4")
    yield Case(
        "LpPool", [IMAGE], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, note="SAME_UPPER"
    )
    yield Case("LpPool", [(N, 2, 7)], {"kernel_shape": [2], "dilations": [2]}, note="dilations")
    yield Case(
        "LpPool",
        [(N, 2, 6)],
        {"kernel_shape": [3], "strides": [2], "ceil_mode": 1},
        note="ceil_mode",
        opset=22,
    )


def _unpools() -> Iterator[Case]:
    pooled = (N, 2, 1, 2, 2)
    k2 = {"kernel_shape": [2, 2], "strides": [2, 2]}
    places = ints(5, 7, 13, 15, 16, 18, 24, 31).reshape(2, 1, 2, 2)
    yield Case("MaxUnpool", [pooled, places], k2, note="2x2", alone=True)
