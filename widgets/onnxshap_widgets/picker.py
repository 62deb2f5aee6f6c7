"""`ReferencePicker`: a reference set, chosen by name, its references ticked in and out."""

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import numpy as np
import traitlets as t

from onnxshap.errors import InputError
from onnxshap.explanation import counted
from onnxshap.plot.panels import number
from onnxshap_widgets.gallery import Gallery
from onnxshap_widgets.references import ReferenceSet
from onnxshap_widgets.samples import Tile

Pictures = Callable[[ReferenceSet], Sequence[Tile]]


class ReferencePicker(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Chooses what a sample is compared with.

    Parameters
    ----------
    sets : sequence of ReferenceSet
        What there is to choose from; at least one.
    pictures : callable, optional
        Given a set, the items of its gallery, ``(png or None, caption, detail)`` each; by default
        numbers.

    Attributes
    ----------
    value : ReferenceSet
        The chosen set with the ticked references; observe it. With every tick gone it stays what it
        was, and the line below says so.
    """

    value = t.Instance(ReferenceSet)

    def __init__(self, sets: Sequence[ReferenceSet], *, pictures: Pictures | None = None) -> None:
        self._pictures = pictures or numbered
        self._sets: list[ReferenceSet] = []
        self._outputs: dict[str, np.ndarray] = {}
        self._ticks: dict[str, list[int]] = {}
        self._busy = False
        self.menu = ipywidgets.Dropdown(description="references", layout={"width": "auto"})
        self.gallery = Gallery(multiple=True, label="references of the set", height=180)
        self.facts = ipywidgets.HTML()
        self.facts.add_class("onnxshap")  # the gallery brings the style
        every, none = (
            ipywidgets.Button(description=text, tooltip=tip, layout={"width": "64px"})
            for text, tip in (("all", "tick every reference"), ("none", "untick every reference"))
        )
        every.on_click(lambda _: self._tick(range(self.whole.size)))
        none.on_click(lambda _: self._tick(()))
        head = ipywidgets.HBox([self.menu, every, none], layout={"flex_flow": "row wrap"})
        super().__init__([head, self.gallery, self.facts])
        self.menu.observe(self._on_menu, "value")
        self.gallery.observe(self._on_ticks, "chosen")
        self.show(sets)

    # --- what there is ---------------------------------------------------------------------------

    @property
    def sets(self) -> list[ReferenceSet]:
        """What there is to choose from."""
        return list(self._sets)

    def show(self, sets: Sequence[ReferenceSet]) -> None:
        """Replace the sets, e.g. for another sample; the one chosen by name stays chosen."""
        if not sets:
            raise InputError("ReferencePicker: give at least one ReferenceSet")
        before = self._sets[self.menu.value].name if self._sets else None
        self._sets = list(sets)
        names = [s.name for s in sets]
        place = names.index(before) if before in names else 0
        self._busy = True
        try:
            self.menu.options = [(_titled(s, names), i) for i, s in enumerate(sets)]
            self.menu.value = place
        finally:
            self._busy = False
        self._open()

    def show_outputs(self, references: ReferenceSet, outputs: np.ndarray | None) -> None:
        """Tell f(reference) [M] of a set among `sets`; its mean and spread then stand below.

        None, or another target, makes earlier ones out of date: `forget_outputs`.
        """
        if outputs is None:
            self._outputs.pop(references.hash, None)
        else:
            if len(outputs) != references.size:
                raise InputError(
                    f"outputs: {len(outputs)} for {counted(references.size)} of {references.name!r}"
                )
            self._outputs[references.hash] = np.asarray(outputs, np.float64)
        self._tell()

    def forget_outputs(self) -> None:
        """Forget f(reference) of all sets, e.g. since the target is another."""
        self._outputs.clear()
        self._tell()

    # --- what is chosen --------------------------------------------------------------------------

    @property
    def whole(self) -> ReferenceSet:
        """The chosen set with all its references."""
        place: int = self.menu.value
        return self._sets[place]

    def choose(self, name: str) -> None:
        """Choose a set by its name."""
        names = [s.name for s in self._sets]
        if name not in names:
            raise InputError(f"references: no set {name!r}; there are {', '.join(names)}")
        self.menu.value = names.index(name)

    def _on_menu(self, change: Any) -> None:
        if not self._busy and change["new"] is not None:
            self._open()

    def _open(self) -> None:
        whole = self.whole
        ticked = self._ticks.get(whole.hash, list(range(whole.size)))
        self._busy = True
        try:
            self.gallery.show(self._pictures(whole), ticked)
        finally:
            self._busy = False
        self._take()

    def _tick(self, places: Sequence[int]) -> None:
        self.gallery.chosen = list(places)

    def _on_ticks(self, change: Any) -> None:
        if not self._busy:
            self._take()

    def _take(self) -> None:
        chosen = self.gallery.chosen
        if chosen:
            self._ticks[self.whole.hash] = list(chosen)
            self.value = self.whole.taking(chosen)
        self._tell()

    # --- facts -----------------------------------------------------------------------------------

    def _tell(self) -> None:
        whole, chosen = self.whole, self.gallery.chosen
        if not chosen:
            self._say(f"None is ticked: still compared with {self.value.name}.")
            return
        parts = [counted(self.value.size), self.value.short_hash]
        outputs = self._outputs.get(whole.hash)
        if outputs is not None:
            own = outputs[chosen]
            parts.append(f"f(reference) {number(own.mean())} on average")
            if len(own) > 1:
                parts.append(f"standard deviation {own.std(ddof=1):.3g}")
        self._say(" · ".join([*parts, whole.note] if whole.note else parts))

    def _say(self, text: str) -> None:
        self.facts.value = f'<span class="ox-muted ox-numbers">{html.escape(text)}</span>'


def _titled(references: ReferenceSet, names: Sequence[str]) -> str:
    """Name and size; where two share a name, the hash tells them apart."""
    same = names.count(references.name) > 1
    return f"{references.name} ({references.size})" + (f", {references.short_hash}" if same else "")


def numbered(references: ReferenceSet) -> list[Tile]:
    """References by their number alone."""
    return [(None, f"reference {i}", "") for i in range(references.size)]
