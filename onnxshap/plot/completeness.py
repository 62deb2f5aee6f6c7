"""From base value to output: what raises it, what lowers it, their sum, and what the sum misses."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from onnxshap.plot.canvas import (
    BODY,
    INK,
    PLAIN,
    RULE,
    SMALL,
    SOFT,
    TITLE,
    Canvas,
    bar_names,
    bar_value,
    colour_map,
    extent,
    fit,
    ink_on,
    line,
    value_axis,
)
from onnxshap.plot.form import Form
from onnxshap.plot.panels import Facts, Panel, Style, number, percent
from onnxshap.plot.parts import parts

NAMES, CHART, GAP = 0.95, 4.4, 0.35
HEAD, PITCH, TICKS = line(TITLE) + line(BODY) + 0.08, 0.27, 0.26
TOTAL, MISSED = "#4d4d4d", "#f2b705"
LANES = "raised by", "lowered by", "sum", "residual"
BARS = len(LANES) * PITCH
KEY = 0.24
"""Room for the two colours before an input's name."""


class CompletenessForm(Form):
    """One bar an explicand and target, for inputs of any shape."""

    coloured = False

    def __init__(
        self, panels: Sequence[Panel], facts: Sequence[Sequence[Facts]], style: Style
    ) -> None:
        self.facts, self.style = facts, style
        self.parts = parts(panels, style.top)
        rows, columns = self.parts[0].up.shape
        rows, self.columns = min(rows, style.max_rows), min(columns, style.max_columns)
        feet = [max(self._foot(n, k) for k in range(self.columns)) for n in range(rows)]
        self.rows = [HEAD + BARS + TICKS + foot * line(SMALL) + 0.22 for foot in feet]
        self.width = self.columns * (NAMES + CHART + GAP) - GAP
        self.height = sum(self.rows)

    def notes(self) -> list[str]:
        """What the lines and grounds are."""
        if all(fact.base_value is None for row in self.facts for fact in row):
            return ["Bars start at zero: the method has no base value."]
        return ["Dashed: base value; solid: output. Yellow: by how much the sum misses the output."]

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Draw every row below ``top``."""
        for n, height in enumerate(self.rows):
            for k in range(self.columns):
                x, facts = left + k * (NAMES + CHART + GAP), self.facts[n][k]
                canvas.text(x, top, facts.label, TITLE, width=NAMES + CHART, bold=True)
                what = f"explicand {n}, {_way(facts)}"
                canvas.text(x, top + line(TITLE), what, BODY, width=NAMES + CHART, color=SOFT)
                self._bar(canvas.axes(x + NAMES, top + HEAD, CHART, BARS), n, k)
                self._key(canvas, x + NAMES, top + HEAD + BARS + TICKS, n, k)
            top += height

    def _bar(self, axes: Axes, n: int, k: int) -> None:
        """Lead from base value up, down, and to the output."""
        facts, start = self.facts[n][k], self.facts[n][k].base_value or 0.0
        ups = [float(part.up[n, k]) for part in self.parts]
        downs = [float(part.down[n, k]) for part in self.parts]
        peak, end = start + sum(ups), start + sum(ups) + sum(downs)
        marks = [start]
        if facts.base_value is not None and np.isfinite(facts.output):
            marks.append(facts.output)
        low, high = min(end, *marks), max(peak, *marks)
        room = 0.2 * ((high - low) or 1.0)
        value_axis(axes, low - room, high + room)
        bar_names(axes, LANES)
        self._segments(axes, 0, start, ups)
        self._segments(axes, 1, peak, downs)
        axes.barh(2, end - start, left=start, height=0.66, color=TOTAL)
        for at, row in ((peak, 0), (end, 1)):
            axes.plot([at, at], [row, row + 1], color=RULE, linewidth=0.7, zorder=0)
        axes.axvline(start, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1.5)
        if len(marks) > 1:
            axes.axvline(facts.output, color=INK, linewidth=0.9, zorder=1.5)
        write = partial(_beside, axes, marks)
        write(peak, 0, f"{sum(ups):+.4g}", True)
        write(end, 1, f"{sum(downs):+.4g}", False)
        write(end, 2, f"{end - start:+.4g}", end >= start)
        text, gap = _missed(facts, end)
        if gap is not None:
            bar = axes.barh(3, gap, left=facts.output, height=0.66, color=MISSED, zorder=2)
            bar[0].set(edgecolor=INK, linewidth=0.5)
        right = end < (low + high) / 2
        far = (max if right else min)([end, *marks[1:]])
        write(far, 3, text, right, ground="white" if gap is None else MISSED)

    def _fills(self, i: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Colours of what an input raises and of what it lowers."""
        colours = colour_map(self.style.cmap)
        at = 0.87 - 0.19 * i / max(len(self.parts) - 1, 1)
        return colours(at), colours(1 - at)

    def _segments(self, axes: Axes, row: int, start: float, steps: Sequence[float]) -> None:
        """Lay the inputs' steps end to end, each named where its name fits."""
        low, high = axes.get_xlim()
        for i, (part, step) in enumerate(zip(self.parts, steps, strict=True)):
            if not step:
                continue
            fill = self._fills(i)[step < 0]
            bar = axes.barh(row, step, left=start, height=0.8, color=fill, zorder=1)
            bar[0].set(edgecolor="white", linewidth=0.6)
            inches = abs(step) / (high - low) * CHART
            name = fit(part.name, None, SMALL)
            if len(steps) > 1 and extent(name, SMALL) + 0.08 <= inches:
                text = axes.text(start + step / 2, row, name, fontsize=SMALL, **PLAIN)
                text.set(ha="center", va="center_baseline", color=ink_on(fill))
            start += step

    def _entries(self, n: int, k: int) -> list[tuple[float, int, str]]:
        """Left edge, line and text of what is said of every input, where there are several."""
        if len(self.parts) < 2:
            return []
        texts = [fit(part.line(n, k), CHART - KEY, SMALL) for part in self.parts]
        width = KEY + max(extent(text, SMALL) for text in texts) + 0.15
        abreast = max(int((CHART + 0.15) / width), 1)
        return [(i % abreast * width, i // abreast, text) for i, text in enumerate(texts)]

    def _broken(self, n: int, k: int) -> int:
        return sum(int(part.broken[n, k]) for part in self.parts)

    def _foot(self, n: int, k: int) -> int:
        """How many lines there are beneath a bar."""
        entries = self._entries(n, k)
        return (entries[-1][1] + 1 if entries else 0) + (self._broken(n, k) > 0)

    def _key(self, canvas: Canvas, x: float, y: float, n: int, k: int) -> None:
        """Say what each input adds, in its colours, and how many attributions are not finite."""
        for i, (at, row, text) in enumerate(self._entries(n, k)):
            under = y + row * line(SMALL)
            for j, fill in enumerate(self._fills(i)):
                swatch = canvas.axes(x + at + 0.1 * j, under + 0.025, 0.09, 0.085)
                swatch.set(facecolor=fill)
                swatch.spines[:].set_visible(False)
            canvas.text(x + at + KEY, under, text, SMALL, color=SOFT)
        if self._broken(n, k):
            under = y + (self._foot(n, k) - 1) * line(SMALL)
            text = f"not finite: {self._broken(n, k)}; bars are of the others"
            canvas.text(x, under, text, SMALL, color="#c000c0")


def _beside(
    axes: Axes,
    marks: Sequence[float],
    at: float,
    row: int,
    text: str,
    right: bool,
    ground: str = "white",
) -> None:
    """Write a value beside a bar's end, beyond the vertical lines it would cover."""
    low, high = axes.get_xlim()
    side = 1 if right else -1
    for mark in sorted(marks, key=lambda mark: side * mark):
        if 0 <= side * (mark - at) < (extent(text, SMALL) + 0.1) / CHART * (high - low):
            at = mark
    bar_value(axes, at, row, text, right, ground=ground)


def _missed(facts: Facts, end: float) -> tuple[str, float | None]:
    """Say how large the residual is; and the gap to draw, if it is known."""
    if facts.base_value is None:
        return "no base value, so none promised", None
    gap = end - facts.output
    if not np.isfinite(facts.total) or not np.isfinite(gap):
        return "not finite", None
    if facts.residual is None:
        return f"{gap:+.1e}; completeness is not promised", gap
    way = abs(facts.output - facts.base_value)
    share = abs(facts.residual) / way if way else 0.0
    of = f", {percent(share)} of output - base value" if share >= 1e-4 else ""
    return f"{facts.residual:+.1e}{of}", gap


def _way(facts: Facts) -> str:
    output = number(facts.output)
    if facts.base_value is None:
        return f"output {output}"
    return f"base value {number(facts.base_value)} \u2192 output {output}"
