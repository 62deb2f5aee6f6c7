import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from onnxshap.errors import InputError
from onnxshap.explanation import Explanation
from onnxshap.plot import maps as m
from onnxshap.plot import plot, to_html
from onnxshap.plot.canvas import BROKEN, fit
from onnxshap.plot.panels import Style, facts, panels

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "cost_$_per_$_unit",
    "a\x00b\nc\u202e",
    "猫",
    "$\\frac{",
    "",
]


def make(shape, n=2, k=3, references=8, error=None, each=False, data=True, seed=0):
    """Explanation of random attributions; ``k=None``: a single target."""
    rng = np.random.default_rng(seed)
    lead = (n,) if k is None else (n, k)
    values = rng.normal(size=lead + shape).astype(np.float32)
    sums = values.sum(tuple(range(len(lead), values.ndim)), dtype=np.float64)
    outputs = rng.normal(size=lead)
    kept = rng.normal(size=(*lead, references, *shape)).astype(np.float32) if each else None
    if kept is not None:
        axis = len(lead)
        kept += np.expand_dims(values - kept.mean(axis), axis)
    return Explanation(
        attributions=values,
        outputs=outputs,
        targets=np.arange(np.prod(lead), dtype=np.int64).reshape(lead),
        base_values=outputs - sums,
        residual=np.full(lead, 1.5e-7),
        standard_error=None if error is None else error * np.abs(values),
        per_reference=kept,
        data=rng.random((n, *shape)).astype(np.float32) if data else None,
        references=references,
        method="deepshap",
    )


def texts(figure):
    found = [t.get_text() for t in figure.texts]
    for axes in figure.axes:
        found += [t.get_text() for t in axes.texts + axes.get_yticklabels()]
    return found


# --- forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((3, 16, 16), "image"),
        ((16, 16, 3), "image"),
        ((1, 16, 16), "image"),
        ((4, 20, 12), "image"),
        ((8, 5, 5), "image"),
        ((2, 3, 6, 6), "image"),
        ((8, 8), "image"),
        ((12,), "bars"),
        ((3, 4), "strip"),
        ((), "bars"),
        ((1500,), "strip"),
        ((1500, 1), "strip"),
        ((4, 300), "strip"),
    ],
)
def test_form_goes_by_the_shape_of_one_sample(shape, form):
    explanation = make(shape, n=2, k=2, error=0.3)
    assert m.form_of(shape, Style(), False) == form
    figure = plot(explanation)
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("form", ["bars", "strip", "image"])
@pytest.mark.parametrize("sign", ["signed", "positive", "negative", "absolute"])
def test_every_form_and_sign_is_drawn(form, sign):
    figure = plot(make((9, 9), k=None, n=1, error=0.5), form=form, sign=sign)
    assert figure._repr_png_()


def test_channels_are_summed_wherever_they_are():
    values = np.arange(2 * 1 * 3 * 6 * 5, dtype=np.float32).reshape(2, 1, 3, 6, 5)
    first = m.maps(values, m.channel_axes((3, 6, 5), Style(), 2), Style())
    last = m.maps(np.moveaxis(values, 2, -1), m.channel_axes((6, 5, 3), Style(), 2), Style())
    assert np.array_equal(first, values.sum(2))
    assert np.array_equal(first, last)


def test_axis_names_what_is_summed():
    explanation = make((7, 32), k=None)
    assert plot(explanation, axis=-1, form="bars")._repr_png_()
    labels = [t for t in texts(plot(explanation, axis=-1, form="bars")) if "feature" in t]
    assert "feature 3" in labels
    with pytest.raises(InputError, match=re.escape("axis is 5: a sample has shape [7, 32]")):
        plot(explanation, axis=5, form="image")


def test_blocks_keep_the_sum():
    values = np.random.default_rng(0).normal(size=(1, 1, 10, 11))
    summed = m.maps(values, (), Style(block=4))
    assert summed.shape == (1, 1, 3, 3)
    assert np.isclose(summed.sum(), values.sum())


def test_inputs_are_drawn_one_below_the_other():
    one, two = make((3, 8, 8)), make((6,))
    both = replace(
        one,
        attributions={"gpu_0/image": one.attributions, "age": two.attributions},
        data={"gpu_0/image": one.data, "age": two.data},
    )
    assert {"input gpu_0/image", "input age"} <= set(texts(plot(both)))
    assert plot(both, input="age").get_figheight() < plot(both).get_figheight()
    with pytest.raises(InputError, match="no explained input 'b'; there are 'gpu_0/image', 'age'"):
        plot(both, input="b")


# --- colours -------------------------------------------------------------------------------------


