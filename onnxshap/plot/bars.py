"""Attributions of features in a row: a waterfall from base value to output."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from onnxshap.errors import InputError
from onnxshap.plot.canvas import (
    BODY,
    INK,
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
    line,
    value_axis,
)
from onnxshap.plot.form import Form
from onnxshap.plot.maps import channel_axes, maps, signed, standard_error
from onnxshap.plot.panels import Facts, Panel, Style, number, plain

NAMES, CHART, GAP, PITCH = 1.75, 3.1, 0.3, 0.25
HEAD = line(TITLE) + line(BODY) + 0.08
TICKS = 0.26
FOOT = 4 * line(SMALL) + 0.2


class BarForm(Form):
    """Horizontal bars of the largest features, each starting where the one before ended."""

    coloured = False

    def __init__(
        self,
        panel: Panel,
        facts: Sequence[Sequence[Facts]],
        style: Style,
        names: Sequence[str] | None,
    ) -> None:
        self.panel, self.facts, self.style = panel, facts, style
        shape = panel.values.shape[2:]
        self.summed = axes = channel_axes(shape, style, keep=len(shape))
        rows = min(len(panel.values), style.max_rows)
        drawn = maps(panel.values[:rows], axes, style)
        self.values = drawn.reshape(*drawn.shape[:2], -1)
        self.count = self.values.shape[2]
        summed = bool(axes) or style.block > 1
        same = panel.errors is not None and not summed
        self.errors = np.reshape(panel.errors[:rows], self.values.shape) if same else None  # type: ignore[index]
        self.data = None
        if panel.data is not None and np.size(panel.data[0]) == self.count:
            self.data = np.reshape(panel.data[:rows], (rows, self.count))
        self.names = _names(names, drawn.shape[2:])
        self.columns = min(self.values.shape[1], style.max_columns)
        self.shown = min(self.count, style.top)
        self.bars = self.shown + (self.count > self.shown)
        self.row = HEAD + self.bars * PITCH + TICKS + FOOT
        self.width = self.columns * (NAMES + CHART + GAP)
        self.height = rows * self.row

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Draw every row below ``top``."""
        for n in range(len(self.values)):
            for k in range(self.columns):
                x, y = left + k * (NAMES + CHART + GAP), top + n * self.row
                facts = self.facts[n][k]
                canvas.text(x, y, facts.label, TITLE, width=NAMES + CHART, bold=True)
                what = f"explicand {n}, output {number(facts.output)}"
                canvas.text(x, y + line(TITLE), what, BODY, width=NAMES + CHART, color=SOFT)
                axes = canvas.axes(x + NAMES, y + HEAD, CHART, self.bars * PITCH)
                broken = self._bars(axes, n, k)
                lines = facts.lines()
                lines += standard_error(self.panel, self.summed, self.style, n, k)
                if broken:
                    lines.append(f"magenta: {broken} not finite")
                under = y + HEAD + self.bars * PITCH + TICKS
                for i, text in enumerate(lines[:4]):
                    canvas.text(x + NAMES, under + i * line(SMALL), text, SMALL, color=SOFT)

    def notes(self) -> list[str]:
        """What the lines and whiskers are."""
        if self.style.sign != "signed":
            return []
        based = any(fact.base_value is not None for row in self.facts for fact in row)
        note = "Dashed: base value; solid: output." if based else "Bars start at zero."
        known = self.panel.errors is not None
        return [note + (" Whiskers: standard error over references." if known else "")]

    def _bars(self, axes: Axes, n: int, k: int) -> int:
        """Draw one waterfall; return how many features are not finite."""
        values, facts = self.values[n, k], self.facts[n][k]
        finite = np.isfinite(values)
        known = signed(np.where(finite, values, 0.0), self.style.sign)
        size = np.where(finite, np.abs(known), np.inf)
        order = np.argsort(-size, kind="stable")[: self.shown]
        steps = [float(known[i]) for i in order]
        texts = [self._name(n, int(i)) for i in order]
        if self.count > self.shown:
            steps.append(float(known.sum() - sum(steps)))
            texts.append(f"{self.count - self.shown} other features")
        flow = self.style.sign == "signed"
        start = (facts.base_value or 0.0) if flow else 0.0
        ends = start + np.cumsum(steps)
        starts = np.concatenate([[start], ends[:-1]]) if flow else np.zeros(len(steps))
        colours = colour_map(self.style.cmap)
        if flow or self.style.sign != "absolute":
            up, down = colours(0.87), colours(0.13)
        else:
            up = down = colours(0.4)
        for row, (begin, step, i) in enumerate(zip(starts, steps, [*order, -1], strict=False)):
            lost = i >= 0 and row < len(order) and not finite[i]
            error = None
            if self.errors is not None and row < len(order) and not lost:
                error = float(self.errors[n, k, i])
            axes.barh(row, step, left=begin, height=0.68, color=up if step >= 0 else down)
            if error is not None and np.isfinite(error):
                axes.errorbar(begin + step, row, xerr=error, color=SOFT, elinewidth=0.8, capsize=2)
            if flow and row + 1 < len(steps):
                axes.plot([begin + step] * 2, [row, row + 1], color=RULE, linewidth=0.7, zorder=0)
            self._value(axes, row, begin, step, error or 0.0, lost)
        self._frame(axes, start, facts, texts, flow)
        return int((~finite).sum())

    def _value(
        self, axes: Axes, row: int, begin: float, step: float, error: float, lost: bool
    ) -> None:
        """Write the value beyond its bar and whisker."""
        text, colour = ("not finite", "#c000c0") if lost else (f"{step:+.3g}", INK)
        right = step >= 0
        bar_value(axes, begin + step + (error if right else -error), row, text, right, color=colour)

    def _frame(self, axes: Axes, start: float, facts: Facts, texts: list[str], flow: bool) -> None:
        low, high = axes.dataLim.x0, axes.dataLim.x1
        if flow and facts.base_value is not None and np.isfinite(facts.output):
            low, high = min(low, facts.output), max(high, facts.output)
            axes.axvline(facts.output, color=INK, linewidth=0.9, zorder=0.5)
        axes.axvline(start, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), zorder=0.5)
        low, high = min(low, start), max(high, start)
        room = 0.26 * ((high - low) or 1.0)
        value_axis(axes, low - room, high + room)
        bar_names(axes, texts)

    def _name(self, n: int, i: int) -> str:
        value = "" if self.data is None else f" = {self.data[n, i]:.4g}"
        return fit(self.names[i], NAMES - 0.12 - extent(value, BODY), BODY) + value


def _names(names: Sequence[str] | None, shape: tuple[int, ...]) -> list[str]:
    count = int(np.prod(shape))
    if names is None:
        index = np.ndindex(*shape) if len(shape) > 1 else range(count)
        return [f"feature {i}" if isinstance(i, int) else f"feature {list(i)}" for i in index]
    if len(names) != count:
        raise InputError(f"features names {len(names)} features; a sample has {count}")
    return [plain(name) for name in names]
