"""Comparisons of arrays."""

import numpy as np


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-6) -> None:
    """Compare to ``tolerance`` of the largest expected value."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())
