"""`Gallery`: thumbnails, or lines of text, of which one or several are chosen."""

from collections.abc import Iterable, Sequence
from typing import Any

import anywidget
import traitlets as t

from onnxshap.errors import InputError
from onnxshap_widgets.samples import Tile
from onnxshap_widgets.static_files import module, style


class Gallery(anywidget.AnyWidget):
    """Small pictures to choose from; without a single picture, lines of text.

    Parameters
    ----------
    items : sequence of (png, caption, detail)
        The bytes of a PNG file, or None; a caption of one line; what else there is to say.
    multiple : bool
        Choose several, by ticking them, instead of one.
    label : str
        What is chosen here, for those who hear it.
    chosen : sequence of int, optional
        What is chosen at first: by default the first item, or none of several.
    height : int
        Pixels beyond which the gallery scrolls.

    Examples
    --------
    >>> Gallery([(png, "cat", "3 x 224 x 224")], label="samples")  # doctest: +SKIP
    """

    _esm = module("gallery")
    _css = style("gallery")

    chosen = t.List(t.Int()).tag(sync=True)
    """Places of the chosen items, in rising order."""
    multiple = t.Bool(False).tag(sync=True)
    label = t.Unicode("").tag(sync=True)
    height = t.Int(264, min=80).tag(sync=True)
    _items = t.List(t.Dict()).tag(sync=True)

    def __init__(
        self,
        items: Iterable[Tile] = (),
        *,
        multiple: bool = False,
        label: str = "items",
        chosen: Sequence[int] | None = None,
        height: int = 264,
    ) -> None:
        super().__init__(multiple=multiple, label=label, height=height)
        self.show(items, chosen)

    def show(self, items: Iterable[Tile], chosen: Sequence[int] | None = None) -> None:
        """Replace the items, and what is chosen of them."""
        made = [_item(i, item) for i, item in enumerate(items)]
        if chosen is None:
            chosen = [] if self.multiple or not made else [0]
        with self.hold_sync(), self.hold_trait_notifications():
            self._items = made
            self.chosen = list(chosen)

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self._items)

    @t.validate("chosen")
    def _check_chosen(self, proposal: Any) -> list[int]:
        places = sorted(set(proposal["value"]))
        if places and not 0 <= places[0] <= places[-1] < self.count:
            raise InputError(f"chosen {places}: there are {self.count} items, counted from 0")
        if len(places) > 1 and not self.multiple:
            raise InputError(f"chosen {places}: one can be chosen here; pass multiple=True")
        return places


def _item(index: int, item: Tile) -> dict[str, Any]:
    try:
        picture, caption, detail = item
    except (TypeError, ValueError) as error:
        raise InputError(f"item {index}: give (png or None, caption, detail)") from error
    if picture is not None and not isinstance(picture, bytes):
        raise InputError(f"item {index}: a picture is the bytes of a PNG file, or None")
    return {"picture": picture, "caption": str(caption), "detail": str(detail)}
