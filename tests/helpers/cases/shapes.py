"""Shapes: what moves, repeats, cuts and joins."""

from collections.abc import Iterator

import numpy as np

from tests.helpers.cases.case import DTYPE, ROW, Case, N, Sizes, ints, scalar
from tests.helpers.cases.resizes import resizes


def shapes() -> Iterator[Case]:
    yield Case("Cast", [ROW], {"to": DTYPE})
    yield Case("Col2Im", [(N, 8, 12), ints(4, 5), ints(2, 2)], note="plain")
    yield Case(
        "Col2Im",
        [(N, 6, 6), ints(5, 6), ints(3, 2)],
        {"strides": [2, 2], "pads": [1, 1, 0, 1], "dilations": [1, 2]},
        note="strides, pads, dilations",
    )
    yield Case("Col2Im", [(N, 4, 6), ints(7), ints(2)], note="1-D", on_runtime=False)
    yield Case("Concat", [(N, 2, 3), (N, 4, 3)], {"axis": 1})
    yield Case("Concat", [(N, 2, 3), (N, 2, 1), (N, 2, 2)], {"axis": -1})
    yield Case("Concat", [(N, 3)], {"axis": 1}, note="1 input")
    yield Case("Concat", [(N, 2, 3), (N, 1, 3)], {"axis": 0}, batch=1)
    for mode in ("DCR", "CRD"):
        yield Case("DepthToSpace", [(N, 8, 2, 3)], {"blocksize": 2, "mode": mode})
    yield Case("DepthToSpace", [(N, 9, 1, 2)], {"blocksize": 3})
    yield Case("Dropout", [ROW], note="plain")
    yield Case("Dropout", [ROW, scalar(0.3)], note="ratio")
    yield Case("Dropout", [ROW, scalar(0.3), np.array(False)], note="inference")
    yield Case("Expand", [(N, 1, 3), ints(1, 4, 3)], note="size 1")
    yield Case("Expand", [(N, 1, 3), ints(4, 1)], note="shorter shape")
    yield Case("Expand", [(N, 3), ints(2, 1, 3)], note="new axis")
    yield Case("Flatten", [(N, 2, 3)], note="axis 1")
    yield Case("Flatten", [(N, 2, 3)], {"axis": -2})
    yield Case("Identity", [ROW])
    pads = {
        "both sides": ([0, 1, 2, 0, 3, 1], {}),
        "negative": ([0, -1, 2, 0, 1, -2], {}),
        "reflect": ([0, 2, 1, 0, 1, 3], {"mode": "reflect"}),
        "edge": ([0, 2, 1, 0, 1, 3], {"mode": "edge"}),
        "edge, negative": ([0, -1, 2, 0, 2, -1], {"mode": "edge"}),
        "reflect, negative": ([0, -1, 2, 0, 1, -1], {"mode": "reflect"}),
    }
    for note, (amounts, attrs) in pads.items():
        yield Case("Pad", [(N, 3, 4), ints(*amounts)], attrs, note=note)
    yield Case("Pad", [(N, 3, 4), ints(0, 2, 1, 0, 1, 3)], {"mode": "wrap"}, note="wrap", opset=19)
    yield Case(
        "Pad", [(N, 3, 4), ints(0, 2, 5, 0, 1, 6)], {"mode": "wrap"}, note="wrap twice", opset=19
    )
    yield Case("Pad", [(N, 3, 4), ints(0, 1, 2, 0, 3, 1), scalar(2.5)], note="value")
    yield Case("Pad", [(N, 3, 4), ints(1, 2, 3, 1), None, ints(-1, 1)], note="axes")
    yield Case("Pad", [(N, 3, 4), ints(2, 1), None, ints(-1)], {"mode": "edge"}, note="axes, edge")
    yield from resizes()
    yield Case("Reshape", [(N, 3, 4), ints(0, -1)], note="flat")
    yield Case("Reshape", [(N, 12), ints(-1, 3, 4)], note="unflat")
    yield Case("Reshape", [(N, 12), ints(0, 2, 2, 3)], note="zero")
    yield Case("Reshape", [(N, 12), Sizes((4, 3))], note="computed")
    yield Case("Expand", [(N, 1, 3), Sizes((4, 3))], note="computed")
    yield Case("Reshape", [(N, 2, 6), ints(-1, 4, 3)], {"allowzero": 1})
    slices = {
        "plain": ([1], [3], [1], None),
        "no axes": ([0, 1], [2**62, 3], None, None),
        "negative": ([-3], [-1], [-1], None),
        "far end": ([1, 1], [99, 2**62], [1, 2], [1, 1]),
        "step 2": ([0], [5], [2], [2]),
        "step -1": ([-1], [-99], [2], [-1]),
        "step -2": ([4], [-(2**62)], [-1], [-2]),
        "steps mixed": ([0, 4], [4, 0], [1, 2], [3, -1]),
        "negative start far": ([-99], [2], [1], None),
        "step -1 clipped": ([99], [0], [1], [-1]),
        "step -1 from before the first": ([-99], [-(2**62)], [1], [-1]),
    }
    for note, parts in slices.items():
        own = [None if p is None else ints(*p) for p in parts]
        yield Case("Slice", [(N, 4, 5), *own], note=note)
    yield Case("Slice", [(N, 4, 5), ints(1), ints(3), ints(0)], note="axis 0", batch=1)
    yield Case("SpaceToDepth", [(N, 2, 4, 6)], {"blocksize": 2})
    yield Case("SpaceToDepth", [(N, 1, 3, 3)], {"blocksize": 3})
    yield Case("Split", [(N, 6), ints(2, 4)], {"axis": 1}, note="first of two", outputs=2)
    yield Case(
        "Split", [(N, 6), ints(1, 3, 2)], {"axis": -1}, note="one unused", outputs=3, join=(2, 0)
    )
    yield Case(
        "Split",
        [(N, 5, 2)],
        {"axis": 1, "num_outputs": 3},
        note="num_outputs, uneven",
        outputs=3,
        join=(0, 2),
    )
    yield Case(
        "Split", [(N, 4, 2), ints(3, 1)], {"axis": 0}, note="all", outputs=2, join=(1, 0), batch=1
    )
    yield Case("Squeeze", [(N, 1, 3, 1), ints(1, 3)], note="axes")
    yield Case("Squeeze", [(N, 1, 3, 1), ints(-1)], note="negative axis")
    yield Case("Tile", [(N, 3, 2), ints(1, 2, 3)], note="both")
    yield Case("Tile", [(N, 3), ints(1, 1)], note="once")
    yield Case("Tile", [(N, 3, 2), ints(2, 1, 2)], note="both", batch=1)
    yield Case("Transpose", [(N, 2, 3)], {"perm": [0, 2, 1]})
    yield Case("Transpose", [(N, 2, 3)], note="reversed")
    yield Case("Transpose", [(N, 2, 3, 2)], {"perm": [2, 0, 3, 1]})
    yield Case("Unsqueeze", [(N, 3), ints(1, 3)], note="axes")
    yield Case("Unsqueeze", [(N, 3), ints(-1)], note="negative axis")
    yield Case("Unsqueeze", [(N, 3), ints(0)], note="in front")
