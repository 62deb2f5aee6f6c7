"""`CompareGrid`: small multiples of maps on one scale, and how far two of them agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import traitlets as t

from onnxshap.errors import InputError
from onnxshap.plot.maps import signed
from onnxshap_widgets.agreement import SHARE, Agreement, agreement
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
from onnxshap_widgets.overlay import (
    COLOUR_MAPS,
    SIGNS,
    Facts,
    block_of,
    caption,
    limit_of,
    percentile_of,
)
from onnxshap_widgets.portable import Portable
from onnxshap_widgets.static_files import module, style
from onnxshap_widgets.still import Still, png

SCALES = ("row", "panel", "grid")
SIDE = 512
"""Pixels a side of one panel that the browser gets at most."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One map of a grid."""

    title: str
    values: Any
    """[H, W] or [C, H, W], of one sample and target; channels are summed."""
    facts: Facts = ()
    """(label, text) pairs printed below it."""
    image: Any = None
    """What lies beneath; None: the grid's."""


Rows = Sequence[tuple[str, Sequence[Panel]]]


class CompareGrid(Portable):
    """Maps in rows, on one colour scale a row; two chosen ones are compared number by number.

    Parameters
    ----------
    panels : sequence of (name, sequence of Panel)
        Rows, e.g. one a class, of panels, e.g. one a method.
    columns : sequence of str, optional
        Titles of the panels of each row that have none of their own.
    image : array, optional
        What lies beneath every map; see `Overlay`.
    scale : {"row", "panel", "grid"}
        What shares one colour scale. ``"panel"`` cannot be compared by eye, and the grid says so.
    title, sign, percentile, opacity, cmap, block
        As for `Overlay`.

    Notes
    -----
    Panels larger than 512 pixels a side are summed over squares of pixels before they are sent.
    `agreement` takes the maps as they were given.

    Examples
    --------
    >>> CompareGrid(  # doctest: +SKIP
    ...     [("tiger cat", [Panel("deepshap", first), Panel("x_gradient", second)])], image=photo
    ... )
    """

    _esm = module("maps", "compare")
    _css = style("maps", "compare")

    title = t.Unicode("").tag(sync=True)
    scale = t.Enum(SCALES, "row").tag(sync=True)
    sign = t.Enum(SIGNS, "signed").tag(sync=True)
    percentile = t.Float(99.9, min=0, max=100).tag(sync=True)
    opacity = t.Float(1.0, min=0, max=1).tag(sync=True)
    uniform = t.Bool(False).tag(sync=True)
    """Whether opacity is the same all over, or the most of one that grows with |value|."""
    cmap = t.Enum(COLOUR_MAPS, "RdBu_r").tag(sync=True)
    block = t.Int(1, min=1).tag(sync=True)
    chosen = t.List(t.List(t.Int()), maxlen=2).tag(sync=True)
    """[row, place in it] of the panels that are compared, two at most."""

    _rows = t.List(t.List(t.Dict())).tag(sync=True)
    """What is known of each panel but its pixels, row by row."""
    _names = t.List(t.Unicode()).tag(sync=True)
    _values = t.Bytes(b"").tag(sync=True)
    """All maps, float32, one after the other."""
    _photos = t.List(t.Bytes()).tag(sync=True)
    _photo_shapes = t.List(t.List(t.Int())).tag(sync=True)

    def __init__(
        self,
        panels: Rows,
        *,
        columns: Sequence[str] | None = None,
        image: Any = None,
        scale: str = "row",
        title: str = "",
        sign: str = "signed",
        percentile: float = 99.9,
        opacity: float | None = None,
        cmap: str = "RdBu_r",
        block: int = 1,
    ) -> None:
        rows = _rows_of(panels, columns)
        super().__init__(
            title=str(title),
            scale=one_of("scale", scale, SCALES),
            sign=one_of("sign", sign, SIGNS),
            percentile=percentile_of(percentile),
            opacity=1.0 if opacity is None else within("opacity", opacity, 0, 1),
            uniform=opacity is not None,
            cmap=one_of("cmap", cmap, COLOUR_MAPS),
            block=block_of(block),
        )
        self._set(rows, image)

    def update(
        self, panels: Rows, *, columns: Sequence[str] | None = None, image: Any = None
    ) -> None:
        """Show other panels; what the user has set stays, and so does the choice where it fits."""
        self._set(_rows_of(panels, columns), image)

    def agreement(
        self,
        first: tuple[int, int] | None = None,
        second: tuple[int, int] | None = None,
        *,
        share: float = SHARE,
    ) -> Agreement:
        """Compare two panels, by default those chosen, over squares of ``block`` pixels.

        Parameters
        ----------
        first, second : (row, place in it), optional
        share : float
            Which share of the features counts as the largest.

        Returns
        -------
        Agreement
        """
        places = list(self.chosen) if first is None or second is None else [first, second]
        if len(places) != 2:
            raise InputError("agreement: choose two panels, or name two by (row, place in it)")
        maps = []
        for row, place in places:
            if not (0 <= row < len(self._maps) and 0 <= place < len(self._maps[row])):
                raise InputError(f"agreement: there is no panel ({row}, {place})")
            maps.append(squares(self._maps[row][place], self.block))
        return agreement(maps[0], maps[1], share)

    def png(self) -> bytes:
        """Draw the grid as it is set, as the bytes of a PNG file. Needs matplotlib."""
        drawn = [[squares(in_squares(a, SIDE)[0], self.block) for a in row] for row in self._maps]
        limits = self._limits([[signed(a, self.sign) for a in row] for row in drawn])
        photos = [
            np.frombuffer(data, np.uint8).reshape(shape)
            for data, shape in zip(self._photos, self._photo_shapes, strict=True)
        ]
        rows = []
        for i, (name, known) in enumerate(zip(self._names, self._rows, strict=True)):
            stills = [
                Still(
                    panel["title"],
                    drawn[i][k],
                    limits[i][k],
                    photos[panel["photo"]] if panel["photo"] >= 0 else None,
                    [f"{label} {text}" for label, text in panel["facts"]],
                )
                for k, panel in enumerate(known)
            ]
            rows.append((name, stills))
        over = {"row": "in its row", "grid": "in the grid", "panel": "in each panel by itself"}
        ends = f"the {self.percentile:g}th percentile of |attribution| {over[self.scale]}"
        captions = [caption(self.sign, self.cmap, ends)]
        if self.scale == "panel":
            captions.append("Panels have scales of their own: their colours cannot be compared.")
        if self.block > 1:
            captions.append(f"Each cell sums {self.block} x {self.block} pixels.")
        return png(
            rows,
            title=self.title,
            captions=captions,
            sign=self.sign,
            cmap=self.cmap,
            opacity=self.opacity if self.uniform else None,
            side=2.1,
            shared=self.scale != "panel",
        )

    def _limits(self, maps: list[list[np.ndarray]]) -> list[list[float]]:
        """Where the colours of each panel end."""
        if self.scale == "panel":
            return [[limit_of([a], self.percentile) for a in row] for row in maps]
        if self.scale == "row":
            return [[limit_of(row, self.percentile)] * len(row) for row in maps]
        limit = limit_of([a for row in maps for a in row], self.percentile)
        return [[limit] * len(row) for row in maps]

    def _set(self, rows: list[tuple[str, list[Panel]]], image: Any) -> None:
        photos = _Photos()
        shared = photos.add(image)
        known: list[list[dict[str, Any]]] = []
        maps: list[list[np.ndarray]] = []
        parts, start = [], 0
        for i, (_, panels) in enumerate(rows):
            known.append([])
            maps.append([])
            for k, panel in enumerate(panels):
                array = over_channels(attribution_map(panel.values, f"panels[{i}][{k}].values"))
                sent, block = in_squares(array.astype(np.float32), SIDE)
                maps[-1].append(array)
                parts.append(sent.tobytes())
                known[-1].append(
                    {
                        "title": str(panel.title),
                        "facts": facts_of(panel.facts, f"panels[{i}][{k}].facts"),
                        "start": start,
                        "shape": list(sent.shape),
                        "block": block,
                        "photo": shared if panel.image is None else photos.add(panel.image),
                    }
                )
                start += sent.size
        with self.hold_sync():
            self._maps = maps
            self._photos, self._photo_shapes = photos.data, photos.shapes
            self._names = [name for name, _ in rows]
            self._rows, self._values = known, b"".join(parts)
            if any(r >= len(maps) or k >= len(maps[r]) for r, k in self.chosen):
                self.chosen = []