def test_limits_are_shared_over_a_row():
    values = np.zeros((2, 2, 1, 100))
    values[0, 0], values[0, 1], values[1] = 1.0, 10.0, 0.5
    assert np.array_equal(m.limits(values, Style(percentile=100)), [[10, 10], [0.5, 0.5]])
    panel = m.limits(values, Style(percentile=100, scale="panel"))
    assert np.array_equal(panel, [[1, 10], [0.5, 0.5]])
    assert np.array_equal(
        m.limits(values, Style(percentile=100, scale="figure")), np.full((2, 2), 10)
    )


def test_a_percentile_of_zero_gives_way_to_the_largest_value():
    values = np.zeros((1, 1, 100, 100))
    values[0, 0, 3, 3] = -7.0
    assert m.limits(values, Style()) == 7.0
    assert m.limits(np.zeros((1, 1, 4)), Style()) == 0.0


def test_the_clipped_share_is_printed():
    explanation = make((1, 10, 10), n=1, k=None)
    explanation.attributions[:] = np.arange(100, dtype=np.float32).reshape(1, 1, 10, 10)
    assert m.clipped(explanation.attributions, 89.5) == 0.1
    assert "clipped 10 %" in texts(plot(explanation, percentile=90))


def test_zero_shows_the_photo_and_the_limit_is_opaque():
    explanation = make((1, 8, 8), n=1, k=None)
    explanation.attributions[:] = 0
    explanation.attributions[0, 0, 2, 3], explanation.attributions[0, 0, 5, 5] = 2.0, -2.0
    rgba = plot(explanation, percentile=100).axes[1].images[1].get_array()
    assert rgba[0, 0, 3] == 0
    assert rgba[2, 3, 3] == rgba[5, 5, 3] == 1
    red, blue = rgba[2, 3, 0] - rgba[2, 3, 2], rgba[5, 5, 0] - rgba[5, 5, 2]
    assert red > 0 > blue
    uniform = plot(explanation, opacity=0.5).axes[1].images[1].get_array()
    assert np.all(uniform[..., 3] == 0.5)


def test_what_is_not_finite_is_magenta_and_counted():
    explanation = make((3, 8, 8), n=1, k=2)
    explanation.attributions[0, 1, 0, 4, 4] = np.nan
    explanation.attributions[0, 1, 0, 1, 1] = np.inf
    figure = plot(explanation)
    rgba = figure.axes[2].images[1].get_array()
    assert tuple(rgba[4, 4]) == tuple(rgba[1, 1]) == BROKEN
    assert sum(tuple(pixel) == BROKEN for pixel in rgba.reshape(-1, 4)) == 2
    found = [t for t in texts(figure) if "magenta" in t]
    assert len(found) == 1
    assert found[0].endswith("magenta: 2 not finite")
    assert any("sum not finite" in t for t in texts(figure))
    assert figure._repr_png_()


def test_bars_of_what_is_not_finite_say_so():
    explanation = make((6,), n=1, k=None)
    explanation.attributions[0, 2] = np.nan
    figure = plot(explanation)
    assert "not finite" in texts(figure)
    assert "magenta: 1 not finite" in texts(figure)
    assert figure._repr_png_()


def test_no_attribution_is_said_not_amplified():
    explanation = make((3, 8, 8), n=1, k=3)
    explanation.attributions[0, 1] = 0
    assert texts(plot(explanation)).count("no attribution") == 1
    explanation.attributions[:] = 0
    figure = plot(explanation)
    assert texts(figure).count("no attribution") == 3
    assert all(len(axes.images) == 1 for axes in figure.axes)


def test_absolute_maps_take_a_sequential_scale_from_zero():
    figure = plot(make((3, 8, 8), n=1, k=1), sign="absolute")
    bar = figure.axes[-1]
    assert bar.get_ylim()[0] == 0
    assert "not their sign" in " ".join(texts(figure))


# --- facts ---------------------------------------------------------------------------------------


def test_facts_stand_beside_the_map():
    explanation = make((1, 8, 8), n=1, k=None, error=1.4)
    found = texts(plot(explanation, labels=["tiger cat"]))
    base, total = explanation.base_values[0], explanation.sums()[0]
    assert "tiger cat" in found
    assert f"output {explanation.outputs[0]:+.4g}" in found
    assert f"base value {base:+.4g}, sum {total:+.4g}" in found
    assert "residual +1.5e-07" in found
    assert "standard error 140 % of the map" in found
    assert "deepshap, 8 references" in found
    assert "99.9th percentile" in " ".join(found)


