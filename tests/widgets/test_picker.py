"""The reference picker: a set by name, its references ticked in and out, and what it tells."""

from typing import Any

import numpy as np
import pytest

from onnxshap import InputError
from onnxshap_widgets.picker import ReferencePicker
from onnxshap_widgets.references import ReferenceSet
from onnxshap_widgets.samples import Tile


def of(name: str, size: int, note: str = "", shift: float = 0) -> ReferenceSet:
    return ReferenceSet(name, {"x": np.arange(size * 2.0).reshape(size, 2) + shift}, note)


@pytest.fixture
def picker() -> ReferencePicker:
    return ReferencePicker([of("blurred", 4, "made blurry"), of("zeros", 1, shift=7)])


def seen(picker: ReferencePicker) -> list[str]:
    """Names of the values from now on."""
    names: list[str] = []
    picker.observe(lambda change: names.append(change["new"].name), "value")
    return names


def test_the_first_set_is_chosen_whole(picker: ReferencePicker) -> None:
    assert picker.value is picker.sets[0]
    assert picker.gallery.chosen == [0, 1, 2, 3]
    assert [label for label, _ in picker.menu.options] == ["blurred (4)", "zeros (1)"]


def test_ticks_make_another_set(picker: ReferencePicker) -> None:
    names = seen(picker)
    picker.gallery.chosen = [0, 3]
    assert picker.value.name == "blurred (2 of 4)"
    np.testing.assert_array_equal(picker.value.arrays["x"], [[0, 1], [6, 7]])
    picker.gallery.chosen = [0, 1, 2, 3]
    assert picker.value is picker.sets[0]
    assert names == ["blurred (2 of 4)", "blurred"]


def test_all_and_none_are_a_click(picker: ReferencePicker) -> None:
    every, none = picker.children[0].children[1:]
    names = seen(picker)
    none.click()
    assert picker.gallery.chosen == []
    assert picker.value.name == "blurred"
    assert "None is ticked: still compared with blurred." in picker.facts.value
    assert names == []
    every.click()
    assert picker.gallery.chosen == [0, 1, 2, 3]
    assert "None is ticked" not in picker.facts.value


def test_another_set_is_chosen_by_name_and_ticks_are_kept(picker: ReferencePicker) -> None:
    names = seen(picker)
    picker.gallery.chosen = [1]
    picker.choose("zeros")
    assert picker.gallery.chosen == [0]
    picker.choose("blurred")
    assert picker.gallery.chosen == [1]
    assert names == ["blurred (1 of 4)", "zeros", "blurred (1 of 4)"]
    with pytest.raises(InputError, match="no set 'noise'; there are blurred, zeros"):
        picker.choose("noise")


def test_other_sets_keep_the_choice_by_name_and_tell_once(picker: ReferencePicker) -> None:
    picker.choose("zeros")
    names = seen(picker)
    picker.show([of("blurred", 4, shift=1), of("mean", 1, shift=2), of("zeros", 1, shift=3)])
    assert names == ["zeros"]
    assert picker.value is picker.sets[2]
    picker.show([of("mean", 1, shift=2)])
    assert picker.value is picker.sets[0]
    assert names == ["zeros", "mean"]
    with pytest.raises(InputError, match="at least one ReferenceSet"):
        picker.show([])


def test_sets_that_are_the_same_still_tell_of_nothing(picker: ReferencePicker) -> None:
    names = seen(picker)
    picker.show(picker.sets)
    assert names == []


def test_facts_are_size_hash_and_note(picker: ReferencePicker) -> None:
    told = picker.facts.value
    for part in ("4 references", picker.value.short_hash, "made blurry"):
        assert part in told
    picker.gallery.chosen = [2]
    assert "1 reference ·" in picker.facts.value
    assert picker.value.short_hash in picker.facts.value


def test_outputs_of_the_ticked_references_are_told(picker: ReferencePicker) -> None:
    picker.show_outputs(picker.sets[0], np.array([1.0, 2, 3, 10]))
    assert "f(reference) +4 on average" in picker.facts.value
    assert "standard deviation 4.08" in picker.facts.value
    picker.gallery.chosen = [0, 1]
    assert "f(reference) +1.5 on average" in picker.facts.value
    picker.gallery.chosen = [3]
    assert "f(reference) +10 on average" in picker.facts.value
    assert "deviation" not in picker.facts.value
    picker.choose("zeros")
    assert "f(reference)" not in picker.facts.value
    picker.choose("blurred")
    assert "f(reference)" in picker.facts.value
    picker.forget_outputs()
    assert "f(reference)" not in picker.facts.value
    with pytest.raises(InputError, match="outputs: 3 for 4 references of 'blurred'"):
        picker.show_outputs(picker.sets[0], np.zeros(3))


def test_pictures_are_asked_for_the_set_on_view() -> None:
    asked: list[str] = []

    def pictures(references: ReferenceSet) -> list[Tile]:
        asked.append(references.name)
        return [(b"\x89PNG", f"{references.name} {i}", "") for i in range(references.size)]

    picker = ReferencePicker([of("a", 2), of("b", 3)], pictures=pictures)
    picker.gallery.chosen = [0]
    picker.choose("b")
    assert asked == ["a", "b"]
    assert picker.gallery.count == 3


def test_text_is_text() -> None:
    evil = "<img src=x onerror=alert(1)>"
    picker = ReferencePicker([of(evil, 2, note=evil)])
    assert "<img" not in picker.facts.value
    picker.gallery.chosen = []
    assert "<img" not in picker.facts.value


def test_sets_of_one_name_are_told_apart_by_their_hash() -> None:
    sets = [of("mine", 2), of("mine", 2, shift=1), of("other", 2)]
    labels: list[Any] = [label for label, _ in ReferencePicker(sets).menu.options]
    assert labels == [*(f"mine (2), {s.short_hash}" for s in sets[:2]), "other (2)"]
