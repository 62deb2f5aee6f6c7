import base64

import numpy as np
import pytest

from onnxshap.errors import InputError
from onnxshap_widgets.agreement import agreement
from onnxshap_widgets.compare import CompareGrid, Panel


def maps(count, shape=(3, 8, 10)):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)


def grid(**options):
    a, b, c, d = maps(4)
    rows = [
        ("cat", [Panel("one", a, [("sum", "+1")]), Panel("two", b)]),
        ("dog", [Panel("one", 10 * c), Panel("two", d)]),
    ]
    return CompareGrid(rows, **options)


def test_panels_are_sent_as_one_block_of_float32():
    made = grid()
    sent = np.frombuffer(made._values, np.float32)
    (first, second), (third, _) = made._rows
    assert (made._names, first["title"], first["facts"]) == (["cat", "dog"], "one", [["sum", "+1"]])
    assert (first["start"], second["start"], third["start"]) == (0, 80, 160)
    wanted = maps(4)[1].sum(0, dtype=np.float64)
    np.testing.assert_allclose(sent[80:160].reshape(8, 10), wanted, rtol=1e-6)


def test_a_picture_is_sent_once_however_many_panels_lie_over_it():
    photo, other = np.zeros((6, 6), np.uint8), np.ones((4, 4), np.uint8)
    a, b, c = maps(3)
    made = CompareGrid([("", [Panel("a", a), Panel("b", b), Panel("c", c, image=other)])])
    assert [p["photo"] for p in made._rows[0]] == [-1, -1, 0]
    made.update([("", [Panel("a", a), Panel("b", b), Panel("c", c, image=other)])], image=photo)
    assert [p["photo"] for p in made._rows[0]] == [0, 0, 1]
    assert made._photo_shapes == [[6, 6], [4, 4]]


def test_large_panels_are_summed_over_squares():
    array = maps(1, (1100, 300))[0]
    made = CompareGrid([("", [Panel("a", array)])])
    assert (made._rows[0][0]["block"], made._rows[0][0]["shape"]) == (3, [367, 100])
    total = np.frombuffer(made._values, np.float32).sum(dtype=float)
    np.testing.assert_allclose(total, array.sum(dtype=float), rtol=1e-5)


def test_columns_give_titles_to_panels_without():
    a, b = maps(2)
    made = CompareGrid([("r", [Panel("", a), Panel("own", b)])], columns=["x", "y", "z"])
    assert [p["title"] for p in made._rows[0]] == ["x", "own"]


@pytest.mark.parametrize(
    ("scale", "distinct"), [("row", [1, 1]), ("panel", [2, 2]), ("grid", [1, 1])]
)
def test_panels_that_share_a_scale_share_its_limit(scale, distinct):
    made = grid(scale=scale, percentile=100)
    limits = made._limits(made._maps)
    assert [len(set(row)) for row in limits] == distinct
    every = np.abs([a for row in made._maps for a in row])
    assert max(max(row) for row in limits) == pytest.approx(every.max())
    assert (limits[0][0] == limits[1][0]) == (scale == "grid")


def test_the_chosen_panels_are_compared_as_they_were_given():
    made = grid()
    with pytest.raises(InputError, match="choose two panels"):
        made.agreement()
    made.chosen = [[0, 0], [1, 1]]
    a, d = (maps(4)[i].sum(0, dtype=np.float64) for i in (0, 3))
    assert made.agreement(share=0.2) == agreement(a, d, share=0.2)
    assert made.agreement((0, 0), (0, 0)).rank_correlation == pytest.approx(1)
    made.block = 2
    assert made.agreement() != agreement(a, d)
    with pytest.raises(InputError, match=r"no panel \(5, 0\)"):
        made.agreement((5, 0), (0, 0))


def test_an_update_keeps_the_choice_where_it_fits():
    made = grid(sign="absolute")
    made.chosen = [[0, 0], [0, 1]]
    made.update([("cat", [Panel("x", maps(1)[0]), Panel("y", maps(1)[0])])])
    assert (made.chosen, made.sign) == ([[0, 0], [0, 1]], "absolute")
    made.update([("cat", [Panel("x", maps(1)[0])])])
    assert made.chosen == []


@pytest.mark.parametrize("scale", ["row", "panel", "grid"])
def test_the_widget_shows_as_a_picture_where_no_kernel_runs(scale):
    made = grid(scale=scale, image=np.zeros((6, 6), np.uint8), title="<b>", block=2)
    data, _ = made._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"panels": []}, "panels: every row needs at least one panel"),
        ({"panels": [("a", [])]}, "panels: every row needs at least one panel"),
        ({"panels": [Panel("a", np.ones((2, 2)))]}, "panels are rows of panels with a name"),
        ({"panels": [("a", [np.ones((2, 2))])]}, "row 'a' holds a ndarray; give Panel objects"),
        ({"panels": [("a", [Panel("p", np.ones(3))])]}, r"panels\[0\]\[0\].values has shape \[3\]"),
        ({"columns": ["x"]}, "columns has 1 titles, row 'cat' has 2 panels"),
        ({"columns": 2}, "columns is 2; pass one title a column"),
        ({"scale": "figure"}, "scale is 'figure'; it takes row, panel, grid"),
        ({"opacity": 2}, "opacity is 2; it takes 0 to 1"),
        ({"block": True}, "block is True"),
    ],
)
def test_bad_arguments_are_named(given, message):
    rows = [("cat", [Panel("one", np.ones((2, 2))), Panel("two", np.ones((2, 2)))])]
    with pytest.raises(InputError, match=message):
        CompareGrid(**{"panels": rows} | given)


def test_unknown_arguments_are_refused_by_name():
    with pytest.raises(TypeError, match="alpha"):
        grid(alpha=0.5)
