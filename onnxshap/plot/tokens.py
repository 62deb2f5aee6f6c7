"""Tokens as a reader gives them: checked, spelt so that nothing is hidden, broken into lines."""

from collections.abc import Sequence
from typing import Any

from onnxshap.errors import InputError
from onnxshap.plot.maps import channel_axes
from onnxshap.plot.panels import Panel, Style

Tokens = Sequence[str | None] | Sequence[Sequence[str | None]] | None
BETWEEN, WITHIN = 0.075, 0.012
"""Gaps between words and between the pieces of one, in inches."""


def token_lists(tokens: Any, count: int) -> list[list[str | None]]:
    """Tokens of every explicand; None where a position is left out."""
    if tokens is None:
        raise InputError('form="tokens" needs tokens=: a list of strings, or one list an explicand')
    if isinstance(tokens, str):
        raise InputError("tokens is one string; pass a list of strings, one a position")
    several = list(tokens)
    if all(one is None or isinstance(one, str) for one in several):
        several = [several] * count
    for one in several:
        if isinstance(one, str | bytes) or not hasattr(one, "__iter__"):
            raise InputError(
                f"tokens holds {one!r} ({type(one).__name__}); pass a list of strings, or one "
                "list an explicand"
            )
    if len(several) != count:
        raise InputError(f"tokens holds {len(several)} lists for {count} explicands")
    several = [list(one) for one in several]
    for n, one in enumerate(several):
        for i, token in enumerate(one):
            if token is not None and not isinstance(token, str):
                raise InputError(
                    f"token {i} of explicand {n} is {token!r} ({type(token).__name__}); "
                    "pass strings, or None to leave a position out"
                )
    return several


def token_axes(
    panel: Panel, lists: Sequence[Sequence[str | None]], style: Style
) -> tuple[int, ...]:
    """Axes of one sample to sum over, so that one of as many positions as tokens remains."""
    shape, named = panel.values.shape[2:], f" of input {panel.name!r}" if panel.name else ""
    if style.block > 1:
        raise InputError(f"block is {style.block}; tokens are drawn one by one: leave it out")
    given = () if style.axis is None else channel_axes(shape, style, keep=1)
    left = [a for a in range(len(shape)) if a not in given]
    for n, tokens in enumerate(lists):
        if all(shape[a] != len(tokens) for a in left) or len(tokens) != len(lists[0]):
            raise InputError(
                f"tokens holds {len(tokens)} tokens for explicand {n}; a sample{named} has shape "
                f"{list(shape)}"
                + ("" if style.axis is None else f", to be summed over {style.axis}")
            )
    fitting = [a for a in left if shape[a] == len(lists[0])]
    if len(fitting) > 1:
        raise InputError(
            f"a sample{named} has shape {list(shape)}: {len(fitting)} of its axes are "
            f"{len(lists[0])} long, as the tokens are; name those to sum over by axis="
        )
    return tuple(a for a in range(len(shape)) if a != fitting[0])


def spell(token: str) -> str:
    """Return a token as it is, but what prints nothing as an escape or a sign."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in token)
    return shown if shown.strip() else "\u2423" * len(shown) or "\u2205"


def begins_word(tokens: Sequence[str]) -> list[bool]:
    """Tell pieces that begin a word from those that go on, by the marks of common tokenisers."""
    if any(token.startswith("##") for token in tokens):
        return [not token.startswith("##") for token in tokens]
    marks = ("\u2581", "\u0120", "\u010a")
    if not any(token.startswith(marks) for token in tokens):
        return [True] * len(tokens)
    special = [token[:1] + token[-1:] in ("<>", "[]") for token in tokens]
    after = [True, *special][: len(tokens)]
    return [t.startswith(marks) or s or a for t, s, a in zip(tokens, special, after, strict=True)]


def flow(widths: Sequence[float], begins: Sequence[bool], width: float) -> list[tuple[float, int]]:
    """Place boxes: left edge and line of each; words break only where longer than a line."""
    words: list[list[float]] = []
    for size, begin in zip(widths, begins, strict=True):
        if begin or not words:
            words.append([])
        words[-1].append(size)
    places, x, row = [], 0.0, 0
    for word in words:
        if x and x + sum(word) + WITHIN * (len(word) - 1) > width:
            x, row = 0.0, row + 1
        for size in word:
            if x and x + size > width:
                x, row = 0.0, row + 1
            places.append((x, row))
            x += size + WITHIN
        x += BETWEEN - WITHIN
    return places
