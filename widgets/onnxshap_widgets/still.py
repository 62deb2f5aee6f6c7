"""The still picture of a widget: rows of maps over photos, drawn by onnxshap.plot's parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from onnxshap.plot import require_matplotlib
from onnxshap.plot.maps import signed
from onnxshap.plot.panels import plain

SIDE, GAP, BAR, MARGIN = 2.6, 0.18, 0.78, 0.2


@dataclass(frozen=True)
class Still:
    """One map: its values [H, W], where its colours end, what lies beneath and what is said."""

    title: str
    values: np.ndarray
    limit: float
    photo: np.ndarray | None
    """uint8 [h, w]"""
    lines: Sequence[str]


def png(
    rows: Sequence[tuple[str, Sequence[Still]]],
    *,
    title: str,
    captions: Sequence[str],
    sign: str,
    cmap: str,
    opacity: float | None,
    side: float = SIDE,
    shared: bool = False,
) -> bytes:
    """Draw rows of maps.

    ``opacity`` None: it grows with |attribution|. ``shared``: one colour bar a row is enough.
    """
    require_matplotlib()
    from onnxshap.plot.canvas import BODY, SMALL, SOFT, TITLE, Canvas, colour_map, line, wrap
    from onnxshap.plot.images import saturation, show_map

    colours = colour_map("magma_r" if sign == "absolute" else cmap)
    most = max(len(stills) for _, stills in rows)
    pitch = side + (GAP if shared else BAR)
    width = max(most * pitch + (BAR - GAP if shared else 0) + 2 * MARGIN, 4.2)
    inner = width - 2 * MARGIN
    heights, texts = [], []
    for _, stills in rows:
        texts.append(
            [
                [part for text in s.lines for part in wrap(plain(text), pitch - GAP, SMALL)]
                + saturation(signed(s.values, sign), s.limit)
                for s in stills
            ]
        )
        tall = max(side * min(max(_proportion(s.values), 0.4), 2.5) for s in stills)
        heights.append(line(TITLE) + 0.05 + tall + max(map(len, texts[-1])) * line(SMALL) + 0.2)
    names = line(BODY) + 0.04 if any(name for name, _ in rows) else 0.0
    tail = [part for text in captions for part in wrap(text, inner, BODY)]
    top = MARGIN + (line(13) + 0.08 if title else 0.0)
    canvas = Canvas(
        width, top + sum(heights) + len(rows) * names + len(tail) * line(BODY) + MARGIN, dpi=110
    )
    if title:
        canvas.text(MARGIN, MARGIN, plain(title), 13, width=inner, bold=True)
    for (name, stills), height, lines in zip(rows, heights, texts, strict=True):
        if names:
            canvas.text(MARGIN, top, plain(name), BODY, width=inner, color=SOFT)
            top += names
        for k, still in enumerate(stills):
            left, under = MARGIN + k * pitch, top + line(TITLE) + 0.05
            tall = side * min(max(_proportion(still.values), 0.4), 2.5)
            canvas.text(left, top, plain(still.title), TITLE, width=side, bold=True)
            base = None if still.photo is None else still.photo / 255.0
            values, low = signed(still.values, sign), 0.0 if sign == "absolute" else -still.limit
            axes = canvas.axes(left, under, side, tall)
            show_map(axes, values, still.limit, colours, base, opacity, low)
            if still.limit and (not shared or k == len(stills) - 1):
                canvas.colour_bar(left + side + 0.08, under, tall, colours, low, still.limit)
            for i, text in enumerate(lines[k]):
                y = under + tall + 0.06 + i * line(SMALL)
                canvas.text(left, y, text, SMALL, width=pitch - GAP, color=SOFT)
        top += height
    for i, text in enumerate(tail):
        canvas.text(MARGIN, top + i * line(BODY), text, BODY, width=inner, color=SOFT)
    buffer = BytesIO()
    canvas.figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _proportion(values: np.ndarray) -> float:
    return float(values.shape[0] / values.shape[1])
