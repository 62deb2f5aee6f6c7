"""`Overlay`: one attribution map over its picture, looked at closely."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets as t

from onnxshap.errors import InputError
from onnxshap.plot.maps import limits, signed
from onnxshap.plot.panels import Style
from onnxshap_widgets.arrays import (
    attribution_map,
    facts_of,
    grey_photo,
    in_squares,
    one_of,
    over_channels,
    squares,
    within,
)
from onnxshap_widgets.portable import Portable
from onnxshap_widgets.static_files import module, style
from onnxshap_widgets.still import Still, png

SIGNS = ("signed", "positive", "negative", "absolute")
COLOUR_MAPS = ("RdBu_r", "PuOr_r")
SIDE = 1024
"""Pixels a side that the browser gets at most."""

Facts = Sequence[tuple[str, str]] | dict[str, str]


class Overlay(Portable):
    """One attribution map over its picture, with controls that need no kernel.

    Parameters
    ----------
    values : array [H, W] or [C, H, W]
        Attributions of one sample and target, e.g. ``explanation.attributions[0, 0]``, in units of
        the output. NaN and infinities are hatched and counted.
    image : array, optional
        What lies beneath, ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``; integers 0..255 or floats.
        It may be of another size than the map.
    title : str
        Heading, e.g. the explained class.
    facts : sequence of (label, text)
        What is printed beside the map, e.g. ``[("output", "+8.99"), ("base value", "+3.23")]``.
    sign : {"signed", "positive", "negative", "absolute"}
        Which attributions are shown.
    percentile : float
        Colours end at this percentile of |attribution| as shown, above 0 and up to 100.
    opacity : float, optional
        Opacity of the map over the picture, 0..1, the same all over. None: it grows with
        |attribution|, so that the picture shows where nothing happens.
    cmap : {"RdBu_r", "PuOr_r"}
        Colours of signed maps, both safe for the colour-blind; absolute maps take magma's.
    channel : {"sum", "max-abs"} or int, optional
        How channels become one map: their sum, the one with the largest |value|, or one of them.
    block : int
        Sum the map over squares of this many pixels: single pixels are often too fine to see.
    limit : float, optional
        Where colours end, instead of the percentile: for several overlays on one scale.

    Notes
    -----
    Larger maps and pictures than 1024 pixels a side are summed, or averaged, over squares of pixels
    before they are sent; the caption says so. Sums stay exact, and `selection` counts in pixels of
    ``values`` all the same.

    Examples
    --------
    >>> Overlay(explanation.attributions[0, 0], photo, title="tiger cat")  # doctest: +SKIP
    """

    _esm = module("maps", "overlay")
    _css = style("maps", "overlay")

    title = t.Unicode("").tag(sync=True)
    sign = t.Enum(SIGNS, "signed").tag(sync=True)
    percentile = t.Float(99.9, min=0, max=100).tag(sync=True)
    opacity = t.Float(1.0, min=0, max=1).tag(sync=True)
    uniform = t.Bool(False).tag(sync=True)
    """Whether opacity is the same all over, or the most of one that grows with |value|."""
    cmap = t.Enum(COLOUR_MAPS, "RdBu_r").tag(sync=True)
    channel = t.Unicode("sum").tag(sync=True)
    block = t.Int(1, min=1).tag(sync=True)
    limit = t.Float(None, allow_none=True).tag(sync=True)
    selection = t.Dict(read_only=True).tag(sync=True)
    """The rectangle drawn last, ``{}`` for none: ``values[..., y0:y1, x0:x1]``, its ``sum`` over
    the shown channels in float64, and its ``share`` of the sum over the whole map (None where that
    is 0)."""

    _array: np.ndarray
    _image: Any = None
    _values = t.Bytes(b"").tag(sync=True)
    _shape = t.List(t.Int(), [0, 0, 0]).tag(sync=True)
    """Channels, height and width of what is sent."""
    _size = t.List(t.Int(), [0, 0]).tag(sync=True)
    """Height and width of the map as it was given."""
    _block = t.Int(1).tag(sync=True)
    _photo = t.Bytes(b"").tag(sync=True)
    _photo_shape = t.List(t.Int(), [0, 0]).tag(sync=True)
    _facts = t.List(t.List(t.Unicode())).tag(sync=True)

    def __init__(
        self,
        values: Any,
        image: Any = None,
        *,
        title: str = "",
        facts: Facts = (),
        sign: str = "signed",
        percentile: float = 99.9,
        opacity: float | None = None,
        cmap: str = "RdBu_r",
        channel: str | int | None = None,
        block: int = 1,
        limit: float | None = None,
    ) -> None:
        array = attribution_map(values)
        super().__init__(
            title=str(title),
            sign=one_of("sign", sign, SIGNS),
            percentile=percentile_of(percentile),
            opacity=1.0 if opacity is None else within("opacity", opacity, 0, 1),
            uniform=opacity is not None,
            cmap=one_of("cmap", cmap, COLOUR_MAPS),
            channel=_channel(channel, len(array)),
            block=block_of(block),
            limit=limit_given(limit),
        )
        self._set(array, image, facts)

    def update(
        self, values: Any, image: Any = None, facts: Facts = (), title: str | None = None
    ) -> None:
        """Show another map; what the user has set stays.

        Parameters
        ----------
        values : array [H, W] or [C, H, W]
        image : array, optional
            None: the picture stays, as long as it belongs to a map of this shape.
        facts : sequence of (label, text)
        title : str, optional
            None: the title stays.
        """
        array = attribution_map(values)
        with self.hold_sync():
            if title is not None:
                self.title = str(title)
            if self.channel.isdecimal() and int(self.channel) >= len(array):
                self.channel = "sum"
            self._set(array, image, facts)

    @property
    def values(self) -> np.ndarray:
        """The attributions, float32 [C, H, W], as they were given."""
        return self._array

    def png(self) -> bytes:
        """Draw the map as it is set, as the bytes of a PNG file. Needs matplotlib."""
        block = self._block * self.block
        drawn = squares(self._drawn(), block)
        limit = self.limit or limit_of([signed(drawn, self.sign)], self.percentile)
        photo = np.frombuffer(self._photo, np.uint8).reshape(self._photo_shape)
        lines = [f"{label} {text}" for label, text in self._facts]
        still = Still("", drawn, limit, photo if photo.size else None, [", ".join(lines)])
        ends = f"the {self.percentile:g}th percentile of |attribution|"
        captions = [caption(self.sign, self.cmap, "a limit given" if self.limit else ends)]
        if block > 1:
            captions.append(f"Each cell sums {block} x {block} pixels.")
        return png(
            [("", [still])],
            title=self.title,
            captions=captions,
            sign=self.sign,
            cmap=self.cmap,
            opacity=self.opacity if self.uniform else None,
            side=3.6,
        )

    @t.observe("channel")
    def _measure_again(self, _: Any) -> None:
        if self.selection:
            self.set_trait("selection", self._selected(self.selection))

    def _set(self, array: np.ndarray, image: Any, facts: Facts) -> None:
        pairs = facts_of(facts)
        # While a map refines its picture stays: not worth bringing to size again.
        known = image is None or (image is self._image and self._photo != b"")
        photo = None if known else grey_photo(image, SIDE)
        sent, block = in_squares(array, SIDE)
        size = list(array.shape[1:])
        with self.hold_sync():
            if photo is not None:
                self._photo, self._photo_shape = photo.tobytes(), list(photo.shape)
            elif image is None and size != self._size:
                self._photo, self._photo_shape, self._image = b"", [0, 0], None
            if image is not None:
                self._image = image
            self._array, moved = array, size != self._size
            self._shape, self._size, self._block = list(sent.shape), size, block
            self._values = sent.tobytes()
            self._facts = pairs
            if self.selection:
                self.set_trait("selection", {} if moved else self._selected(self.selection))

    def _channels(self) -> np.ndarray:
        if self.channel.isdecimal():
            return np.asarray(self._array[int(self.channel)])[None]
        return self._array

    def _drawn(self) -> np.ndarray:
        """The map as it is shown, float64 [H, W]."""
        if self.channel == "max-abs":
            largest = np.abs(self._array).argmax(0)[None]  # NaN counts as largest
            found = np.take_along_axis(self._array, largest, 0)[0]
            return np.asarray(found, dtype=np.float64)
        return over_channels(self._channels())

    def _selected(self, rectangle: dict[str, Any]) -> dict[str, Any]:
        x0, y0, x1, y1 = (int(rectangle[key]) for key in ("x0", "y0", "x1", "y1"))
        summed = over_channels(self._channels())
        with np.errstate(invalid="ignore"):
            part, whole = (
                float(np.where(np.isfinite(a), a, 0).sum()) for a in (summed[y0:y1, x0:x1], summed)
            )
        share = part / whole if whole else None
        return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "sum": part, "share": share}


def percentile_of(value: Any) -> float:
    """Return the percentile, or refuse it."""
    if within("percentile", value, 0, 100) == 0:
        raise InputError("percentile is 0; it takes 0 (excluded) to 100")
    return float(value)


def limit_of(maps: Sequence[np.ndarray], percentile: float) -> float:
    """Where the colours of maps that share a scale end; 0 where all are 0."""
    flat = np.concatenate([m.ravel() for m in maps])[None, None]
    return float(limits(flat, Style(percentile=percentile, scale="panel"))[0, 0])


def caption(sign: str, cmap: str, ends: str) -> str:
    """Say how to read the colours."""
    up, down = {"RdBu_r": ("Red", "blue")}.get(cmap, ("Orange", "purple"))
    how = {
        "signed": f"{up} pushes the output up, {down} pushes it down.",
        "positive": f"{up} pushes the output up; what pushes it down is not shown.",
        "negative": f"{down.capitalize()} pushes the output down; what pushes it up is not shown.",
        "absolute": "Colour shows the size of attributions, not their sign.",
    }[sign]
    return f"{how} Colours end at {ends}."


def _channel(value: Any, channels: int) -> str:
    if value is None:
        return "sum"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        if 0 <= value < channels:
            return str(int(value))
        raise InputError(f"channel is {value!r}; the map has channels 0 to {channels - 1}")
    if value not in ("sum", "max-abs"):
        raise InputError(f"channel is {value!r}; it takes sum, max-abs or the number of a channel")
    return str(value)


def block_of(value: Any) -> int:
    """Return the pixels a side of a square, or refuse them."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"block is {value!r}; it takes a whole number of pixels, 1 or more")
    return int(value)


def limit_given(value: Any) -> float | None:
    """Return the limit, None for none, or refuse it."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise InputError(f"limit is {value!r}; it takes a number above 0, or None")
    if not 0 < value < np.inf:
        raise InputError(f"limit is {value!r}; it takes a number above 0, or None")
    return float(value)
