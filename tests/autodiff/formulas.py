"""Multipliers a second time, in plain algebra: one explicand, one reference, explicit loops.

Written from the definitions (secants, two-player Shapley values, cross-max, sums of logarithmic
means), not from the rules. Arrays are as the operator sees them, with a batch of one sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from tests.helpers.cases import Case
from tests.helpers.gradcheck import forward

Operands = list[np.ndarray]
Slopes = list[np.ndarray]


@dataclass(frozen=True)
class Pair:
    """One node between two points: both sides' inputs and outputs, and its output's multiplier."""

    case: Case
    x: Operands
    r: Operands
    y: np.ndarray
    y0: np.ndarray
    m: np.ndarray

    def attr(self, name: str, default: Any) -> Any:
        """An attribute; floats as ONNX keeps them, in float32."""
        value = self.case.attrs.get(name, default)
        return float(np.float32(value)) if isinstance(value, float) else value


Formula = Callable[[Pair], Slopes]
"""Multipliers of all inputs, in their order; those of constants are not looked at."""


def divided(rise: np.ndarray, run: np.ndarray) -> np.ndarray:
    """rise / run, 0 where run is 0."""
    return np.divide(rise, run, out=np.zeros(np.broadcast(rise, run).shape), where=run != 0)


def summed_to(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an operand of ``shape`` was broadcast."""
    value = value.sum(axis=tuple(range(value.ndim - len(shape))))
    axes = tuple(k for k, size in enumerate(shape) if size == 1 and value.shape[k] != 1)
    return value.sum(axis=axes, keepdims=True)


def broadcasting(formula: Formula) -> Formula:
    """Give an elementwise formula operands of one shape, and sum its answers back."""

    def wrapped(p: Pair) -> Slopes:
        x, r = ([np.broadcast_to(v * 1.0, p.y.shape) for v in side] for side in (p.x, p.r))
        slopes = formula(Pair(p.case, x, r, p.y, p.y0, p.m))
        return [
            summed_to(np.broadcast_to(p.m * slope, p.y.shape), own.shape)
            for slope, own in zip(slopes, p.x, strict=True)
        ]

    return wrapped


# Elementwise --------------------------------------------------------------------------------------


@broadcasting
def secant(p: Pair) -> Slopes:
    """dy / dx: the only complete multiplier of a function of one number."""
    return [divided(p.y - p.y0, p.x[0] - p.r[0]), *[np.zeros(())] * (len(p.x) - 1)]


def shapley(
    f: Callable[[np.ndarray, np.ndarray], np.ndarray], x: Sequence[Any], r: Sequence[Any]
) -> Slopes:
    """Two players: mean of what each adds when it moves first and when it moves second."""
    (a, b), (a0, b0) = x, r
    first = (f(a, b0) - f(a0, b0), f(a0, b) - f(a0, b0))
    second = (f(a, b) - f(a0, b), f(a, b) - f(a, b0))
    deltas = (a - a0, b - b0)
    return [divided((u + v) / 2, d) for u, v, d in zip(first, second, deltas, strict=True)]


@broadcasting
def power(p: Pair) -> Slopes:
    """Two players; with a constant exponent, the secant."""
    return shapley(np.power, p.x, p.r)


@broadcasting
def quotient(p: Pair) -> Slopes:
    """a times 1/b, both at their midpoints; 1/b has slope -1/(b b0)."""
    (a, b), (a0, b0) = p.x, p.r
    return [(1 / b + 1 / b0) / 2, -(a + a0) / 2 / (b * b0)]


@broadcasting
def extremum(p: Pair) -> Slopes:
    """Two players at a time: the extremum so far, and the next input."""
    f = np.maximum if p.case.op == "Max" else np.minimum
    so_far, slopes = (p.x[0], p.r[0]), [np.ones(p.y.shape)]
    for x, r in zip(p.x[1:], p.r[1:], strict=True):
        left, right = shapley(f, (so_far[0], x), (so_far[1], r))
        slopes = [s * left for s in slopes] + [right]
        so_far = f(so_far[0], x), f(so_far[1], r)
    return slopes


@broadcasting
def choice(p: Pair) -> Slopes:
    """Mean of the two gates, moved by the least amount that makes the sum right."""
    (c, x, y), (c0, x0, y0) = p.x, p.r
    gates = np.stack([(c + c0) / 2, 1 - (c + c0) / 2])
    deltas = np.stack([x - x0, y - y0])
    missing = p.y - p.y0 - (gates * deltas).sum(0)
    gates = gates + divided(missing, (deltas**2).sum(0)) * deltas
    return [np.zeros(p.y.shape), gates[0], gates[1]]


# Linear and bilinear ------------------------------------------------------------------------------


