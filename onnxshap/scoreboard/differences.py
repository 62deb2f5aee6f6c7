"""Derivatives by hand: central differences of a function of arrays, and whether they can be had."""

from dataclasses import dataclass

import numpy as np

from onnxshap.scoreboard.runners import Arrays, Run


@dataclass(frozen=True)
class Ladder:
    """Steps to try, and when to trust them."""

    steps: tuple[float, ...]
    agree: float
    """Two steps whose estimates are this close (relative): the first such two are taken."""
    settled: float
    """No two steps closer than this: there is no derivative to compare with."""
    kink: float
    """One-sided slopes that differ by this much at every step: a kink or a jump."""
    tolerance: float
    """How far a right gradient may be from the estimate."""


DOUBLE = Ladder((1e-6, 1e-5, 1e-4, 1e-3, 1e-2), 1e-6, 1e-3, 1e-2, 1e-4)

FLOOR = 1e-3
"""A slope smaller than this share of what is added up for it is judged by that share."""
EVERY = 64
"""Inputs of at most so many elements are moved along each of them, too."""


class Unsettled(Exception):
    """Finite differences do not tell a derivative here."""


@dataclass(frozen=True)
class Function:
    """A case's outputs, weighted and summed to one number; the weights are the cotangents."""

    run: Run
    seeds: Arrays
    """Cotangent of every float output."""

    def weighed(self, x: Arrays) -> np.ndarray:
        """Every output element times its cotangent, float64, in one row."""
        y = self.run(x)
        parts = [weigh(y[name], seed).ravel() for name, seed in self.seeds.items()]
        return np.concatenate(parts)


def weigh(y: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Output times cotangent; 0 where the cotangent is, whatever the output."""
    with np.errstate(invalid="ignore"):
        return np.where(seed == 0, 0.0, y.astype(np.float64) * seed)


@dataclass(frozen=True)
class Slopes:
    """Derivatives of a function of one input, along directions."""

    directions: np.ndarray
    """[D, *x]"""
    values: np.ndarray
    """[D]"""
    scale: float
    """What is added up for one of them: the largest sum of magnitudes over output elements."""
    error: float
    """How far the estimates that agreed were apart, as a share of the scale."""
    tolerance: float
    """How far a right gradient may be from them, as a share of each."""

    @property
    def zero(self) -> bool:
        """Whether nothing the input does can be seen at the output."""
        return self.scale == 0

    def gap(self, gradient: np.ndarray) -> float:
        """Worst distance of a gradient [*x] from the slopes, in tolerances: right is at most 1."""
        if gradient.shape != self.directions.shape[1:] or not np.isfinite(gradient).all():
            return np.inf
        if self.zero:
            return 0.0 if not gradient.any() else np.inf
        count = len(self.directions)
        taken = self.directions.reshape(count, -1) @ gradient.ravel()
        bound = self.tolerance * np.maximum(np.abs(self.values), FLOOR * self.scale)
        bound = np.maximum(bound, 3 * self.error * self.scale)
        return float((np.abs(taken - self.values) / bound).max(initial=0))


def slopes(
    function: Function,
    x: Arrays,
    name: str,
    rng: np.random.Generator,
    ladder: Ladder = DOUBLE,
) -> Slopes:
    """Differentiate by hand in input ``name``: along three random directions, and each element.

    Elements that are not finite stay where they are.

    Raises
    ------
    Unsettled
        If the estimates of no two steps agree, or a kink or a jump lies at ``x``.
    """
    shape, middle, finite = x[name].shape, function.weighed(x), np.isfinite(x[name])
    directions = rng.normal(size=(3, *shape)) * finite
    settled = [_settle(function, x, name, u, middle, ladder) for u in directions]
    taken = [s.slope for s in settled]
    if 1 <= finite.size <= EVERY:
        units = (np.eye(finite.size) * finite.ravel()).reshape(-1, *shape)
        step = min(s.step for s in settled)
        taken += [_central(_sides(function, x, name, u, step), step) for u in units]
        directions = np.concatenate([directions, units])
    rows = np.array(taken)
    scale = float(np.abs(rows).sum(1).max(initial=0))
    if not np.isfinite(scale):
        raise Unsettled("a difference is not a number")
    error = max(s.error for s in settled)
    return Slopes(directions, rows.sum(1), scale, error, ladder.tolerance)


@dataclass(frozen=True)
class _Settled:
    """The slope of every output element along a direction, and the step it was taken with."""

    step: float
    slope: np.ndarray
    error: float


def _settle(
    function: Function,
    x: Arrays,
    name: str,
    direction: np.ndarray,
    middle: np.ndarray,
    ladder: Ladder,
) -> _Settled:
    """Widen the step until two estimates agree."""
    best, least, previous = _Settled(ladder.steps[0], middle, np.inf), np.inf, None
    for step in ladder.steps:
        sides = _sides(function, x, name, direction, step)
        slope = _central(sides, step)
        size = float(np.abs(slope).sum())
        bend = float(np.abs(sides[0] + sides[1] - 2 * middle).sum()) / (2 * step)
        if not np.isfinite(bend + size):
            break
        least = min(least, bend / max(size, 1e-3))
        if previous is not None:
            apart = float(np.abs(slope - previous.slope).sum())
            error = apart / size if size else np.inf * apart if apart else 0.0
            if error < best.error:
                best = _Settled(previous.step, previous.slope, error)
            if best.error <= ladder.agree and least <= ladder.kink:
                return best
        previous = _Settled(step, slope, np.inf)
    if previous is None:
        raise Unsettled("a difference is not a number")
    if least > ladder.kink:
        raise Unsettled("a kink or a jump")
    if best.error > ladder.settled:
        raise Unsettled(f"no two steps agree better than {best.error:.0e}")
    return best


def _sides(
    function: Function, x: Arrays, name: str, direction: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    before, after = (
        function.weighed(x | {name: (x[name] + way * step * direction).astype(x[name].dtype)})
        for way in (-1, 1)
    )
    return before, after


def _central(sides: tuple[np.ndarray, np.ndarray], step: float) -> np.ndarray:
    difference: np.ndarray = (sides[1] - sides[0]) / (2 * step)
    return difference
