from dataclasses import asdict

import numpy as np
import pytest

from onnxshap.errors import InputError
from onnxshap_widgets.agreement import (
    agreement,
    rank_correlation,
    relative_difference,
    top_overlap,
)
from tests.helpers.javascript import evaluate

A = np.array([[1.0, -5.0, 2.0], [0.0, 3.0, 4.0]])


def test_a_map_agrees_with_itself():
    found = agreement(A, A)
    assert found.rank_correlation == pytest.approx(1)
    assert (found.top_overlap, found.share, found.left_out) == (1, 0.1, 0)
    assert (found.relative_difference, found.largest_difference) == (0, 0)


def test_rank_correlation_sees_order_only():
    assert rank_correlation(A, A**3) == pytest.approx(1)
    assert rank_correlation(A, -A) == pytest.approx(-1)
    assert np.isnan(rank_correlation(A, np.ones_like(A)))


def test_ties_get_their_average_rank():
    # ranks (0.5, 0.5, 2, 3) and (0, 1, 2, 3): Pearson's correlation of these by hand
    assert rank_correlation([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_without_ties_it_is_the_textbook_formula():
    a, b = np.random.default_rng(0).normal(size=(2, 200))
    d = np.argsort(np.argsort(a)) - np.argsort(np.argsort(b))
    assert rank_correlation(a, b) == pytest.approx(1 - 6 * (d @ d) / (200 * (200**2 - 1)))


def test_top_features_go_by_magnitude():
    assert top_overlap(A, -A, 0.5) == 1
    assert top_overlap([-9, 1, 1, 8], [3, 0, 9, 0], 0.5) == 0.5
    assert top_overlap([-9, 1, 1, 8], [0, 0, 9, 3], 0.25) == 0
    assert top_overlap(np.ones(10), np.ones(10), 0.3) == 1  # among equals always the same ones


def test_the_share_is_rounded_to_features_and_never_none():
    a, b = np.arange(10.0), np.arange(10.0)[::-1]
    assert top_overlap(a, a, 0.001) == 1
    assert top_overlap(a, b, 1.0) == 1
    assert top_overlap(a, b, 0.55) == pytest.approx(2 / 6)


def test_differences_are_relative_to_both():
    assert relative_difference([3.0, 4.0], [0.0, 0.0]) == pytest.approx(np.sqrt(2))
    assert relative_difference([1.0, 1.0], [-1.0, -1.0]) == pytest.approx(2)
    assert np.isnan(relative_difference([0.0], [0.0]))
    assert agreement([2.0, 4.0], [2.0, 3.0]).largest_difference == pytest.approx(0.25)


def test_what_is_not_finite_is_left_out_and_counted():
    a, b = [1.0, np.nan, 3.0, 4.0], [1.0, 2.0, np.inf, 4.0]
    found = agreement(a, b)
    assert (found.left_out, found.relative_difference) == (2, 0)
    assert found.rank_correlation == pytest.approx(1)
    none = agreement([np.nan], [1.0])
    assert np.isnan([none.rank_correlation, none.top_overlap, none.relative_difference]).all()


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match=r"shape \[2, 3\] and \[3, 2\] cannot be compared"):
        agreement(A, A.T)
    for share in (0, 1.5, True, "all"):
        with pytest.raises(InputError, match=f"share is {share!r}"):
            agreement(A, A, share=share)


@pytest.mark.parametrize("levels", [0, 5], ids=["distinct", "ties"])
def test_the_browser_has_the_same_numbers(levels):
    rng = np.random.default_rng(1)
    a = rng.normal(size=700)
    b = a + rng.normal(size=700)
    if levels:
        a, b = np.round(a * levels) / levels, np.round(b * levels) / levels
    ours = evaluate(
        ("maps", "compare"),
        "m.agree(Float64Array.from(a), Float64Array.from(b), 0.05)",
        a=a.tolist(),
        b=b.tolist(),
    )
    wanted = asdict(agreement(a, b, share=0.05))
    assert ours["topOverlap"] == wanted["top_overlap"]
    assert ours["rankCorrelation"] == pytest.approx(wanted["rank_correlation"], abs=1e-12)
    assert ours["relativeDifference"] == pytest.approx(wanted["relative_difference"], abs=1e-12)
    assert ours["largestDifference"] == pytest.approx(wanted["largest_difference"], abs=1e-12)
