import base64
import subprocess
import sys
from io import BytesIO

import matplotlib
import numpy as np
import pytest
from PIL import Image

from onnxshap.errors import InputError
from onnxshap_widgets.arrays import attribution_map, grey_photo, in_squares
from onnxshap_widgets.overlay import Overlay, limit_of
from tests.helpers.javascript import evaluate


def values(shape=(3, 8, 10), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sent(overlay):
    return np.frombuffer(overlay._values, np.float32).reshape(overlay._shape)


# --- what is sent --------------------------------------------------------------------------------


def test_the_map_is_sent_as_float32_bytes():
    array = values()
    overlay = Overlay(array.astype(np.float64), title="cat", facts=[("output", "+1")])
    np.testing.assert_array_equal(sent(overlay), array)
    np.testing.assert_array_equal(overlay.values, array)
    assert (overlay._facts, overlay._block, overlay._photo) == ([["output", "+1"]], 1, b"")


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((8, 10), (1, 8, 10)), ((8, 10, 3), (3, 8, 10)), ((64, 7, 7), (64, 7, 7)), ((3, 9, 3), None)],
)
def test_maps_come_channels_first_or_last(shape, drawn):
    assert attribution_map(values(shape)).shape == (drawn or shape)


def test_large_maps_are_summed_over_squares_and_large_photos_averaged():
    array = values((2, 2050, 900))
    overlay = Overlay(array, np.full((3000, 1300), 128, np.uint8))
    assert (overlay._block, overlay._shape, overlay._size) == (3, [2, 684, 300], [2050, 900])
    np.testing.assert_allclose(sent(overlay).sum(dtype=float), array.sum(dtype=float), rtol=1e-6)
    assert overlay._photo_shape == [1000, 434]
    assert set(overlay._photo) == {128}


def test_a_photo_of_12_megapixels_is_brought_to_size():
    photo = np.zeros((3000, 4000, 3), np.uint8)
    photo[:, 2000:] = 255
    grey = grey_photo(photo, 1024)
    assert grey.shape == (750, 1000)
    np.testing.assert_array_equal(grey[:, 500:], 255)
    np.testing.assert_array_equal(grey[:, :500], 0)


@pytest.mark.parametrize("order", ["HWC", "CHW"])
def test_photos_are_grey_by_luminance(order):
    photo = np.zeros((4, 5, 3), np.uint8)
    photo[..., 1] = 255
    photo = photo if order == "HWC" else photo.transpose(2, 0, 1)
    np.testing.assert_array_equal(grey_photo(photo, 1024), np.full((4, 5), 150))


def test_squares_sum_what_is_not_finite_to_what_is_not():
    array = np.ones((1, 4, 4), np.float32)
    array[0, 0, 0] = np.nan
    sums, block = in_squares(array, 2)
    assert block == 2
    np.testing.assert_array_equal(sums, [[[np.nan, 4], [4, 4]]])


# --- updates and the selection -------------------------------------------------------------------


def test_an_update_keeps_what_the_user_set():
    overlay = Overlay(values(), np.zeros((8, 10), np.uint8), title="cat")
    overlay.sign, overlay.opacity, overlay.percentile = "positive", 0.3, 98.0
    photo = overlay._photo
    overlay.update(values(seed=1), facts={"sum": "+2"})
    assert (overlay.sign, overlay.opacity, overlay.percentile) == ("positive", 0.3, 98.0)
    assert (overlay.title, overlay._photo, overlay._facts) == ("cat", photo, [["sum", "+2"]])
    np.testing.assert_array_equal(sent(overlay), values(seed=1))


def test_another_shape_drops_the_photo_and_the_selection():
    overlay = Overlay(values(), np.zeros((8, 10), np.uint8))
    overlay.set_trait("selection", {"x0": 1, "y0": 1, "x1": 2, "y1": 2, "sum": 0.0, "share": None})
    overlay.channel = "2"
    overlay.update(values((1, 4, 4)), title="dog")
    assert (overlay._photo, overlay.selection) == (b"", {})
    assert (overlay.title, overlay.channel) == ("dog", "sum")


def test_the_selection_follows_updates_and_channels():
    overlay = Overlay(values())
    overlay.set_trait("selection", {"x0": 1, "y0": 2, "x1": 7, "y1": 5, "sum": 0.0, "share": None})
    later = values(seed=3).astype(np.float64)
    overlay.update(later)
    part = later[:, 2:5, 1:7].sum()
    assert overlay.selection["sum"] == pytest.approx(part, abs=1e-9)
    assert overlay.selection["share"] == pytest.approx(part / later.sum())
    overlay.channel = "1"
    assert overlay.selection["sum"] == pytest.approx(later[1, 2:5, 1:7].sum(), abs=1e-9)
    with pytest.raises(Exception, match="read-only"):
        overlay.selection = {}


