"""A matplotlib figure measured in inches from its top left corner; text is never markup."""

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator

from onnxshap.errors import InputError

INK, SOFT, RULE = "#1a1a1a", "#555555", "#bbbbbb"
TITLE, BODY, SMALL = 10.5, 8.5, 7.5
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
BROKEN = (1.0, 0.0, 1.0, 1.0)
"""Magenta: values that are not finite."""


def line(size: float) -> float:
    """Height of a line of text, in inches."""
    return size * 1.32 / 72


class Drawing(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


class Canvas:
    """A white figure and what is put on it, by inches from the top left."""

    def __init__(self, width: float, height: float, dpi: float = 110) -> None:
        self.width, self.height = width, height
        self.figure = Drawing(figsize=(width, height), dpi=dpi, facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes without ticks."""
        box = (
            left / self.width,
            1 - (top + height) / self.height,
            width / self.width,
            height / self.height,
        )
        axes = self.figure.add_axes(box, facecolor="white")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=RULE, linewidth=0.6)
        return axes

    def sheet(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes without a frame, in inches from their own top left."""
        axes = self.axes(left, top, width, height)
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        return axes

    def text(
        self,
        left: float,
        top: float,
        text: str,
        size: float = BODY,
        *,
        width: float | None = None,
        color: str = INK,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """One line whose top is at ``top``, cut with an ellipsis where wider than ``width``."""
        weight = "bold" if bold else "normal"
        self.figure.text(
            left / self.width,
            1 - (top + size * 1.05 / 72) / self.height,
            fit(text, width, size, weight),
            fontsize=size,
            color=color,
            fontweight=weight,
            ha=align,
            va="baseline",
            **PLAIN,
        )

    def colour_bar(
        self, left: float, top: float, height: float, colours: Colormap, low: float, high: float
    ) -> None:
        """Draw a thin bar with its ends and zero labelled on the right."""
        axes = self.axes(left, top, 0.11, height)
        ramp = colours(np.linspace(0, 1, 256))[:, None]
        axes.imshow(ramp, extent=(0, 1, low, high), origin="lower", aspect="auto")
        ticks = [low, 0.0, high] if low < 0 < high else [low, high]
        axes.yaxis.tick_right()
        labels = [f"{tick:+.2g}" if tick else "0" for tick in ticks]
        axes.set(xticks=[], ylim=(low, high))
        axes.set_yticks(ticks, labels, fontsize=SMALL, color=INK, **PLAIN)
        axes.tick_params(axis="y", color=RULE, length=2, pad=2)


def value_axis(axes: Axes, low: float, high: float) -> None:
    """Label values from ``low`` to ``high`` beneath bars, and frame nothing else."""
    axes.set_xlim(low, high)
    ticks = [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    labels = [f"{tick:.6g}" for tick in ticks]
    axes.set_xticks(ticks, labels, fontsize=SMALL, color=SOFT, **PLAIN)
    axes.tick_params(axis="x", color=RULE, length=2)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def bar_names(axes: Axes, names: Sequence[str]) -> None:
    """Name horizontal bars 0, 1, ... from the top."""
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names, fontsize=BODY, color=INK, **PLAIN)
    axes.tick_params(axis="y", length=0)


def bar_value(
    axes: Axes,
    x: float,
    row: float,
    text: str,
    right: bool,
    *,
    color: str = INK,
    ground: str = "white",
) -> None:
    """Write a value beside the end of a bar, on the side it points to."""
    away, alpha, pad = (3, 0.8, 0.4) if ground == "white" else (5, 1.0, 1.6)
    axes.annotate(
        text,
        (x, row),
        xytext=(away if right else -away, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=SMALL,
        color=color,
        bbox={"facecolor": ground, "edgecolor": "none", "alpha": alpha, "pad": pad},
        **PLAIN,
    )


def ink_on(background: Any) -> str:
    """Dark or white, whichever contrasts more with a colour (WCAG 2 relative luminance)."""
    rgb = np.asarray(to_rgb(background))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return INK if (luminance + 0.05) ** 2 > 0.06 * 1.05 else "white"


def colour_map(name: str) -> Colormap:
    """Return matplotlib's colour map of that name."""
    if name not in colormaps:
        raise InputError(
            f"matplotlib has no colour map {name!r}; RdBu_r and PuOr_r suit signed maps, "
            "viridis absolute ones"
        )
    return colormaps[name]


def fit(text: str, width: float | None, size: float, weight: str = "normal") -> str:
    """Shorten text to ``width`` inches, and put a box where the font lacks a character."""
    families = tuple(FontProperties().get_family())
    text = "".join(c if _drawable(c, families) else "\u25a1" for c in text)
    if width is None:
        return text
    text = text[: int(width * 72)]  # no character is narrower than a point
    if not text or extent(text, size, weight) <= width:
        return text
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        short = extent(text[:middle] + "…", size, weight) <= width
        low, high = (middle, high) if short else (low, middle)
    return text[:low].rstrip() + "…"


def wrap(text: str, width: float, size: float) -> list[str]:
    """Break text between words into lines of at most ``width`` inches."""
    lines: list[str] = []
    for word in text.split():
        if lines and extent(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def extent(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text, in inches."""
    prop = FontProperties(size=size, weight=weight)
    width, *_ = text_to_path.get_text_width_height_descent(text, prop, ismath=False)
    return float(width) / 72


@lru_cache(maxsize=4096)
def _drawable(character: str, families: tuple[str, ...]) -> bool:
    if character.isascii():
        return True
    fonts = (findfont(FontProperties(family=[family])) for family in families)
    return any(get_font(font).get_char_index(ord(character)) for font in fonts)


def shade(values: np.ndarray, limit: float, colours: Colormap, low: float) -> np.ndarray:
    """RGBA of values on [low, limit], opaque; not-finite values in magenta."""
    finite = np.isfinite(values)
    safe = np.where(finite, values, 0)
    rgba = colours(Normalize(low, limit, clip=True)(safe))
    rgba[~finite] = BROKEN
    return np.asarray(rgba)
