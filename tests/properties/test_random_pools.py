"""MaxPool, AveragePool and LpPool of any geometry."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.cases import Case, N
from tests.properties.judge import judge, lists, numbers

AUTO = ("SAME_UPPER", "SAME_LOWER", "VALID")
OPSET = 22  # from which ONNX's inference drops a last window in the padding, as runtimes do


@st.composite
def pools(draw: st.DrawFn, op: str) -> Case:
    """A node of any window."""
    rank = draw(st.integers(1, 3))
    kernel = draw(lists(rank, 1, 3))
    attrs: dict[str, Any] = {"kernel_shape": kernel, "strides": draw(lists(rank, 1, 3))}
    auto = draw(st.sampled_from(("NOTSET", "NOTSET", *AUTO)))
    if not auto.startswith("SAME"):  # dilations are refused there
        attrs["dilations"] = draw(lists(rank, 1, 3))
    spans = [
        d * (k - 1) + 1 for d, k in zip(attrs.get("dilations", [1] * rank), kernel, strict=True)
    ]
    pads = [0] * (2 * rank)
    if auto != "NOTSET":
        attrs["auto_pad"] = auto
    elif draw(st.booleans()):
        pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
        attrs["pads"] = pads
    if draw(st.booleans()):
        attrs["ceil_mode"] = 1
    if op == "AveragePool" and draw(st.booleans()):
        attrs["count_include_pad"] = 1
    if op == "LpPool":
        attrs["p"] = draw(st.integers(1, 4))
    least = [max(1, s - pads[i] - pads[rank + i]) for i, s in enumerate(spans)]
    if auto.startswith("SAME"):
        least = [1] * rank
    sizes = [draw(st.integers(n, n + (4 if rank < 3 else 2))) for n in least]
    shape = (draw(st.integers(1, 2)), *sizes)
    return Case(
        op,
        [(N, *shape)],
        attrs,
        opset=OPSET,
        domain=_around_zero(math.prod(shape)),
        special=(0.0, 1.0, -1.0, 0.5),
    )


def _around_zero(count: int) -> tuple[float, float]:
    """Where ``count`` numbers are drawn from, so that none is near 0, the kink of |x|."""
    low = -4 * (count // 2) / count
    return low, low + 4


@given(pools("MaxPool"), numbers)
def test_max_pool(case: Case, seed: int) -> None:
    judge(case, seed)


@given(pools("AveragePool"), numbers)
def test_average_pool(case: Case, seed: int) -> None:
    judge(case, seed)


@given(pools("LpPool"), numbers)
def test_lp_pool(case: Case, seed: int) -> None:
    judge(case, seed)