class _Photos:
    """Pictures as grey bytes, each sent once however many panels lie over it."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.shapes: list[list[int]] = []
        self._places: dict[int, int] = {}

    def add(self, image: Any) -> int:
        """Return the picture's place, -1 for none."""
        if image is None:
            return -1
        if id(image) not in self._places:
            photo = grey_photo(image, SIDE)
            self._places[id(image)] = len(self.data)
            self.data.append(photo.tobytes())
            self.shapes.append(list(photo.shape))
        return self._places[id(image)]


def _rows_of(panels: Any, columns: Sequence[str] | None) -> list[tuple[str, list[Panel]]]:
    """Rows with a title for every panel."""
    if isinstance(columns, str | int):
        raise InputError(f"columns is {columns!r}; pass one title a column, or None")
    try:
        rows = [(str(name), list(row)) for name, row in panels]
    except (TypeError, ValueError) as error:
        raise InputError(
            'panels are rows of panels with a name: [("tiger cat", [Panel("deepshap", map)]), ...]'
        ) from error
    if not rows or not all(row for _, row in rows):
        raise InputError("panels: every row needs at least one panel")
    titled = []
    for name, row in rows:
        for panel in row:
            if not isinstance(panel, Panel):
                raise InputError(
                    f"panels: row {name!r} holds a {type(panel).__name__}; give Panel objects"
                )
        heads = list(columns) if columns is not None else [""] * len(row)
        if len(heads) < len(row):
            raise InputError(f"columns has {len(heads)} titles, row {name!r} has {len(row)} panels")
        titled.append(
            (
                name,
                [
                    Panel(p.title or str(head), p.values, p.facts, p.image)
                    for p, head in zip(row, heads, strict=False)
                ],
            )
        )
    return titled
