"""Reference sets: immutable, told apart by a hash, and what the ready-made ones hold."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxshap import InputError, OnnxShapWarning
from onnxshap_widgets import references as makers
from onnxshap_widgets.references import ReferenceSet, named_sets
from onnxshap_widgets.samples import Samples
from tests.helpers import models


@pytest.fixture(scope="module")
def images() -> Samples:
    return Samples.of(models.cnn(), models.samples(models.cnn(), 25))


@pytest.fixture(scope="module")
def rows() -> Samples:
    return Samples.of(models.mlp(), models.samples(models.mlp(), 25))


def of(*shape: int, name: str = "a set") -> ReferenceSet:
    return ReferenceSet(name, {"x": np.arange(np.prod(shape), dtype=np.float32).reshape(shape)})


# The set itself -----------------------------------------------------------------------------------


def test_nobody_can_change_a_set() -> None:
    given = np.ones((2, 3), np.float32)
    made = ReferenceSet("ones", {"x": given})
    before = made.hash
    given[:] = 7
    assert made.arrays["x"].max() == 1
    with pytest.raises(ValueError, match="read-only"):
        made.arrays["x"][0, 0] = 7
    with pytest.raises(AttributeError):
        made.name = "other"  # type: ignore[misc]
    assert ReferenceSet("ones", made.arrays).hash == before


def test_a_view_that_cannot_be_written_may_still_change_and_is_copied() -> None:
    base = np.ones((2, 3), np.float32)
    view = base.view()
    view.flags.writeable = False
    made = ReferenceSet("ones", {"x": view})
    base[:] = 7
    assert made.arrays["x"].max() == 1


def test_the_hash_is_of_inputs_types_shapes_and_values() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    sets = [
        ReferenceSet("a", {"x": x}),
        ReferenceSet("a", {"y": x}),
        ReferenceSet("a", {"x": x.astype(np.float64)}),
        ReferenceSet("a", {"x": x.reshape(3, 2)}),
        ReferenceSet("a", {"x": x + 1}),
        ReferenceSet("a", {"x": x, "y": x}),
    ]
    assert len({s.hash for s in sets}) == len(sets)
    same = ReferenceSet("b", {"x": np.asfortranarray(x)})
    assert same.hash == sets[0].hash
    assert len(same.hash) == 64
    assert same.short_hash == same.hash[:12]
    assert same != sets[0]
    assert ReferenceSet("a", {"x": x}) == sets[0]
    assert hash(same) == hash(sets[0])
    assert sets[0] != "a"
    assert str(sets[0]) == f"ReferenceSet('a', 2 references, {sets[0].short_hash})"


def test_the_order_of_inputs_does_not_matter() -> None:
    a, b = np.ones((1, 2)), np.zeros((1, 3))
    assert ReferenceSet("s", {"a": a, "b": b}).hash == ReferenceSet("s", {"b": b, "a": a}).hash


def test_a_memory_map_is_hashed_in_pieces_and_stays_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = ReferenceSet("m", {"x": np.load(tmp_path / "x.npy", mmap_mode="r")})
    assert isinstance(mapped.arrays["x"], np.memmap)
    whole = ReferenceSet("m", {"x": x}).hash
    monkeypatch.setattr(makers, "_BYTES", 100)  # three rows
    assert mapped.hash == whole
    assert mapped.taking([3, 1]).arrays["x"].tolist() == x[[3, 1]].tolist()


def test_taking_some_makes_another_set() -> None:
    whole = of(9, 2, name="blurred")
    some = whole.taking([8, 0, 4])
    assert (some.name, some.size) == ("blurred (3 of 9)", 3)
    np.testing.assert_array_equal(some.arrays["x"], whole.arrays["x"][[8, 0, 4]])
    assert some.hash != whole.hash
    assert whole.taking(range(9)) is whole
    with pytest.raises(InputError, match="'blurred': take at least one"):
        whole.taking([])
    with pytest.raises(InputError, match="no reference 9 of 9"):
        whole.taking([0, 9])
    with pytest.raises(InputError, match="no reference -1"):
        whole.taking([-1])


@pytest.mark.parametrize(
    "arrays", [{}, {"x": np.zeros((0, 3))}, {"x": np.zeros((2, 3)), "y": np.zeros((3, 3))}]
)
def test_a_set_holds_at_least_one_reference_for_each_input(arrays: Any) -> None:
    with pytest.raises(InputError, match="'bad': give at least one, and as many for each input"):
        ReferenceSet("bad", arrays)


# Of the user's own --------------------------------------------------------------------------------


def test_own_sets_are_taken_as_they_come(rows: Samples) -> None:
    x = np.ones((2, 30), np.float32)
    ready = ReferenceSet("ready", {"x": x})
    assert named_sets(None, rows) == []
    assert named_sets(ready, rows) == [ready]
    another = ReferenceSet("another", {"x": x})
    assert named_sets([ready, another], rows) == [ready, another]
    named = named_sets({"one": x, "two": {"x": x}, "three": ready}, rows)
    assert [s.name for s in named] == ["one", "two", "ready"]
    assert named_sets(x, rows)[0].name == named_sets({"x": x}, rows)[0].name == "own references"


def test_own_sets_must_fit(rows: Samples) -> None:
    with pytest.raises(InputError, match=r"references 'bad': input \"x\" expects shape \[N, 30\]"):
        named_sets({"bad": np.zeros((2, 3), np.float32)}, rows)
    with pytest.raises(InputError, match=r"references 'bad': input \"x\" has NaN .* row\(s\) 1;"):
        named_sets({"bad": np.array([[0] * 30, [np.nan] * 30], np.float32)}, rows)
    with pytest.raises(InputError, match='no input "z"'):
        named_sets({"bad": {"z": np.zeros((2, 30), np.float32)}}, rows)
    ready = ReferenceSet("ready", {"x": np.zeros((2, 3), np.float32)})
    for given in (ready, [ready], {"bad": ready}):
        with pytest.raises(InputError, match=r"references 'ready': input \"x\" expects shape"):
            named_sets(given, rows)
    fits = ReferenceSet("same", {"x": np.zeros((2, 30), np.float32)})
    with pytest.raises(InputError, match="two sets are called 'same'"):
        named_sets([fits, fits], rows)
    with pytest.raises(InputError, match="or ReferenceSets"):
        named_sets([np.zeros((2, 30), np.float32)], rows)
    with pytest.warns(OnnxShapWarning, match="float64 is cast"):
        assert named_sets(np.zeros((2, 30)), rows)[0].arrays["x"].dtype == np.float32


def test_own_sets_of_several_inputs_may_leave_some_held() -> None:
    model = models.two_inputs()
    both = Samples.of(model, models.samples(model, 2))
    (one,) = named_sets({"held b": {"a": np.zeros((3, 4), np.float32)}}, both)
    assert set(one.arrays) == {"a"}


# Ready-made ---------------------------------------------------------------------------------------


def test_zeros_and_mean(images: Samples) -> None:
    zeros, mean = makers.zeros(images), makers.mean(images)
    assert zeros.arrays["image"].shape == mean.arrays["image"].shape == (1, 3, 12, 12)
    assert not zeros.arrays["image"].any()
    np.testing.assert_allclose(
        mean.arrays["image"][0], images.arrays["image"].mean(0, dtype=np.float64), atol=1e-6
    )
    assert mean.arrays["image"].dtype == np.float32
    assert zeros.sample is mean.sample is None


def test_every_explained_input_has_references_and_no_held_one() -> None:
    for model, names in ((models.two_inputs(), {"a", "b"}), (models.side_input(), {"x"})):
        samples = Samples.of(model, models.samples(model, 5))
        for made in (
            makers.zeros(samples),
            makers.mean(samples),
            makers.noise(samples),
            makers.others(samples, 0),
        ):
            assert set(made.arrays) == names
            assert made.size >= 1


def test_blurs_keep_the_mean_and_lose_the_detail(images: Samples) -> None:
    made = makers.blurred(images, 3)
    assert (made.size, made.sample) == (9, 3)
    own, stack = images.arrays["image"][3].astype(float), made.arrays["image"].astype(float)
    spread = stack.std(axis=(2, 3))
    assert (np.diff(spread, axis=0) < 0).all()
    assert (spread[-1] < 0.2 * own.std(axis=(1, 2))).all()
    inner = np.linalg.norm(stack[0] - own)
    assert inner < np.linalg.norm(stack[-1] - own)


def test_a_blur_is_the_convolution_with_a_mirrored_edge() -> None:
    sigma, row = 1.7, np.random.default_rng(0).normal(size=11)
    padded = np.pad(row, 40, mode="symmetric")
    places = np.arange(-40, 41)
    weights = np.exp(-(places**2) / (2 * sigma**2))
    expected = np.convolve(padded, weights / weights.sum(), "valid")[: len(row)]
    found = makers._blur_matrix(11, sigma) @ row
    np.testing.assert_allclose(found, expected, atol=1e-4)  # ours ends at four sigmas
    assert makers._blur_matrix(5, 100.0).sum(1) == pytest.approx(1)


def test_blurs_are_the_same_with_channels_last() -> None:
    image = np.random.default_rng(0).normal(size=(2, 3, 16, 20)).astype(np.float32)
    node = models.node("Relu", ["x"], ["y"])

    def samples(x: np.ndarray) -> Samples:
        ends = {"x": (np.float32, ["N", *x.shape[1:]])}, {"y": (np.float32, ["N", *x.shape[1:]])}
        return Samples.of(models.graph([node], *ends, {}), x)

    first = makers.blurred(samples(image), 1).arrays["x"]
    last = makers.blurred(samples(image.transpose(0, 2, 3, 1)), 1).arrays["x"]
    np.testing.assert_allclose(first, last.transpose(0, 3, 1, 2), atol=1e-6)


def test_noise_has_the_samples_mean_and_spread(images: Samples, rows: Samples) -> None:
    for samples, axes in ((images, (0, 2, 3)), (rows, (0,))):
        made = makers.noise(samples, count=4000)
        (array,) = made.arrays.values()
        own = next(iter(samples.arrays.values()))
        np.testing.assert_allclose(array.mean(axes), own.mean(axes), atol=0.08)
        np.testing.assert_allclose(array.std(axes), own.std(axes), atol=0.08)
    assert makers.noise(rows).hash == makers.noise(rows).hash
    assert makers.noise(rows).hash != makers.noise(rows, seed=1).hash


def test_others_leave_the_sample_out(rows: Samples) -> None:
    made = makers.others(rows, 7)
    assert (made.size, made.sample) == (10, 7)
    own = rows.arrays["x"]
    found = [int(np.flatnonzero((own == r).all(1))[0]) for r in made.arrays["x"]]
    assert 7 not in found
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (0, 24)
    assert made.note == "samples " + ", ".join(map(str, found))
    two = Samples.of(models.mlp(), own[:2])
    assert makers.others(two, 0).note == "sample 1"
    with pytest.raises(InputError, match="there are no such samples"):
        makers.others(Samples.of(models.mlp(), own[:1]), 0)


def test_a_class_is_what_the_model_takes_for_it(rows: Samples) -> None:
    classes = [i % 3 for i in range(25)]
    made = makers.per_class(rows, classes, "two", 2, sample=5)
    assert made.name == "predicted two"
    np.testing.assert_array_equal(made.arrays["x"], rows.arrays["x"][[2, 8, 11, 14, 17, 20, 23]])
