import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgba

from onnxshap.errors import InputError
from onnxshap.plot import plot, to_html
from onnxshap.plot.canvas import BROKEN, INK, ink_on
from onnxshap.plot.tokens import begins_word, flow, spell
from tests.test_plot import make, texts

WORDS = ["[CLS]", "un", "##believ", "##able", "film", ".", "[SEP]"]


def fills(figure, axes=0):
    return [tuple(patch.get_facecolor()) for patch in figure.axes[axes].patches]


def with_values(values, embedding=4, **options):
    """Explanation whose attributions sum to ``values`` [N, K, T] over the embedding."""
    values = np.asarray(values, np.float32)
    explanation = make((values.shape[2], embedding), *values.shape[:2], **options)
    spread = explanation.attributions
    spread += ((values - spread.sum(-1)) / embedding)[..., None]
    return explanation


# --- the token axis ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (7, 32), (32, 7), (2, 7, 5), (7, 1), (1, 7)])
def test_all_but_the_axis_as_long_as_the_tokens_is_summed(shape):
    explanation = make(shape, n=1, k=None)
    figure = plot(explanation, tokens=WORDS, percentile=100, top=7)
    others = tuple(a for a, size in enumerate(shape) if size != 7)
    sums = explanation.attributions[0].sum(others, dtype=np.float64)
    drawn = fills(figure)[:7]
    limit = np.abs(sums).max()
    assert drawn == pytest.approx(colormaps["RdBu_r"]((sums / limit + 1) / 2))
    printed = [t for t in texts(figure) if re.fullmatch(r"[+-][\d.]+", t)]
    order = np.argsort(-np.abs(sums))
    assert [float(t) for t in printed[:7]] == pytest.approx(sums[order], rel=6e-3)
    assert figure._repr_png_()


def test_axis_decides_where_two_fit():
    explanation = make((7, 7), n=1, k=None)
    with pytest.raises(InputError, match=r"2 of its axes are 7 long.*by axis="):
        plot(explanation, tokens=WORDS)
    first, last = (fills(plot(explanation, tokens=WORDS, axis=a))[:7] for a in (0, 1))
    assert first != last
    with pytest.raises(InputError, match=re.escape("axis is 0: a sample has shape [7, 5, 2]")):
        plot(make((7, 5, 2)), tokens=WORDS, axis=0)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (WORDS[:6], "tokens holds 6 tokens for explicand 0; a sample has shape [7, 5]"),
        ([WORDS, WORDS[:4]], "tokens holds 4 tokens for explicand 1"),
        ([WORDS, WORDS[:5]], "tokens holds 5 tokens for explicand 1"),
        ([WORDS] * 3, "tokens holds 3 lists for 2 explicands"),
        ([], "tokens holds 0 tokens for explicand 0"),
        ("a string", "tokens is one string; pass a list of strings"),
        ([WORDS, [*WORDS[:6], 102]], "token 6 of explicand 1 is 102 (int); pass strings"),
        ([101, 7, 102], "tokens holds 101 (int); pass a list of strings"),
        ([b"a", b"b"], "tokens holds b'a' (bytes); pass a list of strings"),
        ([WORDS, "word"], "tokens holds 'word' (str); pass a list of strings"),
    ],
)
def test_tokens_that_do_not_fit_are_named(tokens, message):
    with pytest.raises(InputError, match=re.escape(message)):
        plot(make((7, 5)), tokens=tokens)


def test_tokens_form_needs_tokens_and_single_positions():
    with pytest.raises(InputError, match='form="tokens" needs tokens='):
        plot(make((7, 5)), form="tokens")
    with pytest.raises(InputError, match="block is 2; tokens are drawn one by one"):
        plot(make((7, 5)), tokens=WORDS, block=2)
    with pytest.raises(InputError, match=r"a sample has shape .*, to be summed over 0"):
        plot(make((7, 5)), tokens=WORDS, axis=0)


