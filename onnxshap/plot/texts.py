"""Attributions of tokens: running text on coloured ground, and the largest as numbers beneath."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from onnxshap.plot.canvas import (
    BODY,
    INK,
    PLAIN,
    SMALL,
    SOFT,
    TITLE,
    Canvas,
    colour_map,
    extent,
    fit,
    ink_on,
    line,
    shade,
)
from onnxshap.plot.form import Form
from onnxshap.plot.images import BAR, saturation
from onnxshap.plot.maps import limits, maps, signed, standard_error
from onnxshap.plot.panels import Facts, Panel, Style, number, three
from onnxshap.plot.tokens import begins_word, flow, spell, token_axes

WIDTHS, GAP, PAD = {1: 6.6, 2: 4.7}, 0.3, 0.035
NARROW, LONG = 3.8, 160
"""Width of a text beside several others; tokens from which a text is set smaller."""
HEAD = line(TITLE) + 0.08
CELL, PITCH = 1.55, line(SMALL) + 0.07


class TokenForm(Form):
    """Texts, one a target, each token on the colour of its attribution."""

    def __init__(
        self,
        panel: Panel,
        facts: Sequence[Sequence[Facts]],
        style: Style,
        lists: Sequence[Sequence[str | None]],
    ) -> None:
        self.panel, self.facts, self.style = panel, facts, style
        self.summed = token_axes(panel, lists, style)
        drawn = maps(panel.values[: style.max_rows], self.summed, style)
        self.hidden = [[token is None for token in one] for one in lists[: len(drawn)]]
        self.values = signed(drawn, style.sign)
        kept = np.where(np.array(self.hidden)[:, None], np.nan, self.values)
        self.limits = limits(kept, style)
        self.raw = drawn
        self.columns = min(drawn.shape[1], style.max_columns)
        self.text = WIDTHS.get(self.columns, NARROW)
        self.size = TITLE if max(map(len, lists)) <= LONG else BODY
        self.bar_each = style.scale == "panel"
        self.pitch = self.text + (BAR if self.bar_each else GAP)
        self.width = self.columns * self.pitch + (0 if self.bar_each else BAR - GAP)
        self.tokens = [
            [(i, spell(token)) for i, token in enumerate(one) if token is not None]
            for one in lists[: len(drawn)]
        ]
        self.boxes = [self._flow(one) for one in self.tokens]
        self.deep = [self._deep(n) for n in range(len(drawn))]
        """Height of every row down to its facts."""
        feet = [max(len(self._facts(n, k)) for k in range(self.columns)) for n in range(len(drawn))]
        self.rows = [
            deep + foot * line(SMALL) + 0.26 for deep, foot in zip(self.deep, feet, strict=True)
        ]
        self.height = sum(self.rows)

    def _flow(self, tokens: Sequence[tuple[int, str]]) -> list[tuple[float, int, float, str]]:
        """Left edge, line, width and text of every box."""
        shown = [fit(text, self.text - 2 * PAD, self.size) for _, text in tokens]
        widths = [advance(text, self.size) + 2 * PAD for text in shown]
        places = flow(widths, begins_word([text for _, text in tokens]), self.text)
        return [(*p, w, t) for p, w, t in zip(places, widths, shown, strict=True)]

    def _lines(self, n: int) -> float:
        """Height of a text."""
        return (1 + max((row for _, row, *_ in self.boxes[n]), default=0)) * line(self.size) * 1.32

    def _deep(self, n: int) -> float:
        cells = min(self.style.top, len(self.tokens[n]))
        deep = -(-cells // int(self.text / CELL))
        return HEAD + self._lines(n) + 0.1 + line(SMALL) + 0.04 + deep * PITCH

    def notes(self) -> list[str]:
        """Where counting starts, and what to do about characters that cannot be drawn."""
        lost = any(
            "\u25a1" in shown and "\u25a1" not in token
            for boxes, tokens in zip(self.boxes, self.tokens, strict=True)
            for (*_, shown), (_, token) in zip(boxes, tokens, strict=True)
        )
        box = "\u25a1: a character the font lacks; see matplotlib's rcParams, font.family."
        return ["Positions count from 0.", *([box] if lost else [])]

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Draw every row below ``top``."""
        for n, height in enumerate(self.rows):
            for k in range(self.columns):
                self._panel(canvas, left + k * self.pitch, top, n, k)
            top += height

    def _panel(self, canvas: Canvas, x: float, y: float, n: int, k: int) -> None:
        facts, limit, colours = self.facts[n][k], self.limits[n, k], colour_map(self.style.cmap)
        low = 0.0 if self.style.sign == "absolute" else -limit
        fills = shade(self.values[n, k], limit or 1.0, colours, low if limit else -1.0)
        canvas.text(x, y, facts.label, TITLE, width=self.text * 0.52, bold=True)
        what = f"explicand {n}, output {number(facts.output)}"
        level, half = y + (TITLE - BODY) * 1.05 / 72, self.text * 0.46
        canvas.text(x + self.text, level, what, BODY, width=half, color=SOFT, align="right")
        deep = self.deep[n] - HEAD
        sheet = canvas.sheet(x, y + HEAD, self.text, deep)
        for (i, _), (at, row, width, text) in zip(self.tokens[n], self.boxes[n], strict=True):
            box(sheet, at, row * line(self.size) * 1.32, width, text, self.size, fills[i])
        self._largest(sheet, self._lines(n) + 0.1, n, k, fills)
        for i, text in enumerate(self._facts(n, k)):
            under = y + HEAD + deep + 0.06 + i * line(SMALL)
            canvas.text(x, under, text, SMALL, width=self.text, color=SOFT)
        if limit and (self.bar_each or k == self.columns - 1):
            tall = min(max(self._lines(n), 0.7), 1.3)
            canvas.colour_bar(x + self.text + 0.1, y + HEAD, tall, colours, low, limit)

    def _largest(self, sheet: Axes, top: float, n: int, k: int, fills: np.ndarray) -> None:
        """List the tokens of the largest |attribution|, column by column."""
        values = self.values[n, k]
        known = [(i, t) for i, t in self.tokens[n] if np.isfinite(values[i]) and values[i] != 0]
        known.sort(key=lambda pair: -abs(values[pair[0]]))
        known = known[: self.style.top]
        deep = max(-(-len(known) // int(self.text / CELL)), 1)
        head = f"{len(known)} largest of {len(self.tokens[n])}: position, token, attribution"
        write(sheet, 0, top, head if known else "no attribution", SMALL, SOFT)
        top += line(SMALL) + 0.04
        for rank, (i, text) in enumerate(known):
            x, y = rank // deep * CELL, top + rank % deep * PITCH
            write(sheet, x + 0.22, y + 0.015, str(i), SMALL, SOFT, "right")
            text = fit(text, 0.62, SMALL)
            box(sheet, x + 0.28, y, advance(text, SMALL) + 2 * PAD, text, SMALL, fills[i])
            write(sheet, x + CELL - 0.18, y + 0.015, three(values[i]), SMALL, INK, "right")

    def _facts(self, n: int, k: int) -> list[str]:
        hidden = np.array(self.hidden[n], dtype=bool)
        lines = [", ".join(self.facts[n][k].lines())]
        lines += standard_error(self.panel, self.summed, self.style, n, k)
        notes = saturation(self.values[n, k][~hidden], float(self.limits[n, k]))
        if hidden.any():
            total = number(float(self.raw[n, k][hidden].sum()))
            several = f"{hidden.sum()} positions left out, their"
            some = several if hidden.sum() > 1 else "1 position left out, its"
            notes.append(f"{some} sum {total}")
        return [*lines, ", ".join(notes)]


def advance(text: str, size: float) -> float:
    """Width of text with the spaces at its ends."""
    return extent(f"|{text}|", size) - extent("||", size)


def box(
    axes: Axes, x: float, y: float, width: float, text: str, size: float, fill: np.ndarray
) -> None:
    """Draw text on a rounded ground, at inches of a sheet."""
    tall = line(size) + 0.03
    shape = "round,pad=0,rounding_size=0.03"
    axes.add_patch(FancyBboxPatch((x, y), width, tall, shape, facecolor=fill, edgecolor="none"))
    lead = advance(text[: len(text) - len(text.lstrip())], size)
    write(axes, x + PAD + lead, y + 0.015, text.strip(), size, ink_on(fill))


def write(
    axes: Axes, x: float, y: float, text: str, size: float, color: str, align: str = "left"
) -> None:
    """One line whose top is at ``y`` inches of a sheet."""
    under = y + size * 1.05 / 72
    axes.text(x, under, text, fontsize=size, color=color, ha=align, va="baseline", **PLAIN)
