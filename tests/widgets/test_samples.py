"""Samples: their form, what the model is fed, and what people see of them."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxshap import InputError, OnnxShapWarning
from onnxshap_widgets.samples import SIDE, Samples
from tests.helpers import models


def one_input(*shape: int | str, dtype: Any = np.float32) -> onnx.ModelProto:
    """Relu of an input of this shape."""
    ends = {"x": (dtype, shape)}, {"y": (dtype, shape)}
    return models.graph([models.node("Relu", ["x"], ["y"], "relu")], *ends, {})


def opened(png: bytes | None) -> Image.Image:
    assert png is not None
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A photo, left half red, right half blue, with some noise."""
    pixels = np.random.default_rng(seed).integers(0, 30, (height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] += 200
    pixels[:, width // 2 :, 2] += 200
    return Image.fromarray(pixels)


def as_chw(image: Image.Image) -> np.ndarray:
    """What a preprocess of a small model does."""
    pixels = np.asarray(image.resize((8, 8)), np.float32) / 128 - 1
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


# Forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((3, 8, 9), "image"),
        ((1, 8, 9), "image"),
        ((4, 8, 9), "image"),
        ((8, 9, 3), "image"),
        ((8, 9, 1), "image"),
        ((28, 28), "image"),
        ((12, 384), "tokens"),
        ((30,), "row"),
        ((1, 30), "row"),
        ((1000,), "row"),
        ((1001,), "other"),
        ((16, 8, 9), "other"),
        ((3, 4, 8, 9), "other"),
        ((), "row"),
    ],
)
def test_form_goes_by_the_shape_of_one_sample(shape: tuple[int, ...], form: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    samples = Samples.of(one_input("N", *shape), x)
    assert samples.form == form
    assert samples.count == 2
    assert samples.sources == ["x"]
    for png, caption, detail in samples.tiles():
        assert (png is not None) == (form == "image")
        assert caption.startswith("sample ")
        assert detail


def test_sizes_the_model_leaves_free_are_the_samples_own() -> None:
    x = np.zeros((2, 3, 10, 14), np.float32)
    samples = Samples.of(one_input("N", 3, "h", "w"), x)
    assert samples.form == "image"
    assert samples.picture(1).shape == (10, 14, 3)


def test_tokens_are_named_by_the_ids_beside_them() -> None:
    model = models.side_input()
    arrays = models.samples(model, 3)
    samples = Samples.of(model, arrays)
    assert samples.form == "tokens"
    assert samples.sources == ["x"]
    assert samples.tokens(1) == [str(v) for v in arrays["ids"][1]]
    assert samples.detail(1) == " ".join(samples.tokens(1))
    assert set(samples.feeds(2)) == {"x", "ids"}
    np.testing.assert_array_equal(samples.feeds(2)["ids"], arrays["ids"][2:])


def test_tokens_without_ids_are_numbered() -> None:
    model = models.attention()
    samples = Samples.of(model, models.samples(model, 2))
    assert samples.form == "tokens"
    assert samples.tokens(0) == ["0", "1", "2", "3", "4"]


def test_the_first_image_is_the_input_that_is_shown() -> None:
    nodes = [
        models.node("ReduceMean", ["image", "axes"], ["mean"], "mean", keepdims=0),
        models.node("Add", ["row", "mean"], ["y"], "add"),
    ]
    ends = {"row": (np.float32, ["N", 3]), "image": (np.float32, ["N", 3, 8, 8])}
    axes = {"axes": np.array([2, 3])}
    model = models.graph(nodes, ends, {"y": (np.float32, ["N", 3])}, axes)
    samples = Samples.of(model, models.samples(model, 2))
    assert (samples.source, samples.form) == ("image", "image")
    assert samples.sources == ["row", "image"]


def test_a_row_tells_its_first_values() -> None:
    x = np.arange(30, dtype=np.float32)[None] / 3
    assert Samples.of(models.mlp(), x).detail(0) == "0, 0.333, 0.667, 1, 1.33, 1.67, …"
    assert Samples.of(one_input("N", 2), x[:, :2]).detail(0) == "0, 0.333"


# What the model is fed ----------------------------------------------------------------------------


def test_feeds_are_one_sample_of_every_input() -> None:
    model = models.two_inputs()
    arrays = models.samples(model, 3)
    samples = Samples.of(model, arrays)
    for name, array in samples.feeds(1).items():
        np.testing.assert_array_equal(array, arrays[name][1:2])
    with pytest.raises(InputError, match="sample 3: there are 3, counted from 0"):
        samples.feeds(3)
    with pytest.raises(InputError, match="sample -1"):
        samples.picture(-1) if samples.form == "image" else samples.detail(-1)


def test_a_memory_map_stays_one(tmp_path: Path, cnn: onnx.ModelProto) -> None:
    x = models.samples(cnn, 100)["image"]
    np.save(tmp_path / "x.npy", x)
    samples = Samples.of(cnn, np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert isinstance(samples.arrays["image"], np.memmap)
    np.testing.assert_array_equal(samples.feeds(99)["image"], x[99:])


def test_float64_is_cast_once_and_said(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    with pytest.warns(OnnxShapWarning, match="float64 is cast to the model's float32"):
        samples = Samples.of(cnn, x.astype(np.float64))
    assert samples.feeds(0)["image"].dtype == np.float32  # and warns of nothing


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_named(
    cnn: onnx.ModelProto, x: np.ndarray, value: float
) -> None:
    broken = np.concatenate([x] * 30)
    broken[[5, 70], 0, 0, 0] = value
    with pytest.raises(InputError, match=r'input "image" has NaN or infinite .* row\(s\) 5, 70;'):
        Samples.of(cnn, broken)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([np.zeros((3, 12, 12))], "give an array .* not list; photos need preprocess="),
        ("cat.png", "not str; photos need preprocess="),
        (np.zeros((2, 3, 12, 11), np.float32), r"expects shape \[N, 3, 12, 12\]"),
        (np.zeros((0, 3, 12, 12), np.float32), "there are none"),
        (np.zeros((2, 3, 12, 12), np.uint8), "expects float32, got uint8"),
        ({"picture": np.zeros((2, 3, 12, 12), np.float32)}, 'no input "picture"'),
    ],
)
def test_samples_that_do_not_fit_say_why(cnn: onnx.ModelProto, samples: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Samples.of(cnn, samples)


def test_a_model_without_a_float_input_has_nothing_to_explain() -> None:
    ends = {"x": (np.int64, ["N", 3])}, {"y": (np.int64, ["N", 3])}
    model = models.graph([models.node("Identity", ["x"], ["y"])], *ends, {})
    with pytest.raises(InputError, match="no float input"):
        Samples.of(model, np.zeros((1, 3), np.int64))


# Pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [False, True])
def test_a_picture_is_the_models_own_input_stretched(last: bool) -> None:
    image = np.random.default_rng(0).uniform(-2, 3, (3, 8, 10)).astype(np.float32)
    row = image.transpose(1, 2, 0) if last else image
    samples = Samples.of(one_input("N", *row.shape), row[None])
    picture = samples.picture(0)
    assert picture.shape == (8, 10, 3)
    assert picture.dtype == np.uint8
    assert (picture.min(), picture.max()) == (0, 255)
    stretched = (image - image.min()) / (image.max() - image.min()) * 255
    assert np.abs(picture - stretched.transpose(1, 2, 0)).max() <= 0.51


def test_values_between_0_and_1_are_not_stretched() -> None:
    row = np.full((1, 1, 4, 4), 0.5, np.float32)
    row[0, 0, 0, 0] = 0.25
    picture = Samples.of(one_input("N", 1, 4, 4), row).picture(0)
    assert np.unique(picture).tolist() == [64, 128]


def test_rows_have_no_picture() -> None:
    samples = Samples.of(models.mlp(), np.zeros((1, 30), np.float32))
    assert samples.thumbnail(0) is None
    with pytest.raises(InputError, match="form 'row' have no picture"):
        samples.picture(0)


@pytest.mark.parametrize(
    ("size", "expected"), [((200, 100), (96, 48)), ((100, 200), (48, 96)), ((40, 30), (40, 30))]
)
def test_thumbnails_are_small(size: tuple[int, int], expected: tuple[int, int]) -> None:
    samples = Samples.of(one_input("N", 3, 8, 8), [photo(*size)], preprocess=as_chw)
    assert opened(samples.thumbnail(0)).size == expected
    assert samples.thumbnail(0) is samples.thumbnail(0)


# Photos -------------------------------------------------------------------------------------------


def test_photos_of_every_kind_make_the_same_sample(tmp_path: Path) -> None:
    image = photo(64, 48)
    image.save(tmp_path / "left red.png")
    kinds: list[Any] = [image, np.asarray(image), tmp_path / "left red.png"]
    kinds.append(str(kinds[-1]))

    def preprocess(given: Any) -> np.ndarray:
        return as_chw(given if isinstance(given, Image.Image) else Image.fromarray(given))[None]

    samples = Samples.of(one_input("N", 3, 8, 8), kinds, preprocess=preprocess)
    assert samples.count == 4
    for i in range(4):
        np.testing.assert_array_equal(samples.arrays["x"][i], as_chw(image))
        thumbnail = np.asarray(opened(samples.thumbnail(i)))
        assert thumbnail[:, 0, 0].min() > 150 > 60 > thumbnail[:, 0, 2].max()
    assert [samples.caption(i) for i in range(4)] == ["sample 0", "sample 1", *["left red.png"] * 2]


def test_one_photo_may_stand_alone(tmp_path: Path) -> None:
    image = photo(64, 48)
    image.save(tmp_path / "one.png")
    model = one_input("N", 3, 8, 8)
    for alone in (image, tmp_path / "one.png", str(tmp_path / "one.png")):
        assert Samples.of(model, alone, preprocess=as_chw).count == 1
    pixels = np.asarray(image)
    from_pixels = lambda a: as_chw(Image.fromarray(a))  # noqa: E731  one line
    assert Samples.of(model, pixels, preprocess=from_pixels).count == 1
    assert Samples.of(model, np.stack([pixels] * 3), preprocess=from_pixels).count == 3


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "1", "I;16", "CMYK"])
def test_photos_of_every_mode_have_a_thumbnail(mode: str) -> None:
    image = photo(300, 200).convert("L") if mode == "I;16" else photo(300, 200)
    image = image.convert(mode)
    model = one_input("N", 3, 8, 8)
    samples = Samples.of(model, [image], preprocess=lambda p: as_chw(p.convert("RGB")))
    assert opened(samples.thumbnail(0)).size == (96, 64)


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1), (20, 30, 4), (3, 20, 30)])
def test_arrays_are_photos_too(shape: tuple[int, ...]) -> None:
    pixels = np.zeros(shape, np.uint8 if shape[0] != 3 else np.float32)
    samples = Samples.of(one_input("N", 5), [pixels], preprocess=lambda _: np.zeros(5, "f"))
    assert samples.form == "row"  # what the model takes is no picture, but the photo is
    assert opened(samples.thumbnail(0)).size == (30, 20)


