"""Conv and ConvTranspose of any geometry."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.cases import Case, N, normal
from tests.properties.judge import judge, lists, numbers, some

AUTO = ("SAME_UPPER", "SAME_LOWER", "VALID")


@st.composite
def convolutions(draw: st.DrawFn, op: str) -> Case:
    """A node whose image, weights or both are explained."""
    rank = draw(st.integers(1, 3))
    group, each = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    whole = draw(st.booleans())  # a first size of 1 counts samples, so there is none
    if whole and group == 1:
        each += 1
    channels, outputs = group * each, draw(st.integers(1, 2)) + whole
    kernel = draw(lists(rank, 1, 4 if rank < 3 else 3))
    attrs: dict[str, Any] = {"strides": draw(lists(rank, 1, 3)), "group": group}
    auto = draw(st.sampled_from(("NOTSET", "NOTSET", *AUTO)))
    if not auto.startswith("SAME") or op == "ConvTranspose":  # Conv's is refused
        attrs["dilations"] = draw(lists(rank, 1, 3))
    reach = [d * (k - 1) for d, k in zip(attrs.get("dilations", [1] * rank), kernel, strict=True)]
    transposed = op == "ConvTranspose"
    if auto != "NOTSET":
        attrs["auto_pad"] = auto
        pads = [0] * (2 * rank)
    elif draw(st.booleans()):
        pads = draw(lists(2 * rank, 0, 3))
        attrs["pads"] = pads
    else:
        pads = [0] * (2 * rank)
    if transposed:
        sizes = _small(draw, rank, reach, pads, attrs)
        weights = (channels, outputs, *kernel)
    else:
        least = [max(1, r + 1 - pads[i] - pads[rank + i]) for i, r in enumerate(reach)]
        if auto == "VALID":
            least = [r + 1 for r in reach]
        sizes = [draw(st.integers(n, n + (4 if rank < 3 else 2))) for n in least]
        weights = (group * outputs, each, *kernel)
    bias: list[Any] = [(group * outputs,)] if draw(st.booleans()) else []
    opset = draw(st.sampled_from((18, 22)))
    if not whole:
        given = [(N, channels, *sizes), normal(*weights), *(normal(*b) for b in bias)]
        return Case(op, given, attrs, opset=opset)
    images = (2, channels, *sizes)
    return Case(op, draw(some([images, weights, *bias])), attrs, opset=opset, alone=True)


def _small(
    draw: st.DrawFn, rank: int, reach: list[int], pads: list[int], attrs: dict[str, Any]
) -> list[int]:
    """Sizes of the image of a ConvTranspose, and its output's size or padding."""
    sizes, strides = draw(lists(rank, 1, 4 if rank < 3 else 2)), attrs["strides"]
    spans = [s * (n - 1) + r + 1 for s, n, r in zip(strides, sizes, reach, strict=True)]
    if draw(st.booleans()):
        steps = zip(strides, attrs["dilations"], strict=True)
        attrs["output_padding"] = [draw(st.integers(0, max(pair) - 1)) for pair in steps]
        spans = [s + e for s, e in zip(spans, attrs["output_padding"], strict=True)]
    if attrs.get("auto_pad") != "VALID" and draw(st.booleans()):
        attrs.pop("pads", None)
        attrs["output_shape"] = [
            draw(st.integers(n, max(n, s) + 2)) for n, s in zip(sizes, spans, strict=True)
        ]
    elif "pads" in attrs:
        for i, span in enumerate(spans):
            pads[i] = min(pads[i], span - 1)
            pads[rank + i] = min(pads[rank + i], span - 1 - pads[i])
    return sizes


@given(convolutions("Conv"), numbers)
def test_conv(case: Case, seed: int) -> None:
    judge(case, seed)


@given(convolutions("ConvTranspose"), numbers)
def test_conv_transpose(case: Case, seed: int) -> None:
    judge(case, seed)
