"""Resize."""

from collections.abc import Iterator

import numpy as np

from tests.helpers.cases.case import Case, N, Sizes, ints, scales


def resizes() -> Iterator[Case]:
    empty = scales()
    x = (N, 2, 4, 5)
    for mode in ("nearest", "linear", "cubic"):
        yield Case("Resize", [x, empty, scales(1, 1, 2, 1.6)], {"mode": mode}, note=f"{mode} up")
        yield Case(
            "Resize", [x, empty, scales(1, 1, 0.5, 0.7)], {"mode": mode}, note=f"{mode} down"
        )
        yield Case(
            "Resize", [x, None, None, Sizes((2, 3, 7))], {"mode": mode}, note=f"{mode} sizes"
        )
    modes = ("align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")
    for coordinates in modes:
        opset = 19 if coordinates == "half_pixel_symmetric" else 18
        attrs = {"mode": "linear", "coordinate_transformation_mode": coordinates}
        yield Case("Resize", [x, empty, scales(1, 1, 2, 0.6)], attrs, note=coordinates, opset=opset)
    for rounding in ("floor", "ceil", "round_prefer_ceil"):
        attrs = {
            "mode": "nearest",
            "nearest_mode": rounding,
            "coordinate_transformation_mode": "asymmetric",
        }
        yield Case("Resize", [x, empty, scales(1, 1, 1.7, 2)], attrs, note=f"nearest {rounding}")
    cubic = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}
    yield Case("Resize", [x, empty, scales(1, 1, 1.7, 0.8)], cubic, note="cubic exclude_outside")
    axes = {"mode": "linear", "axes": [2, 3]}
    yield Case("Resize", [x, None, None, ints(6, 3)], axes, note="axes", opset=18)
    axes = {"mode": "linear", "axes": [3, 2]}
    yield Case("Resize", [x, None, scales(2, 1.5)], axes, note="axes turned")
    antialias = {"mode": "linear", "antialias": 1}
    yield Case("Resize", [x, empty, scales(1, 1, 0.5, 0.6)], antialias, note="antialias")
    crop = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    roi = np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 0.7])
    yield Case("Resize", [x, roi, None, Sizes((2, 3, 7))], crop, note="crop")
    beyond = np.array([0, 0, -0.3, 0.2, 1, 1, 0.9, 1.4])
    outside = crop | {"extrapolation_value": 10.0}
    yield Case(
        "Resize", [x, beyond, None, Sizes((2, 3, 7))], outside, note="crop beyond the border"
    )
    kept = scales(1, 1, 0.5, 1.1)
    yield Case("Resize", [x, empty, kept], {"mode": "linear"}, note="scaled to its own size")
    # onnxruntime does not crop an axis that keeps its size, and steps by whole sizes: see
    # tests/properties/test_random_resize.py, where it is judged by itself.
    other = {"on_runtime": False}
    yield Case("Resize", [x, roi, None, Sizes((2, 4, 3))], crop, note="crop, same size", **other)
    for policy in ("not_larger", "not_smaller"):
        for mode in ("nearest", "linear", "cubic"):
            attrs = {"mode": mode, "axes": [2, 3], "keep_aspect_ratio_policy": policy}
            yield Case("Resize", [x, None, None, ints(7, 6)], attrs, note=f"{mode} {policy}")
    attrs = crop | {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}
    part = np.array([0.1, 0.2, 0.9, 0.7])
    yield Case("Resize", [x, part, None, ints(7, 6)], attrs, note="crop not_larger", **other)
    yield Case("Resize", [(N, 2, 5), empty, scales(1, 1, 2)], {"mode": "linear"}, note="1-D")
    back = {"mode": "linear", "axes": [-1]}
    yield Case("Resize", [(N, 2, 5), None, scales(1.5)], back, note="axis from the end")