def test_a_photo_of_twelve_megapixels_is_quick(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    photo(4000, 3000).save(path, quality=90)
    samples = Samples.of(one_input("N", 3, 8, 8), [path], preprocess=as_chw)
    began = time.perf_counter()
    assert max(opened(samples.thumbnail(0)).size) == SIDE
    assert time.perf_counter() - began < 0.5  # decoding all of it takes as long
    in_memory = Samples.of(one_input("N", 3, 8, 8), [photo(4000, 3000)], preprocess=as_chw)
    began = time.perf_counter()
    assert max(opened(in_memory.thumbnail(0)).size) == SIDE
    assert time.perf_counter() - began < 0.5


def test_a_photo_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    turned = photo(80, 60)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    turned.save(tmp_path / "sideways.jpg", exif=exif)
    seen = []

    def preprocess(image: Image.Image) -> np.ndarray:
        seen.append(image.size)
        return as_chw(image)

    samples = Samples.of(one_input("N", 3, 8, 8), [tmp_path / "sideways.jpg"], preprocess)
    assert seen == [(60, 80)]
    assert opened(samples.thumbnail(0)).size == (60, 80)


def test_photos_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    model = one_input("N", 3, 8, 8)
    (tmp_path / "text.png").write_text("no picture")
    for path in (tmp_path / "text.png", tmp_path / "none.png"):
        with pytest.raises(InputError, match=f"cannot read photo .*{path.name}"):
            Samples.of(model, [path], preprocess=as_chw)
    with pytest.raises(InputError, match="there are none"):
        Samples.of(model, [], preprocess=as_chw)
    with pytest.raises(InputError, match="photos, one or a list; a dict of arrays goes without"):
        Samples.of(model, {"x": np.zeros((1, 3, 8, 8))}, preprocess=as_chw)
    sizes = iter([8, 9])
    with pytest.raises(InputError, match=r"photo 1 became \[3, 9, 9\], photo 0 \[3, 8, 8\]"):
        Samples.of(model, [1, 2], preprocess=lambda _: np.zeros((3, *[next(sizes)] * 2), "f"))


def test_an_error_of_preprocess_is_the_users_own(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        Samples.of(one_input("N", 3, 8, 8), [photo(9, 9)], preprocess=lambda _: 1 / 0)


# References as pictures ---------------------------------------------------------------------------


def test_arrays_are_shown_on_the_scale_of_a_sample() -> None:
    row = np.linspace(-1, 3, 3 * 16, dtype=np.float32).reshape(1, 3, 4, 4)
    samples = Samples.of(one_input("N", 3, 4, 4), row)
    arrays = {"x": np.concatenate([row, np.zeros_like(row), row + 100])}
    tiles = samples.tiles_of(arrays, 0, "blur {}")
    assert [t[1] for t in tiles] == ["blur 0", "blur 1", "blur 2"]
    same, zeros, high = (np.asarray(opened(t[0])) for t in tiles)
    assert np.abs(same.astype(int) - samples.picture(0)).max() <= 1  # rounding
    assert np.unique(zeros).tolist() == [64]  # 0 is a quarter of the way from -1 to 3
    assert np.unique(high).tolist() == [255]


def test_arrays_of_other_forms_are_text() -> None:
    samples = Samples.of(models.mlp(), np.zeros((1, 30), np.float32))
    assert samples.tiles_of({"x": np.ones((1, 30))})[0] == (None, "0", "1, 1, 1, 1, 1, 1, …")
    model = models.two_inputs()
    both = Samples.of(model, models.samples(model, 2))
    assert both.tiles_of({"b": np.zeros((2, 2, 3))}) == [(None, "0", ""), (None, "1", "")]


def test_a_constant_sample_does_not_divide_by_zero() -> None:
    samples = Samples.of(one_input("N", 1, 4, 4), np.full((1, 1, 4, 4), -2, np.float32))
    assert samples.picture(0).shape == (4, 4, 3)
    assert samples.tiles_of({"x": np.full((1, 1, 4, 4), -2.0)})[0][0]
