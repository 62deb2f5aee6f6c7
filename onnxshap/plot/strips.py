"""Attributions along a sequence: a heat strip, with the signal over it where it is one line."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from onnxshap.plot.canvas import BODY, INK, SMALL, SOFT, TITLE, Canvas, colour_map, line
from onnxshap.plot.form import Form
from onnxshap.plot.images import BAR, saturation, show_map
from onnxshap.plot.maps import channel_axes, limits, maps, signed, standard_error
from onnxshap.plot.panels import Facts, Panel, Style, number, percent

WIDTH, HEIGHT, GAP, FINEST = 4.6, 1.0, 0.3, 1000
HEAD = line(TITLE) + 0.04
FOOT = 0.2 + 3 * line(SMALL) + 0.16


class StripForm(Form):
    """Sequences [T], or matrices [A, T] of any proportions."""

    def __init__(self, panel: Panel, facts: Sequence[Sequence[Facts]], style: Style) -> None:
        self.panel, self.facts, self.style = panel, facts, style
        shape = panel.values.shape[2:]
        self.axes = channel_axes(shape, style, keep=2)
        drawn = maps(panel.values[: style.max_rows], self.axes, style)
        drawn = drawn.reshape(*drawn.shape[:2], *[s for s in drawn.shape[2:] if s > 1] or [1])
        self.positions = drawn.shape[-1]
        pool = -(-self.positions // FINEST)
        self.pool = pool
        starts = np.arange(0, self.positions, pool)
        with np.errstate(invalid="ignore"):
            drawn = np.add.reduceat(drawn, starts, axis=-1) if pool > 1 else drawn
        self.maps = signed(drawn, style.sign)
        self.limits = limits(self.maps, style)
        self.columns = min(drawn.shape[1], style.max_columns)
        tall = 1.6 if drawn.ndim == 4 else HEIGHT
        self.tall = tall
        self.row = HEAD + tall + FOOT
        self.width = self.columns * (WIDTH + BAR + GAP) - GAP
        self.height = len(self.maps) * self.row

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Draw every row below ``top``."""
        colours = colour_map(self.style.cmap)
        for n in range(len(self.maps)):
            for k in range(self.columns):
                x, y = left + k * (WIDTH + BAR + GAP), top + n * self.row
                self._strip(canvas, x, y, n, k, colours)

    def _strip(self, canvas: Canvas, x: float, y: float, n: int, k: int, colours: Colormap) -> None:
        facts, values, limit = self.facts[n][k], self.maps[n, k], float(self.limits[n, k])
        canvas.text(x, y, facts.label, TITLE, width=WIDTH * 0.55, bold=True)
        what = f"explicand {n}, output {number(facts.output)}"
        canvas.text(x + WIDTH, y, what, BODY, width=WIDTH * 0.42, color=SOFT, align="right")
        under = y + HEAD
        axes = canvas.axes(x, under, WIDTH, self.tall)
        low = 0.0 if self.style.sign == "absolute" else -limit
        show_map(axes, np.atleast_2d(values), limit, colours, low=low)
        self._signal(axes, n)
        last = self.positions - 1
        canvas.text(x, under + self.tall + 0.03, "0", SMALL, color=SOFT)
        canvas.text(
            x + WIDTH, under + self.tall + 0.03, f"{last}", SMALL, color=SOFT, align="right"
        )
        lines = [", ".join(facts.lines())]
        if self.pool == 1:
            lines += standard_error(self.panel, self.axes, self.style, n, k)
        elif facts.error is not None:
            lines.append(f"standard error {percent(facts.error)} value by value")
        notes = saturation(values, limit)
        if self.pool > 1:
            notes.append(f"summed over {self.pool} positions")
        lines.append(", ".join(notes))
        for i, text in enumerate(lines):
            top = under + self.tall + 0.2 + i * line(SMALL)
            canvas.text(x, top, text, SMALL, width=WIDTH + BAR, color=SOFT)
        if limit:
            canvas.colour_bar(x + WIDTH + 0.1, under, self.tall, colours, low, limit)

    def _signal(self, axes: Axes, n: int) -> None:
        """Draw the explained values as a line, scaled to the strip."""
        data = self.panel.data
        if data is None or self.maps.ndim != 3 or np.size(data[n]) != self.positions:
            return
        signal = np.nan_to_num(np.ravel(data[n]).astype(np.float64))
        low, high = signal.min(), signal.max()
        if high <= low:
            return
        at = (np.arange(self.positions) + 0.5) / self.positions
        axes.plot(at, 0.92 - 0.84 * (signal - low) / (high - low), color=INK, linewidth=0.8)