def test_auto_gives_tokens_to_the_inputs_they_fit():
    text, age = make((7, 5)), make((3,))
    both = replace(
        text, attributions={"ids": text.attributions, "age": age.attributions}, data=None
    )
    found = texts(plot(both, tokens=WORDS))
    assert {"##believ", "feature 2", "input ids", "input age"} <= set(found)
    with pytest.raises(InputError, match=re.escape("a sample of input 'age' has shape [3]")):
        plot(both, tokens=WORDS, form="tokens")
    with pytest.raises(InputError, match=re.escape("a sample of input 'ids' has shape [7, 5]")):
        plot(both, tokens=WORDS[:4])


# --- colours -------------------------------------------------------------------------------------


def test_a_row_shares_one_scale():
    values = np.zeros((2, 2, 7))
    values[0, 0, 1], values[0, 1, 1], values[1, 0, 1] = 1.0, 10.0, 1.0
    figure = plot(with_values(values), tokens=WORDS, percentile=100)
    colours = colormaps["RdBu_r"]
    texts_only = [axes for axes in figure.axes if len(axes.patches) >= 7]
    found = [axes.patches[1].get_facecolor() for axes in texts_only]
    assert np.allclose(found[0], colours(0.55), atol=0.01)
    assert np.allclose([found[1], found[2]], colours(1.0), atol=0.01)


@pytest.mark.parametrize("name", ["RdBu_r", "PuOr_r", "magma_r", "viridis"])
def test_ink_is_readable_on_every_colour(name):
    def luminance(colour):
        rgb = np.asarray(to_rgba(colour)[:3])
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    for colour in colormaps[name](np.linspace(0, 1, 101)):
        low, high = sorted([luminance(colour), luminance(ink_on(colour))])
        assert (high + 0.05) / (low + 0.05) >= 4.1
    assert ink_on("white") == INK


def test_what_is_not_finite_is_magenta_and_not_among_the_largest():
    explanation = make((7, 5), n=1, k=None)
    explanation.attributions[0, 2, 1] = np.nan
    figure = plot(explanation, tokens=WORDS)
    assert fills(figure)[2] == BROKEN
    assert fills(figure).count(BROKEN) == 1
    assert any("magenta: 1 not finite" in t for t in texts(figure))
    assert "6 largest of 7: position, token, attribution" in texts(figure)
    assert figure._repr_png_()


def test_no_attribution_is_said():
    explanation = make((7, 5), n=1, k=None)
    explanation.attributions[:] = 0
    figure = plot(explanation, tokens=WORDS)
    assert "no attribution" in texts(figure)
    assert set(fills(figure)) == {tuple(colormaps["RdBu_r"](0.5))}


@pytest.mark.parametrize("sign", ["positive", "negative", "absolute"])
@pytest.mark.parametrize("scale", ["row", "panel", "figure"])
def test_every_sign_and_scale_is_drawn(sign, scale):
    figure = plot(make((7, 5), error=0.3), tokens=WORDS, sign=sign, scale=scale, cmap="PuOr")
    assert figure._repr_png_()


# --- padding -------------------------------------------------------------------------------------


def test_positions_are_left_out_and_their_sum_is_printed():
    values = np.array([[[1, 2, 3, -1, 0.5, 40, 60]]])
    explanation = with_values(values)
    figure = plot(explanation, tokens=[*WORDS[:5], None, None], percentile=100)
    found = texts(figure)
    assert "." not in found
    assert any("2 positions left out, their sum +100" in t for t in found)
    assert "5 largest of 5: position, token, attribution" in found
    assert np.allclose(fills(figure)[2], colormaps["RdBu_r"](1.0))  # 3 is the largest drawn
    one = texts(plot(explanation, tokens=[*WORDS[:6], None]))
    assert any("1 position left out, its sum +60" in t for t in one)
    assert plot(explanation, tokens=[None] * 7)._repr_png_()


# --- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("##ing", "##ing"),
        ("\u2581the", "\u2581the"),
        ("\u0120the", "\u0120the"),
        (" the", " the"),
        ("a\nb", "a\\nb"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("  ", "\u2423\u2423"),
        ("", "\u2205"),
        ("$x$", "$x$"),
        ("'", "'"),
    ],
)
def test_tokens_are_shown_as_they_are(token, shown):
    assert spell(token) == shown


