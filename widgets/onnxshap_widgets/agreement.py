"""How far two attribution maps agree: their ranks, their largest features, and their differences.

Values that are not finite on either side are left out of all numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxshap.errors import InputError

SHARE = 0.1


@dataclass(frozen=True)
class Agreement:
    """Agreement of two maps of equal shape; NaN where a number is not defined."""

    rank_correlation: float
    """Spearman's, over signed values: 1 where both put all features in one order."""
    top_overlap: float
    """Share of the features with the largest |value| in one map that are among the other's."""
    share: float
    """How many features count as the largest, as a share of all."""
    relative_difference: float
    """Root mean square of the difference over that of both maps: 0 where equal."""
    largest_difference: float
    """Largest |difference| over the largest |value| of both maps."""
    left_out: int = 0
    """How many features are not finite in one map or both."""


def agreement(a: Any, b: Any, share: float = SHARE) -> Agreement:
    """Compare two maps of equal shape.

    Parameters
    ----------
    a, b : array
        Attributions, in the same units.
    share : float
        Which share of the features counts as the largest, above 0 and up to 1.

    Returns
    -------
    Agreement

    Raises
    ------
    InputError
        If the shapes differ or the share is no share.
    """
    first, second = _pair(a, b)
    return Agreement(
        rank_correlation=rank_correlation(first, second),
        top_overlap=top_overlap(first, second, share),
        share=float(share),
        relative_difference=relative_difference(first, second),
        largest_difference=_over(
            np.abs(first - second).max(initial=0.0),
            max(np.abs(first).max(initial=0.0), np.abs(second).max(initial=0.0)),
        ),
        left_out=np.size(a) - first.size,
    )


def rank_correlation(a: Any, b: Any) -> float:
    """Spearman's rank correlation, ties given their average rank; NaN where a map is constant."""
    first, second = (_ranks(values) for values in _pair(a, b))
    if not first.size:
        return float("nan")
    first, second = first - first.mean(), second - second.mean()
    return _over(first @ second, np.sqrt((first @ first) * (second @ second)))


def top_overlap(a: Any, b: Any, share: float = SHARE) -> float:
    """Share of the features with the largest |value| in ``a`` that are also among those of ``b``.

    Of equal values the earlier feature counts as the larger, so that the answer is always the same.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise InputError(f"share is {share!r}; it takes 0 (excluded) to 1")
    first, second = _pair(a, b)
    if not first.size:
        return float("nan")
    count = max(1, int(np.floor(share * first.size + 0.5)))
    one, other = (np.argsort(-np.abs(v), kind="stable")[:count] for v in (first, second))
    return float(np.intersect1d(one, other, assume_unique=True).size / count)


def relative_difference(a: Any, b: Any) -> float:
    """Root mean square of ``a - b`` over that of both maps together; NaN where both are 0."""
    first, second = _pair(a, b)
    both = (first @ first + second @ second) / 2
    return _over(np.sqrt((first - second) @ (first - second)), np.sqrt(both))


def _pair(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Both maps flat, in float64, where both are finite."""
    first, second = (np.asarray(values, dtype=np.float64) for values in (a, b))
    if first.shape != second.shape:
        raise InputError(
            f"maps of shape {list(first.shape)} and {list(second.shape)} cannot be compared value "
            "by value; sum both over blocks of one shape first"
        )
    finite = np.isfinite(first) & np.isfinite(second)
    return first[finite], second[finite]


def _ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each value, 0 for the smallest; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return np.asarray((last - (counts - 1) / 2)[place])


def _over(part: Any, whole: Any) -> float:
    return float(part / whole) if whole > 0 else float("nan")