def test_standard_error_of_sums_is_exact_or_says_what_it_is_of():
    known = make((3, 8, 8), n=1, k=2, each=True)
    each = known.per_reference[0, 1].astype(np.float64).sum(1)
    spread = np.sqrt((each.var(0, ddof=1) / 8).mean() / (each.mean(0) ** 2).mean())
    assert f"standard error {100 * spread:.0f} % of the map" in texts(plot(known))
    assert "standard error 30 % value by value" in texts(plot(make((3, 8, 8), error=0.3)))
    assert not any("standard error" in t for t in texts(plot(make((3, 8, 8)))))


def test_methods_without_references_have_fewer_facts():
    explanation = replace(
        make((6,), n=1, k=None), base_values=None, residual=None, references=0, method="gradient"
    )
    found = texts(plot(explanation))
    assert "gradient" in found
    assert f"sum {explanation.sums()[0]:+.4g}" in found
    assert not any("base value" in t or "residual" in t for t in found)


def test_partial_results_are_called_so():
    assert any("partial result" in t for t in texts(plot(replace(make((6,)), complete=False))))


def test_what_was_left_out_is_said():
    found = texts(plot(make((4,), n=5, k=4), max_rows=2, max_columns=3))
    assert "The first 2 of 5 explicands." in found
    assert "The first 3 of 4 targets." in found
    assert not any(t.startswith("explicand 2") for t in found)


@pytest.mark.parametrize(
    ("targets", "labels", "expected"),
    [
        (np.array([[2, 0]]), ["a", "b", "c"], ["c", "a"]),
        (np.array([[2, 0]]), {2: "two"}, ["two", "target 0"]),
        (np.array([[2, 9]]), ["a", "b", "c"], ["c", "target 9"]),
        (np.array([[[0, 3], [1, 2]]]), ["a"], ["target [0, 3]", "target [1, 2]"]),
        (np.array([[0.5, 0.5]]), ["a"], ["weighted target"] * 2),
        (np.zeros((4, 4)), None, ["weighted target"] * 2),
    ],
)
def test_targets_are_named(targets, labels, expected):
    explanation = replace(make((4,), n=1, k=2), targets=targets)
    assert [f.label for f in facts(explanation, labels)[0]] == expected


# --- bars and strips -----------------------------------------------------------------------------


def test_bars_lead_from_base_value_to_output():
    explanation = make((30,), n=1, k=None, error=0.2)
    axes = plot(explanation, top=6).axes[0]
    bars = axes.patches
    assert len(bars) == 7
    assert bars[0].get_x() == pytest.approx(explanation.base_values[0])
    for bar, following in pairwise(bars):
        assert following.get_x() == pytest.approx(bar.get_x() + bar.get_width())
    assert bars[-1].get_x() + bars[-1].get_width() == pytest.approx(explanation.outputs[0])
    sizes = [abs(bar.get_width()) for bar in bars[:-1]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(np.abs(explanation.attributions).max())


def test_features_are_named_with_their_values():
    explanation = make((3,), n=1, k=None)
    found = texts(plot(explanation, features=["cost_$_per_$_unit", "b", "c"]))
    assert f"b = {explanation.data[0, 1]:.4g}" in found
    assert any(
        t.startswith("cost_$_per") and t.endswith(f"{explanation.data[0, 0]:.4g}") for t in found
    )
    with pytest.raises(InputError, match="features names 2 features; a sample has 3"):
        plot(explanation, features=["a", "b"])


def test_long_strips_are_summed_and_say_so():
    figure = plot(make((5000,), n=1, k=None))
    assert figure.axes[0].images[0].get_array().shape == (1, 1000, 4)
    assert any("summed over 5 positions" in t for t in texts(figure))


# --- photos --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 20, 30, 3), np.uint8),
        np.zeros((2, 3, 20, 30), np.float32),
        np.zeros((2, 20, 30)),
        [np.zeros((20, 30, 4)), np.zeros((15, 15))],
        np.full((2, 1, 20, 30), np.nan),
    ],
)
def test_photos_come_in_many_layouts(image):
    assert plot(make((8, 5, 5), data=False), image)._repr_png_()


def test_photos_are_read_as_bytes_shares_or_by_range():
    assert m.photos(np.full((1, 2, 2), 255, np.uint8), 1)[0].max() == 1
    assert np.array_equal(m.photos(np.full((1, 2, 2), 0.25), 1)[0], np.full((2, 2), 0.25))
    stretched = m.photos(np.array([[[-1.0, 0.0], [0.5, 1.0]]]), 1)[0]
    assert np.array_equal(stretched, [[0, 0.5], [0.75, 1]])
    assert np.array_equal(m.photos(np.array([[[510, 0]]]), 1)[0], [[1, 0]])