def test_odd_tokens_are_drawn(tmp_path):
    odd = ["$\\frac{", "猫🙂", "\x00", "<b>", "\u0120" + "long" * 100, "\ud800", ""]
    figure = plot(make((7, 5), n=1, k=2), tokens=odd)
    found = texts(figure)
    assert {"$\\frac{", "\\x00", "<b>", "\\ud800"} <= set(found)
    assert any(t.startswith("\u0120longlong") and t.endswith("…") for t in found)
    assert not any(t.get_parse_math() for axes in figure.axes for t in axes.texts)
    assert to_html(make((7, 5)), tmp_path / "p.html", tokens=odd, title="x").is_file()


def test_characters_the_font_lacks_are_explained():
    found = texts(plot(make((2, 5)), tokens=["\u0378", "a"]))
    assert not any(t.startswith("\u25a1:") for t in found)  # unassigned: an escape
    found = texts(plot(make((2, 5)), tokens=["\U00013000", "\u25a1"]))
    assert any(t.startswith("\u25a1: a character the font lacks") for t in found)
    found = texts(plot(make((2, 5)), tokens=["a", "\u25a1"]))
    assert not any(t.startswith("\u25a1:") for t in found)


@pytest.mark.parametrize(
    ("tokens", "begins"),
    [
        (["un", "##do", "it"], [1, 0, 1]),
        (["\u2581un", "do", "\u2581it", "."], [1, 0, 1, 0]),
        (["<s>", "un", "do", "\u0120it", "</s>"], [1, 1, 0, 1, 1]),
        (["plain", "words"], [1, 1]),
        ([], []),
    ],
)
def test_pieces_of_words_stay_together(tokens, begins):
    assert begins_word(tokens) == [bool(b) for b in begins]


def test_lines_break_between_words_unless_a_word_is_too_long():
    assert [row for _, row in flow([1, 1, 1], [True] * 3, 2.2)] == [0, 0, 1]
    assert [row for _, row in flow([1, 0.6, 0.6], [True, True, False], 2.0)] == [0, 1, 1]
    assert [row for _, row in flow([1, 1, 1], [True, False, False], 2.2)] == [0, 0, 1]
    assert flow([], [], 1.0) == []


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_long_texts_wrap_without_overlap(columns):
    rng = np.random.default_rng(0)
    tokens = ["".join(rng.choice(list("abcdefgh"), rng.integers(1, 12))) for _ in range(512)]
    figure = plot(make((512, 2), n=1, k=columns), tokens=tokens)
    axes = figure.axes[0]
    width, height = axes.get_xlim()[1], axes.get_ylim()[0]
    boxes = [patch.get_bbox() for patch in axes.patches]
    assert len(boxes) == 512 + 10
    assert max(b.x1 for b in boxes) <= width + 1e-6
    assert max(b.y1 for b in boxes) <= height + 1e-6
    lines = {}
    for b in boxes[:512]:
        lines.setdefault(round(b.y0, 4), []).append(b)
    for row in lines.values():
        assert all(a.x1 < b.x0 for a, b in pairwise(row))
    starts = sorted(lines)
    assert min(np.diff(starts)) > boxes[0].height
    sizes = {t.get_fontsize() for t in axes.texts[:512]}
    assert min(sizes) >= 8


def test_facts_stand_below():
    explanation = make((7, 5), n=2, k=2, each=True)
    found = texts(plot(explanation, tokens=[WORDS, WORDS[::-1]], labels=["good", "bad", "so", "x"]))
    assert {"good", "bad", "so", "x"} <= set(found)
    assert f"explicand 1, output {explanation.outputs[1, 0]:+.4g}" in found
    assert any(t.startswith("standard error") and t.endswith("of the map") for t in found)
    assert sum("residual +1.5e-07" in t for t in found) == 4
    assert "one colour limit a figure" in " ".join(
        texts(plot(explanation, tokens=WORDS, scale="figure"))
    )
