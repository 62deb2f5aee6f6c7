"""Running mean and variance over references, combined chunk by chunk."""

import numpy as np


class Moments:
    """Mean and sum of squared deviations of samples seen in chunks (Chan et al. 1979), float64.

    Any number of samples takes the memory of two arrays.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray | None = None
        self._squares: np.ndarray | None = None

    def add(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        """Add ``count`` samples with this mean and sum of squared deviations from it."""
        if self.mean is None or self._squares is None:
            self.mean, self._squares = mean.astype(np.float64), squares.astype(np.float64)
            self.count = count
            return
        total = self.count + count
        gap = mean - self.mean
        self._squares += squares
        self._squares += gap**2 * (self.count * count / total)
        self.mean += gap * (count / total)
        self.count = total

    def plus(self, count: int, mean: np.ndarray, squares: np.ndarray) -> "Moments":
        """Return the moments with more samples added; these stay as they are."""
        other = Moments()
        if self.mean is not None and self._squares is not None:
            other.add(self.count, self.mean.copy(), self._squares.copy())
        other.add(count, mean, squares)
        return other

    @property
    def standard_error(self) -> np.ndarray | None:
        """Standard error of the mean, s / sqrt(count) with ddof 1; None for fewer than two."""
        if self._squares is None or self.count < 2:
            return None
        error: np.ndarray = np.sqrt(self._squares / (self.count - 1) / self.count)
        return error
