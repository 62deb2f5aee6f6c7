"""The gallery: what it takes, and that what is chosen always fits."""

from typing import Any

import pytest

from onnxshap import InputError
from onnxshap_widgets.gallery import Gallery
from onnxshap_widgets.samples import Tile

PNG = b"\x89PNG"


def tiles(count: int) -> list[Tile]:
    return [(PNG, f"item {i}", "") for i in range(count)]


def test_one_is_chosen_from_the_beginning_and_none_of_several() -> None:
    assert Gallery(tiles(3)).chosen == [0]
    assert Gallery(tiles(3), chosen=[2]).chosen == [2]
    assert Gallery(tiles(3), multiple=True).chosen == []
    assert Gallery(tiles(3), multiple=True, chosen=[2, 0, 2]).chosen == [0, 2]
    assert Gallery().chosen == []


def test_what_is_chosen_must_be_there() -> None:
    one, several = Gallery(tiles(3)), Gallery(tiles(3), multiple=True)
    with pytest.raises(InputError, match=r"chosen \[3\]: there are 3 items, counted from 0"):
        one.chosen = [3]
    with pytest.raises(InputError, match=r"chosen \[-1\]"):
        several.chosen = [-1]
    with pytest.raises(InputError, match="one can be chosen here; pass multiple=True"):
        one.chosen = [0, 1]
    several.chosen = [2, 1]
    assert (one.chosen, several.chosen) == ([0], [1, 2])


def test_showing_others_replaces_items_and_choice_in_one_go() -> None:
    gallery = Gallery(tiles(5), chosen=[4])
    seen: list[tuple[int, list[int]]] = []
    gallery.observe(lambda _: seen.append((gallery.count, list(gallery.chosen))), "chosen")
    gallery.show(tiles(2))
    assert gallery.count == 2
    gallery.show(tiles(7), [6])
    assert seen == [(2, [0]), (7, [6])]


def test_a_choice_that_does_not_fit_the_new_items_is_refused() -> None:
    with pytest.raises(InputError, match=r"chosen \[5\]: there are 2 items"):
        Gallery(tiles(2), chosen=[5])


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ((PNG, "caption"), r"item 1: give \(png or None, caption, detail\)"),
        (7, r"item 1: give \(png or None, caption, detail\)"),
        (("cat.png", "caption", ""), "item 1: a picture is the bytes of a PNG file, or None"),
    ],
)
def test_items_that_do_not_fit_are_named(item: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Gallery([*tiles(1), item])


def test_pictures_travel_as_bytes_beside_their_text() -> None:
    state = Gallery([(PNG, "cat", "first"), (None, "dog", "second")]).get_state()
    assert state["_items"] == [
        {"picture": PNG, "caption": "cat", "detail": "first"},
        {"picture": None, "caption": "dog", "detail": "second"},
    ]
