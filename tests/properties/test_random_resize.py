"""Resize under any setting."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.cases import Case, N, Sizes, ints
from tests.helpers.cases.case import scales
from tests.properties.judge import axes, judge, lists, numbers, spelt

COORDINATES = (
    "align_corners",
    "asymmetric",
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "tf_crop_and_resize",
)
ROUNDINGS = ("ceil", "floor", "round_prefer_ceil", "round_prefer_floor")
POLICIES = ("not_larger", "not_smaller", "stretch")
OPSET = 19  # the first with half_pixel_symmetric


@st.composite
def resizes(draw: st.DrawFn) -> Case:
    """A node that resizes some spatial axes, or all axes but the batch."""
    rank = draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, 2)), *draw(lists(rank, 1, 5 if rank < 3 else 3))]
    mode = draw(st.sampled_from(("nearest", "linear", "cubic")))
    how = draw(st.sampled_from(COORDINATES))
    attrs: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": how}
    if mode == "nearest":
        attrs["nearest_mode"] = draw(st.sampled_from(ROUNDINGS))
    elif draw(st.booleans()):
        attrs["antialias"] = 1
    if mode == "cubic":
        attrs["cubic_coeff_a"] = draw(st.sampled_from((-0.75, -0.5)))
        attrs["exclude_outside"] = draw(st.integers(0, 1))
    first = 1 if mode == "nearest" and draw(st.booleans()) else 2  # nearest may pick channels
    places = list(range(first, rank + 2))
    least = [math.ceil(8 / sizes[p - 1]) for p in places]  # for a size of 1 or more
    scale = [draw(st.integers(max(3, low), 20)) / 8 for low in least]
    wanted = draw(lists(len(places), 1, 7))
    few = draw(st.booleans())
    if few:
        chosen = draw(axes(len(places)))
        places = [places[k] for k in chosen]
        scale, wanted = [scale[k] for k in chosen], [wanted[k] for k in chosen]
        attrs["axes"] = [draw(spelt(p, rank + 2)) for p in places]
    by_sizes = draw(st.booleans())
    on_runtime = True
    if few and by_sizes:
        policy = draw(st.sampled_from(POLICIES))
        attrs["keep_aspect_ratio_policy"] = policy
        own = [sizes[p - 1] for p in places]
        least = min(w / n for w, n in zip(wanted, own, strict=True))
        if policy == "not_larger" and min(own) * least < 0.5:  # nothing would be left
            wanted = own
        # onnxruntime applies a policy to axes that are counted from the front alone
        on_runtime = policy == "stretch" or min(attrs["axes"]) > 0
    x, roi = (N, *sizes), None
    if how == "tf_crop_and_resize":
        bounds = [(draw(st.integers(-2, 4)) / 8, draw(st.integers(5, 10)) / 8) for _ in places]
        whole = [] if few else [(0.0, 1.0)] * first
        roi = np.array([b for b, _ in whole + bounds] + [e for _, e in whole + bounds])
        attrs["extrapolation_value"] = draw(st.sampled_from((0.0, 10.0)))
    if by_sizes:
        full = ints(*wanted) if few else Sizes((*sizes[: first - 1], *wanted))
        return Case("Resize", [x, roi, None, full], attrs, opset=OPSET, on_runtime=on_runtime)
    own = scales(*scale) if few else scales(*[1.0] * first, *scale)
    return Case("Resize", [x, roi, own], attrs, opset=OPSET)


@given(resizes(), numbers)
def test_resize(case: Case, seed: int) -> None:
    judge(case, seed, disputed=True)
