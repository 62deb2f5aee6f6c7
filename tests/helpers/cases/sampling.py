"""Reading images between their elements, and Fourier transforms."""

from collections.abc import Iterator

import numpy as np

from tests.helpers.cases.case import Case, N, Sizes, ints, normal


def sampling() -> Iterator[Case]:
    image, grid, apart = (N, 2, 4, 5), (N, 3, 2, 2), [(-2.0, 2.0), (-1.25, 1.25)]
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for aligned in (0, 1):
                attrs = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
                yield Case("GridSample", [image, grid], attrs, domain=apart, opset=20)
    yield Case("GridSample", [image, grid], {"mode": "bicubic"}, domain=apart)
    yield Case("GridSample", [(N, 1, 2, 3, 4), (N, 2, 2, 1, 3)], note="3-D", domain=apart, opset=20)
    yield Case(
        "GridSample", [(N, 2, 2, 4, 5), normal(2, 3, 2, 2)], note="constant grid", alone=True
    )
    for aligned in (0, 1):
        attrs, note = {"align_corners": aligned}, f"3-D aligned={aligned}"
        yield Case("AffineGrid", [(N, 2, 3), Sizes((2, 3, 4))], attrs, opset=20)
        yield Case("AffineGrid", [(N, 3, 4), Sizes((1, 2, 3, 4))], attrs, note=note, opset=20)
    fixed = [(N, 2, 2, 3), ints(2, 1, 3, 2)]
    yield Case("AffineGrid", fixed, note="sizes fixed", alone=True, opset=20)
    x, w = (N, 2, 4, 4), normal(3, 2, 2, 2)
    near = [(-2.0, 2.0), (-0.9, 0.9)]
    offset = (N, 8, 3, 3)
    yield Case("DeformConv", [x, w, offset], note="plain", domain=near, opset=19)
    yield Case(
        "DeformConv",
        [x, normal(4, 1, 2, 2), (N, 16, 2, 2), normal(4), (N, 8, 2, 2)],
        {"group": 2, "offset_group": 2, "strides": [2, 2], "pads": [0, 0, 1, 1]},
        note="groups, mask",
        domain=[*near, (0.0, 1.0)],
        opset=19,
    )
    yield Case(
        "DeformConv",
        [normal(2, 2, 4, 4), (N, 3, 2, 2, 2), normal(2, 8, 3, 3) / 3, (N, 3)],
        note="weights and bias",
        alone=True,
        opset=19,
    )
    regions = np.array([[0, 0, 3, 3.5], [1.2, 0.3, 4.4, 3.1], [2, 1, 2.5, 1.7]])
    samples = ints(0, 1, 1)
    for attrs in (
        {"output_height": 2, "output_width": 2, "sampling_ratio": 2},
        {"output_height": 2, "output_width": 3, "spatial_scale": 0.8},
    ):
        yield Case("RoiAlign", [(N, 2, 2, 4, 5), regions, samples], attrs, alone=True)

    size = {"output_height": 2, "output_width": 2}
    moved = [(N, 2, 1, 4, 5), (N, 3, 4), samples]
    apart = [(-2.0, 2.0), (0.3, 3.9)]
    whole = {"coordinate_transformation_mode": "output_half_pixel"}
    yield Case("RoiAlign", moved, size | whole, note="regions move", domain=apart, alone=True)
    largest = [(N, 2, 2, 4, 5), regions, samples]
    yield Case("RoiAlign", largest, size | {"mode": "max"}, note="max", alone=True)
    both = size | {"mode": "max", "sampling_ratio": 2}
    yield Case("RoiAlign", moved, both, note="max, regions move", domain=apart, alone=True)


def signals() -> Iterator[Case]:
    real, pairs, axis = (N, 6, 1), (N, 6, 2), np.array(1)
    yield Case("DFT", [(N, 8, 1)], note="real", opset=20)
    yield Case("DFT", [real, None, axis], {"onesided": 1}, opset=20)
    yield Case("DFT", [pairs, None, axis], {"inverse": 1}, opset=20)
    yield Case("DFT", [pairs, np.array(8), axis], note="longer", opset=20)
    yield Case("DFT", [(N, 5, 3, 2), np.array(4)], note="shorter", opset=20)
    yield Case("DFT", [(N, 5, 3, 1)], {"axis": 1, "onesided": 1}, note="axis 1")
    step = np.array(3)
    yield Case("STFT", [(N, 14, 1), step, normal(5)], {"onesided": 1}, note="window")
    yield Case("STFT", [(N, 14, 1), step, None, np.array(4)], {"onesided": 1}, note="frame_length")
    yield Case("STFT", [(N, 10, 2), step, normal(4)], {"onesided": 0}, note="complex")
    both = [(N, 2, 9, 1), step, (N, 4)]
    yield Case("STFT", both, {"onesided": 1}, note="window moves", alone=True)
