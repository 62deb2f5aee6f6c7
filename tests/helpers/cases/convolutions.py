"""Convolutions."""

from collections.abc import Iterator

from tests.helpers.cases.case import IMAGE, Case, N, normal


def convolutions() -> Iterator[Case]:
    w, b = normal(4, 2, 3, 3), normal(4)
    yield Case("Conv", [IMAGE, w, b], note="plain")
    yield Case("Conv", [IMAGE, w], {"pads": [1, 1, 1, 1]}, note="same size")
    yield Case(
        "Conv",
        [IMAGE, w, b],
        {"strides": [2, 2], "pads": [1, 0, 0, 1]},
        note="strides, uneven pads",
    )
    yield Case("Conv", [IMAGE, w], {"strides": [3, 2]}, note="strides leave a rest")
    yield Case("Conv", [IMAGE, w], {"dilations": [2, 1], "pads": [1, 2, 1, 2]}, note="dilations")
    yield Case(
        "Conv", [IMAGE, w], {"dilations": [1, 2], "strides": [2, 1]}, note="dilations, strides"
    )
    yield Case("Conv", [IMAGE, w], {"pads": [3, 3, 4, 3]}, note="pads beyond the kernel")
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case("Conv", [IMAGE, normal(3, 2, 2, 4)], {"auto_pad": auto, "strides": [2, 2]})
    yield Case(
        "Conv",
        [IMAGE, normal(3, 2, 2, 2)],
        {"auto_pad": "SAME_LOWER"},
        note="even kernel SAME_LOWER",
    )
    yield Case("Conv", [(N, 4, 5, 5), normal(6, 2, 3, 2), normal(6)], {"group": 2}, note="groups")
    yield Case(
        "Conv",
        [(N, 4, 5, 5), normal(6, 2, 3, 2)],
        {"group": 2, "strides": [2, 2]},
        note="groups, strides",
    )
    yield Case("Conv", [(N, 3, 5, 5), normal(3, 1, 3, 3)], {"group": 3}, note="depthwise")
    yield Case(
        "Conv", [(N, 3, 5, 5), normal(6, 1, 2, 2)], {"group": 3}, note="depthwise, multiplier 2"
    )
    for strides, kernel, pads in (
        ([2, 2], (3, 3), [1, 1, 1, 1]),
        ([2, 3], (5, 4), [2, 1, 2, 2]),
        ([3, 1], (3, 2), [0, 1, 1, 0]),
        ([2, 2], (1, 1), [0, 0, 0, 0]),
        ([1, 2], (2, 3), [3, 0, 0, 0]),
    ):
        settings = {"group": 3, "strides": strides, "pads": pads}
        name = f"depthwise, strides {strides}, kernel {kernel}, pads {pads}"
        yield Case("Conv", [(N, 3, 8, 7), normal(3, 1, *kernel)], settings, note=name)
    yield Case("Conv", [(N, 3, 4, 4), normal(2, 3, 1, 1)], note="1x1")
    yield Case(
        "Conv",
        [(N, 2, 7), normal(3, 2, 3), normal(3)],
        {"strides": [2], "pads": [1, 1]},
        note="1-D",
    )
    yield Case(
        "Conv", [(N, 1, 3, 4, 3), normal(2, 1, 2, 2, 2)], {"pads": [0, 1, 0, 1, 0, 0]}, note="3-D"
    )
    weights = [normal(1, 2, 5, 6), (N, 2, 3, 3), (N,)]
    yield Case("Conv", weights, note="weights vary")
    yield Case(
        "Conv",
        weights[:2],
        {"strides": [3, 2], "pads": [1, 0, 0, 2]},
        note="weights vary, strides leave a rest",
    )
    yield Case(
        "Conv",
        weights,
        {"dilations": [1, 2], "strides": [2, 1], "auto_pad": "VALID"},
        note="weights vary, dilations",
    )
    both = [(N, 2, 4, 5, 5), (N, 6, 2, 3, 2), (N, 6)]  # two images in one sample
    grouped = {"group": 2, "strides": [2, 2], "pads": [0, 1, 1, 0]}
    yield Case("Conv", both, grouped, note="all vary, groups", alone=True)
    small = (N, 2, 3, 3)
    wt = normal(2, 3, 3, 3)
    yield Case("ConvTranspose", [small, wt, normal(3)], note="plain")
    yield Case(
        "ConvTranspose",
        [small, wt],
        {"strides": [2, 3], "pads": [1, 0, 0, 1]},
        note="strides, uneven pads",
    )
    yield Case(
        "ConvTranspose",
        [small, wt],
        {"strides": [2, 2], "output_padding": [1, 1], "pads": [1, 1, 1, 1]},
        note="output_padding",
    )
    yield Case(
        "ConvTranspose",
        [small, wt],
        {"strides": [2, 2], "output_shape": [6, 5]},
        note="output_shape",
    )
    yield Case(
        "ConvTranspose",
        [small, wt],
        {"strides": [3, 2], "output_shape": [10, 8]},
        note="output_shape larger",
    )
    yield Case("ConvTranspose", [small, wt], {"dilations": [2, 1]}, note="dilations")
    yield Case(
        "ConvTranspose",
        [(N, 4, 3, 3), normal(4, 3, 2, 2)],
        {"group": 2, "strides": [2, 2]},
        note="groups",
    )
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case("ConvTranspose", [small, wt], {"auto_pad": auto, "strides": [2, 2]})
    yield Case("ConvTranspose", [(N, 2, 4), normal(2, 3, 3)], {"strides": [2]}, note="1-D")
    # Positions that no kernel reaches: no neighbours of the last element, nor further weights.
    line, short = (N, 2, 4), [normal(2, 2, 4), (N, 2, 3, 2)]
    longer, wider = {"output_shape": [9]}, {"dilations": [3], "output_padding": [2]}
    kernel, refused = normal(2, 3, 2), {"on_runtime": False}
    yield Case("ConvTranspose", [line, kernel], longer, note="output_shape beyond", **refused)
    both = {"output_shape": [6], "strides": [2], "auto_pad": "SAME_UPPER"}
    yield Case("ConvTranspose", [line, normal(2, 3, 3)], both, note="output_shape SAME_UPPER")
    yield Case("ConvTranspose", short, longer, note="weights vary, longer", alone=True, **refused)
    yield Case(
        "ConvTranspose", [line, kernel], wider, note="output_padding above the stride", **refused
    )
    yield Case(
        "ConvTranspose",
        [line, normal(2, 3, 1)],
        {"strides": [3], "auto_pad": "SAME_UPPER"},
        note="SAME_UPPER, nothing to pad",
    )
    both = [(N, 2, 4, 3, 3), (N, 4, 3, 2, 3), (N, 6)]
    yield Case(
        "ConvTranspose",
        both,
        {"group": 2, "strides": [2, 2], "pads": [1, 0, 0, 1]},
        note="all vary, groups",
        alone=True,
    )
    yield Case(
        "ConvTranspose",
        [normal(1, 2, 3, 3), (N, 2, 3, 2, 2)],
        {"strides": [2, 3], "output_shape": [7, 8]},
        note="weights vary, output_shape",
        alone=True,
    )