def test_photos_must_fit():
    explanation = make((3, 8, 8))
    with pytest.raises(InputError, match="image holds 1 pictures for 2 explicands"):
        plot(explanation, [np.zeros((8, 8))])
    with pytest.raises(InputError, match=re.escape("image has shape [5, 8, 7]")):
        plot(explanation, np.zeros((2, 5, 8, 7)))


# --- options, isolation --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sign": "up"}, "sign is 'up'; it takes signed, positive, negative, absolute"),
        ({"form": "cake"}, "form is 'cake'"),
        ({"scale": "all"}, "scale is 'all'"),
        ({"percentile": 0}, "percentile is 0"),
        ({"percentile": float("nan")}, "percentile is nan"),
        ({"opacity": 2}, "opacity is 2"),
        ({"block": 0}, "block is 0; it takes 1 or more"),
        ({"cmap": "nope"}, "no colour map 'nope'; RdBu_r and PuOr_r suit signed maps"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        plot(make((3, 8, 8)), **options)


def test_nothing_to_draw():
    with pytest.raises(InputError, match="holds no explicands"):
        plot(make((3, 8, 8), n=0))


def test_missing_matplotlib_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=re.escape('pip install "onnxshap[lab]"')):
        plot(make((4,)))


def test_matplotlib_is_loaded_late_and_pyplot_never():
    code = (
        "import sys, numpy as np\n"
        "from onnxshap.explanation import Explanation\n"
        "import onnxshap.plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "e = Explanation(np.ones((1, 4), 'f'), np.ones(1), np.zeros(1, int))\n"
        "e.plot()._repr_png_()\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readers_style_does_not_leak_in():
    import matplotlib

    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "black"}):
        assert plot(make((5,)), labels=HOSTILE)._repr_png_()
        assert plot(make((3, 8, 8)), title="$x$")._repr_png_()


# --- hostile text and pages ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 8, 8), (6,), (2000,)])
def test_hostile_labels_are_drawn_as_they_are(shape):
    figure = plot(make(shape), labels=HOSTILE, title="50 % of $x_1$, <b>")
    assert figure._repr_png_()
    found = texts(figure)
    assert "cost_$_per_$_unit" in found
    assert any(t.startswith("<img src=x") for t in found)
    assert "50 % of $x_1$, <b>" in found
    assert not any(t.get_parse_math() for t in figure.texts)
    assert not any("\x00" in t or "\n" in t or "\u202e" in t for t in found)


def test_text_is_cut_to_its_width():
    assert fit("short", 5.0, 10) == "short"
    cut = fit("a very long name indeed " * 20, 1.0, 10)
    assert cut.endswith("…")
    assert 5 < len(cut) < 25
    assert fit("猫", None, 10) in ("猫", "□")


class _Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.data = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.data += data


def test_the_page_stands_alone_and_escapes(tmp_path):
    explanation = make((3, 8, 8), error=0.3)
    title = '</title><script>alert("t")</script>'
    path = to_html(explanation, tmp_path / "page.html", labels=HOSTILE, title=title)
    text = path.read_text(encoding="utf-8")
    page = _Tags(text)
    names = [tag for tag, _ in page.tags]
    assert names.count("img") == 1
    assert "script" not in names
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "猫" in text
    assert f"{explanation.outputs[0, 0]:+.6g}" in page.data
    assert "30 %" in page.data
    sources = [v for _, attrs in page.tags for k, v in attrs.items() if k in ("src", "href")]
    assert all(v.startswith("data:image/png;base64,") for v in sources)
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_input_names_are_escaped_too(tmp_path):
    explanation = make((4,))
    several = replace(explanation, attributions={"<i>": explanation.attributions}, data=None)
    assert "<i>" not in to_html(several, tmp_path / "p.html").read_text(encoding="utf-8")


def test_a_failed_page_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr("onnxshap.plot.page.os.replace", _fail)
    with pytest.raises(OSError, match="disk full"):
        to_html(make((4,)), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def _fail(*_):
    raise OSError("disk full")


def test_explanations_draw_themselves(tmp_path):
    explanation = make((4,))
    assert explanation.plot(top=2)._repr_png_()
    assert explanation.to_html(str(tmp_path / "e.html")).is_file()


def test_panels_always_have_a_target_axis():
    (single,) = panels(make((3, 8, 8), k=None, error=1.0, each=True), None)
    assert single.values.shape == single.errors.shape == (2, 1, 3, 8, 8)
    assert single.per_reference.shape == (2, 1, 8, 3, 8, 8)