def test_an_empty_sum_has_no_share():
    overlay = Overlay(np.zeros((4, 4)))
    overlay.set_trait("selection", {"x0": 0, "y0": 0, "x1": 2, "y1": 2})
    overlay.update(np.zeros((4, 4)))
    assert (overlay.selection["sum"], overlay.selection["share"]) == (0, None)


# --- the still picture ---------------------------------------------------------------------------


def test_the_widget_shows_as_a_picture_where_no_kernel_runs():
    data, _ = Overlay(values(), values((8, 10)))._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    picture = Image.open(BytesIO(base64.b64decode(data["image/png"])))
    assert picture.format == "PNG"
    assert min(picture.size) > 200


@pytest.mark.parametrize("sign", ["signed", "positive", "negative", "absolute"])
@pytest.mark.parametrize("channel", ["max-abs", 1, None])
def test_every_setting_is_drawn(sign, channel):
    array = values()
    array[0, 0, 0] = np.nan
    assert Overlay(array, sign=sign, channel=channel, opacity=0.4, block=3).png()
    assert Overlay(np.zeros((4, 4)), sign=sign, facts=[("$x", "<b>")]).png()


def test_matplotlib_is_loaded_for_pictures_only():
    code = """
import sys, numpy as np
from onnxshap_widgets.overlay import Overlay
from onnxshap_widgets.compare import CompareGrid, Panel
overlay = Overlay(np.ones((4, 4)), np.ones((8, 8)))
overlay.update(np.zeros((4, 4)))
CompareGrid([("", [Panel("a", np.ones((4, 4)))])])
assert "matplotlib" not in sys.modules
overlay.png()
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"values": np.zeros(5)}, r"values has shape \[5\]; pass the map of one sample and target"),
        ({"values": np.zeros((1, 3, 4, 4))}, "values has shape"),
        ({"values": np.zeros((0, 4))}, "values has shape"),
        ({"values": np.array([["a"]])}, "values has dtype"),
        ({"image": np.zeros((2, 4, 5))}, r"image has shape \[2, 4, 5\]"),
        ({"image": "cat.png"}, "image has dtype"),
        ({"sign": "both"}, "sign is 'both'; it takes signed, positive, negative, absolute"),
        ({"percentile": 0}, "percentile is 0"),
        ({"percentile": 101}, "percentile is 101; it takes 0 to 100"),
        ({"percentile": "99"}, "percentile is '99'"),
        ({"opacity": -0.1}, "opacity is -0.1; it takes 0 to 1"),
        ({"opacity": True}, "opacity is True"),
        ({"cmap": "jet"}, "cmap is 'jet'; it takes RdBu_r, PuOr_r"),
        ({"channel": 1}, "channel is 1; the map has channels 0 to 0"),
        ({"channel": "red"}, "channel is 'red'; it takes sum, max-abs or the number"),
        ({"block": 0}, "block is 0"),
        ({"limit": -1.0}, "limit is -1.0; it takes a number above 0"),
        ({"limit": "1"}, "limit is '1'"),
        ({"facts": "sum"}, "facts is 'sum'; pass \\(label, text\\) pairs"),
        ({"facts": [("sum",)]}, "facts is"),
    ],
)
def test_bad_arguments_are_named(given, message):
    with pytest.raises(InputError, match=message):
        Overlay(**{"values": np.zeros((4, 4))} | given)


def test_unknown_arguments_are_refused_by_name():
    with pytest.raises(TypeError, match="alpha"):
        Overlay(np.zeros((4, 4)), alpha=0.5)


# --- the browser's numbers -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["RdBu_r", "PuOr_r", "magma_r"])
def test_colours_are_matplotlibs(name):
    ours = np.reshape(evaluate(("maps",), "[...m.colourTable(name)]", name=name), (256, 3))
    theirs = matplotlib.colormaps[name](np.arange(256))[:, :3] * 255
    assert np.abs(ours - theirs).max() <= 4


@pytest.mark.parametrize("size", [1, 2, 10, 1001])
def test_percentiles_are_numpys(size):
    array = np.random.default_rng(size).normal(size=size)
    asked = [0.5, 50, 98, 99.5, 99.9, 100]
    ours = evaluate(
        ("maps",), "qs.map((q) => m.limitOf(m.magnitudes(a), q))", a=array.tolist(), qs=asked
    )
    theirs = [limit_of([array], q) for q in asked]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    np.testing.assert_allclose(ours, np.percentile(np.abs(array), asked), rtol=1e-12)


@pytest.mark.parametrize("channel", ["sum", "max-abs", "2"])
def test_maps_are_the_still_pictures(channel):
    array = values()
    overlay = Overlay(array, channel=int(channel) if channel == "2" else channel)
    ours = evaluate(
        ("maps", "overlay"),
        "[...m.overChannels(Float32Array.from(a), [3, 8, 10], channel)]",
        a=array.ravel().tolist(),
        channel=channel,
    )
    np.testing.assert_allclose(np.reshape(ours, (8, 10)), overlay._drawn(), rtol=1e-12)