def multilinear(p: Pair) -> Slopes:
    """Column by column: f(unit vector) - f(0), the other operands at their midpoints."""
    slopes = []
    middle = [(a + b) / 2 if a.dtype.kind == "f" else a for a, b in zip(p.x, p.r, strict=True)]
    for i, own in enumerate(p.x):
        if f"x{i}" not in p.case.free:
            slopes.append(np.zeros(own.shape))
            continue
        columns = _jacobian(p, i, middle)
        slopes.append((columns @ p.m.ravel()).reshape(own.shape))
    return slopes


def _jacobian(p: Pair, i: int, middle: Operands) -> np.ndarray:
    """[elements of input i, elements of the output], one run on a batch of unit vectors."""
    size, batch = middle[i].size, p.case.batch
    units = np.vstack([np.eye(size), np.zeros((1, size))])
    feeds = {}
    for name in (*p.case.free, *p.case.rows):
        own = np.moveaxis(middle[int(name[1:])], batch if name in p.case.free else 0, 0)
        feeds[name] = np.repeat(own, size + 1, axis=0)
    shape = middle[i].shape
    moved = np.moveaxis(units.reshape(size + 1, *shape), batch + 1, 1)
    feeds[f"x{i}"] = moved.reshape(size + 1, *moved.shape[2:])
    y = forward(p.case)(feeds).reshape(size + 1, -1)
    return y[:-1] - y[-1]


# Maxima -------------------------------------------------------------------------------------------


def cross_max(p: Pair, windows: Callable[[Pair], Any], sign: float = 1.0) -> Slopes:
    """A rise is owed to the place of x's maximum, a fall to the place of r's; sums accumulate.

    ``windows``: yields (output place, list of input places).
    """
    x, r = sign * p.x[0], sign * p.r[0]
    owed = np.zeros(x.shape)
    for out, places in windows(p):
        here, there = [x[k] for k in places], [r[k] for k in places]
        top, top0 = max(here), max(there)
        larger = max(top, top0)
        owed[places[here.index(top)]] += p.m[out] * sign * (larger - top0)
        owed[places[there.index(top0)]] += p.m[out] * sign * (top - larger)
    return [sign * sign * divided(owed, p.x[0] - p.r[0])]


def pool_windows(p: Pair) -> Any:
    """Windows of a MaxPool, from its output's size and its attributes."""
    sizes, outputs = p.x[0].shape[2:], p.y.shape[2:]
    rank, kernel = len(sizes), p.attr("kernel_shape", None)
    strides, dilations = p.attr("strides", [1] * rank), p.attr("dilations", [1] * rank)
    begin = list(p.attr("pads", [0] * 2 * rank)[:rank])
    if str(p.attr("auto_pad", "")).startswith("SAME"):
        for i in range(rank):
            total = (outputs[i] - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - sizes[i]
            lower = p.attr("auto_pad", "") == "SAME_LOWER"
            begin[i] = (max(0, total) + lower) // 2
    for out in np.ndindex(p.y.shape):
        places = []
        for tap in product(*map(range, kernel)):
            at = [
                o * s + t * d - b
                for o, s, t, d, b in zip(out[2:], strides, tap, dilations, begin, strict=True)
            ]
            if all(0 <= a < size for a, size in zip(at, sizes, strict=True)):
                places.append((*out[:2], *at))
        yield out, places


def axis_windows(axes: list[int], keep: bool) -> Callable[[Pair], Any]:
    """Whole axes as windows."""

    def windows(p: Pair) -> Any:
        shape = p.x[0].shape
        for place in np.ndindex(*(1 if k in axes else n for k, n in enumerate(shape))):
            ranges = [range(n) if k in axes else [place[k]] for k, n in enumerate(shape)]
            out = place if keep else tuple(v for k, v in enumerate(place) if k not in axes)
            yield out, list(product(*ranges))

    return windows


def reduced(p: Pair) -> list[int]:
    """Axes of a reduction."""
    rank = p.x[0].ndim
    if len(p.case.inputs) < 2:
        return [] if p.attr("noop_with_empty_axes", 0) else list(range(rank))
    return [int(a) % rank for a in p.case.inputs[1]]


def max_pool(p: Pair) -> Slopes:
    return cross_max(p, pool_windows)


def global_max_pool(p: Pair) -> Slopes:
    return cross_max(p, axis_windows(list(range(2, p.x[0].ndim)), keep=True))


def reduce_extremum(p: Pair) -> Slopes:
    axes, keep = reduced(p), bool(p.attr("keepdims", 1))
    sign = 1.0 if p.case.op == "ReduceMax" else -1.0
    return [*cross_max(p, axis_windows(axes, keep), sign), np.zeros(())]


def reduce_l2(p: Pair) -> Slopes:
    """Slope of the square, x + r, times slope of the root, 1 / (y + y0), element by element."""
    slopes = np.zeros(p.x[0].shape)
    for out, places in axis_windows(reduced(p), bool(p.attr("keepdims", 1)))(p):
        for k in places:
            slopes[k] = p.m[out] * (p.x[0][k] + p.r[0][k]) / (p.y[out] + p.y0[out])
    return [slopes, np.zeros(())]


# Softmax ------------------------------------------------------------------------------------------


def logarithmic_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a - b) / (log a - log b)."""
    same = a == b
    return np.where(same, a, (a - b) / np.where(same, 1.0, np.log(a) - np.log(b)))


def softmax(p: Pair) -> Slopes:
    """p_i = exp(s_i - L): slope of exp less the weights of L's change, row by row."""
    axis = p.attr("axis", -1)
    s, r, m, y, y0 = (np.moveaxis(v, axis, -1) for v in (p.x[0], p.r[0], p.m, p.y, p.y0))
    slopes = np.zeros(s.shape)
    for row in np.ndindex(s.shape[:-1]):
        level, level0 = np.log(np.exp(s[row]).sum()), np.log(np.exp(r[row]).sum())
        c = max(level, level0)
        weights = logarithmic_mean(np.exp(s[row] - c), np.exp(r[row] - c))
        weights = weights / logarithmic_mean(np.exp(level - c), np.exp(level0 - c))
        t = m[row]
        if p.case.op == "Softmax":
            t = t * logarithmic_mean(y[row], y0[row])
        slopes[row] = t - weights * t.sum()
    return [np.moveaxis(slopes, -1, axis)]


