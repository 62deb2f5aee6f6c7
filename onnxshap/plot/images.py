"""Attributions over photos: one row an explicand, one column a target."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap

from onnxshap.errors import InputError
from onnxshap.plot.canvas import BODY, INK, PLAIN, SMALL, SOFT, TITLE, Canvas, line, shade
from onnxshap.plot.canvas import colour_map as named_map
from onnxshap.plot.form import Form
from onnxshap.plot.maps import channel_axes, clipped, grey, limits, maps, signed, standard_error
from onnxshap.plot.panels import Facts, Panel, Style, number, percent

SIDE, GAP, BAR = 2.35, 0.16, 0.78
HEAD = line(TITLE) + line(BODY) + 0.03
FOOT = 4 * line(SMALL) + 0.04


class ImageForm(Form):
    """Maps of one input, with the photos beneath and beside them."""

    def __init__(
        self,
        panel: Panel,
        facts: Sequence[Sequence[Facts]],
        style: Style,
        photos: Sequence[np.ndarray] | None,
    ) -> None:
        self.panel, self.facts, self.style, self.photos = panel, facts, style, photos
        self.axes = channel_axes(panel.values.shape[2:], style, keep=2)
        drawn = maps(panel.values[: style.max_rows], self.axes, style)
        if drawn.ndim != 4:
            raise InputError(
                f"a sample has shape {list(panel.values.shape[2:])}, which is no image; "
                'pass form="bars" or form="strip"'
            )
        self.maps = signed(drawn, style.sign)
        self.limits = limits(self.maps, style)
        self.columns = min(panel.values.shape[1], style.max_columns)
        shape = photos[0].shape if photos else self.maps.shape[2:]
        self.side = SIDE, SIDE * min(max(shape[0] / max(shape[1], 1), 0.4), 2.5)
        self.per_panel_bars = style.scale == "panel"
        self.pitch = SIDE + (BAR if self.per_panel_bars else GAP)
        self.row = HEAD + self.side[1] + FOOT + 0.1
        beside = 1 if photos else 0
        self.width = beside * (SIDE + GAP) + self.columns * self.pitch
        self.width += 0 if self.per_panel_bars else BAR - GAP
        self.height = len(self.maps) * self.row

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Draw every row below ``top``."""
        colours = named_map(self.style.cmap)
        for n in range(len(self.maps)):
            self._row(canvas, left, top + n * self.row, n, colours)

    def _row(self, canvas: Canvas, left: float, top: float, n: int, colours: Colormap) -> None:
        width, height = self.side
        under = top + HEAD
        base = None
        if self.photos:
            base = grey(self.photos[n])
            canvas.text(left, top + line(BODY), f"explicand {n}", BODY, color=SOFT)
            show_photo(canvas.axes(left, under, width, height), self.photos[n])
            left += SIDE + GAP
        for k in range(self.columns):
            x, facts = left + k * self.pitch, self.facts[n][k]
            canvas.text(x, top, facts.label, TITLE, width=width, bold=True)
            canvas.text(x, top + line(TITLE), f"output {number(facts.output)}", BODY, width=width)
            limit = float(self.limits[n, k])
            values = self.maps[n, k]
            axes = canvas.axes(x, under, width, height)
            low = 0.0 if self.style.sign == "absolute" else -limit
            show_map(axes, values, limit, colours, base, self.style.opacity, low)
            for i, text in enumerate(self._lines(facts, values, limit, n, k)):
                y = under + height + 0.05 + i * line(SMALL)
                canvas.text(x, y, text, SMALL, width=width, color=SOFT)
            if limit and (self.per_panel_bars or k == self.columns - 1):
                canvas.colour_bar(x + width + 0.1, under, height, colours, low, limit)

    def _lines(self, facts: Facts, values: np.ndarray, limit: float, n: int, k: int) -> list[str]:
        error = standard_error(self.panel, self.axes, self.style, n, k)
        return [*facts.lines(), *error, *saturation(values, limit)]


def saturation(values: np.ndarray, limit: float) -> list[str]:
    """Return what the colours do not show: the clipped share and values that are not finite."""
    broken = int((~np.isfinite(values)).sum())
    texts = [f"clipped {percent(clipped(values, limit))}"] if limit else []
    if broken:
        texts.append(f"magenta: {broken} not finite")
    return [", ".join(texts)] if texts else []


def show_photo(axes: Axes, photo: np.ndarray) -> None:
    """Draw a photo as it is."""
    axes.imshow(photo, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="antialiased")


def show_map(
    axes: Axes,
    values: np.ndarray,
    limit: float,
    colours: Colormap,
    base: np.ndarray | None = None,
    opacity: float | None = None,
    low: float | None = None,
) -> None:
    """Draw a map over a pale grey photo; unless ``opacity`` is given it grows with |value|."""
    extent = (0.0, 1.0, 1.0, 0.0)
    if base is not None:
        axes.imshow(0.5 + 0.5 * base, cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
    if limit or not np.isfinite(values).all():
        rgba = shade(values, limit or 1.0, colours, -(limit or 1.0) if low is None else low)
        if base is not None:
            share = np.abs(np.nan_to_num(values)) / (limit or 1.0)
            grown = np.clip(share, 0, 1) ** 0.75
            alpha = grown if opacity is None else np.full(values.shape, opacity)
            rgba[..., 3] = np.where(np.isfinite(values), alpha, 1.0)
        axes.imshow(rgba, extent=extent, aspect="auto", interpolation="nearest")
    if not np.any(values):
        axes.text(
            0.5,
            0.5,
            "no attribution",
            fontsize=BODY,
            color=INK,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 4},
            **PLAIN,
        )
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(1, 0))