# Normalisations -----------------------------------------------------------------------------------


def standardised(x: np.ndarray, r: np.ndarray, m: np.ndarray, epsilon: float) -> np.ndarray:
    """One group, as vectors: centre (a matrix), square, mean, reciprocal root, product."""
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n
    c, c0 = centring @ x, centring @ r
    u, u0 = (c @ c) / n + epsilon, (c0 @ c0) / n + epsilon
    s, s0 = u**-0.5, u0**-0.5
    slope = (s - s0) / (u - u0) if u != u0 else -0.5 * u**-1.5
    m_s = m @ (c + c0) / 2
    m_c = m * (s + s0) / 2 + m_s * slope * (c + c0) / n
    return centring.T @ m_c


def layer_normalization(p: Pair) -> Slopes:
    first = p.attr("axis", -1) % p.x[0].ndim
    lead = p.x[0].shape[:first]
    x, r, m = (v.reshape(*lead, -1) for v in (p.x[0], p.r[0], p.m * p.x[1]))
    slopes = np.zeros(x.shape)
    for row in np.ndindex(lead):
        slopes[row] = standardised(x[row], r[row], m[row], p.attr("epsilon", 1e-5))
    return [slopes.reshape(p.x[0].shape), *p.x[1:]]


def instance_normalization(p: Pair) -> Slopes:
    slopes = np.zeros(p.x[0].shape)
    for row in np.ndindex(slopes.shape[:2]):
        x, r, m = (v[row].ravel() for v in (p.x[0], p.r[0], p.m))
        found = standardised(x, r, m * p.x[1][row[1]], p.attr("epsilon", 1e-5))
        slopes[row] = found.reshape(slopes.shape[2:])
    return [slopes, *p.x[1:]]


def lrn(p: Pair) -> Slopes:
    """x d^-beta, d a sum over neighbouring channels: product, power, then square by square."""
    x, r, size = p.x[0], p.r[0], p.attr("size", None)
    alpha, beta, bias = (
        p.attr(name, default) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    slopes, channels = np.zeros(x.shape), x.shape[1]
    for c in range(channels):
        first, last = c - (size - 1) // 2, c + size // 2
        near = [j for j in range(channels) if first <= j <= last]
        d, d0 = (bias + alpha / size * (v[:, near] ** 2).sum(1) for v in (x, r))
        u, u0, m = d**-beta, d0**-beta, p.m[:, c]
        slopes[:, c] += m * (u + u0) / 2
        m_d = m * (x[:, c] + r[:, c]) / 2 * divided(u - u0, d - d0)
        for j in near:
            slopes[:, j] += m_d * alpha / size * (x[:, j] + r[:, j])
    return [slopes]


_UNARY = [
    "Abs",
    "Ceil",
    "Clip",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Softplus",
    "Sqrt",
    "Tanh",
]

NONLINEAR: dict[str, Formula] = {
    **dict.fromkeys(_UNARY, secant),
    "Div": quotient,
    "GlobalMaxPool": global_max_pool,
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": softmax,
    "Max": extremum,
    "MaxPool": max_pool,
    "Min": extremum,
    "Pow": power,
    "ReduceL2": reduce_l2,
    "ReduceMax": reduce_extremum,
    "ReduceMin": reduce_extremum,
    "Softmax": softmax,
    "Where": choice,
}
