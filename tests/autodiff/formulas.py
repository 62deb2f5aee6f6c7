"""Multipliers a second time, in plain algebra: one explicand, one reference, explicit loops.

Written from the definitions (secants, two-player Shapley values, cross-max, sums of logarithmic
means), not from the rules. Arrays are as the operator sees them, with a batch of one sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import erf, exp, pi, sqrt, tanh
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
def remainder(p: Pair) -> Slopes:
    """Two players; with a constant divisor, the secant."""
    return shapley(np.fmod, p.x, p.r)


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


@broadcasting
def prelu(p: Pair) -> Slopes:
    """Two terms: max(x, 0), by its secant, and the product of slope and min(x, 0)."""
    (x, a), (x0, a0) = p.x, p.r
    u, u0, d = np.minimum(x, 0), np.minimum(x0, 0), x - x0
    rise = np.maximum(x, 0) - np.maximum(x0, 0)
    return [divided(rise + (u - u0) * (a + a0) / 2, d), (u + u0) / 2]


def hardmax(p: Pair) -> Slopes:
    """Row by row a function of the lead of one element over another: who wins changes hands."""
    axis = p.attr("axis", -1)
    x, r, m, y, y0 = (np.moveaxis(v, axis, -1) for v in (p.x[0], p.r[0], p.m, p.y, p.y0))
    slopes = np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        i, j = int(y[row].argmax()), int(y0[row].argmax())
        if i != j:
            lead, lead0 = (v[row][i] - v[row][j] for v in (x, r))
            slope = (m[row][i] - m[row][j]) / (lead - lead0)
            slopes[row][i], slopes[row][j] = slope, -slope
    return [np.moveaxis(slopes, -1, axis)]


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
    size = middle[i].size
    y = _outputs(p, i, middle, np.vstack([np.eye(size), np.zeros((1, size))]))
    return y[:-1] - y[-1]


def _outputs(p: Pair, i: int, middle: Operands, values: np.ndarray) -> np.ndarray:
    """[V, elements of the output], one for each of ``values`` [V, elements of input i]."""
    count, batch, shape = len(values), p.case.batch, middle[i].shape
    feeds = {}
    for name in (*p.case.free, *p.case.rows):
        own = middle[int(name[1:])]
        own = (
            own[None] if p.case.alone else np.moveaxis(own, batch if name in p.case.free else 0, 0)
        )
        feeds[name] = np.repeat(own, count, axis=0)
    moved = values.reshape(count, *shape)
    if not p.case.alone:
        moved = np.moveaxis(moved, batch + 1, 1)
        moved = moved.reshape(count, *moved.shape[2:])
    feeds[f"x{i}"] = moved
    return forward(p.case)(feeds).reshape(count, -1)


# Least norm ---------------------------------------------------------------------------------------


def least_norm(p: Pair, along: int | None = None) -> Slopes:
    """Mean of the gradients at both ends, moved along the deltas until the sum is right.

    Gradients are differences. ``along``: the axis whose rows are each complete; None: the sample.
    """
    slopes, moves = [], []
    for i, own in enumerate(p.x):
        moves.append(own - p.r[i] if f"x{i}" in p.case.explained else np.zeros(own.shape))
        slopes.append((_gradient(p, i, p.x) + _gradient(p, i, p.r)) / 2)
    missing = _total(p.m * (p.y - p.y0), along)
    missing = missing - sum(_total(g * d, along) for g, d in zip(slopes, moves, strict=True))
    norm = sum(_total(d * d, along) for d in moves)
    return [g + divided(missing, np.asarray(norm)) * d for g, d in zip(slopes, moves, strict=True)]


def _total(value: np.ndarray, along: int | None) -> np.ndarray:
    return np.asarray(value.sum(axis=along, keepdims=along is not None))


def _gradient(p: Pair, i: int, at: Operands) -> np.ndarray:
    """Gradient of m y in input ``i``, by central differences of fourth order."""
    if f"x{i}" not in p.case.explained:
        return np.zeros(at[i].shape)
    step, size = 1e-5, at[i].size
    ends = [_outputs(p, i, at, at[i].ravel() + k * step * np.eye(size)) for k in (-2, -1, 1, 2)]
    slopes = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
    m = p.m if p.case.alone else np.moveaxis(p.m, forward(p.case).batch, 0)
    return np.asarray((slopes @ m.ravel()).reshape(at[i].shape))


def placed(p: Pair) -> Slopes:
    """Data and updates: linear where they are placed or added, else the least norm."""
    reduction = p.attr("reduction", "none")
    linear = reduction in ("none", "add") or len(p.case.free) == 1
    if not linear:
        return least_norm(p)
    batch_first = p.m if p.case.alone else np.moveaxis(p.m, forward(p.case).batch, 0)
    return multilinear(replace(p, m=batch_first))


def grid_sample(p: Pair) -> Slopes:
    """Linear in the image while the grid stays."""
    return least_norm(p) if len(p.case.free) > 1 else multilinear(p)


def roi_align(p: Pair) -> Slopes:
    """Linear in the image while the regions stay and means are taken."""
    averages = p.attr("mode", "avg") == "avg" and len(p.case.free) == 1
    return multilinear(p) if averages else least_norm(p)


def deform_conv(p: Pair) -> Slopes:
    return least_norm(p)


def top_k(p: Pair) -> Slopes:
    """Rows of which the largest were taken."""
    return [least_norm(replace(p, x=p.x[:1], r=p.r[:1]), p.attr("axis", -1))[0], np.zeros(())]


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


def roi_windows(p: Pair) -> Any:
    """Bins of a MaxRoiPool."""
    scale, shape = p.attr("spatial_scale", 1.0), p.x[0].shape
    for out in np.ndindex(p.y.shape):
        sample, *corners = p.x[1][out[0]]
        first, last = ([int(np.floor(c * scale + 0.5)) for c in corners[k : k + 2]] for k in (0, 2))
        ranges = []
        for i, size in enumerate(shape[2:]):
            step = max(last[1 - i] - first[1 - i] + 1, 1) / p.y.shape[2 + i]
            here = range(int(np.floor(out[2 + i] * step)), int(np.ceil((out[2 + i] + 1) * step)))
            ranges.append([first[1 - i] + k for k in here if 0 <= first[1 - i] + k < size])
        places = [(int(sample), out[1], *at) for at in product(*ranges)]
        if places:
            yield out, places


def max_roi_pool(p: Pair) -> Slopes:
    """Bins of the same places on both sides, unless regions move."""
    return least_norm(p) if len(p.case.free) > 1 else [*cross_max(p, roi_windows), np.zeros(())]


def lp_pool(p: Pair) -> Slopes:
    """Window by window: slope of the root of the sum, times each element's slope of |x|^p."""
    x, r, order = p.x[0], p.r[0], p.attr("p", 2)
    glob = p.case.op == "GlobalLpPool"
    windows = axis_windows(list(range(2, x.ndim)), keep=True) if glob else pool_windows
    slopes = np.zeros(x.shape)
    for out, places in windows(p):
        s, s0 = (sum(abs(v[k]) ** order for k in places) for v in (x, r))
        root = (p.y[out] - p.y0[out]) / (s - s0)
        for k in places:
            if x[k] != r[k]:
                rise = abs(x[k]) ** order - abs(r[k]) ** order
                slopes[k] += p.m[out] * root * rise / (x[k] - r[k])
    return [slopes]


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


def reduction_by(inner: Callable[[np.ndarray, np.ndarray], np.ndarray], outer: Any) -> Formula:
    """Slope of the elements' function times slope of their sum's, element by element."""

    def formula(p: Pair) -> Slopes:
        slopes = np.zeros(p.x[0].shape)
        for out, places in axis_windows(reduced(p), bool(p.attr("keepdims", 1)))(p):
            for k in places:
                slopes[k] = p.m[out] * outer(p.y[out], p.y0[out]) * inner(p.x[0][k], p.r[0][k])
        return [slopes, np.zeros(())]

    return formula


reduce_l1 = reduction_by(lambda x, r: (abs(x) - abs(r)) / (x - r), lambda y, y0: 1.0)
reduce_sum_square = reduction_by(lambda x, r: x + r, lambda y, y0: 1.0)
reduce_log_sum = reduction_by(
    lambda x, r: np.ones(()), lambda y, y0: (y - y0) / (np.exp(y) - np.exp(y0))
)
reduce_log_sum_exp = reduction_by(
    lambda x, r: (np.exp(x) - np.exp(r)) / (x - r),
    lambda y, y0: (y - y0) / (np.exp(y) - np.exp(y0)),
)


def telescope(x: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Slopes of a product: from r to x element by element, forward and backward, their mean."""
    n = len(x)
    return np.array(
        [
            (x[:i].prod() * r[i + 1 :].prod() + r[:i].prod() * x[i + 1 :].prod()) / 2
            for i in range(n)
        ]
    )


def reduce_prod(p: Pair) -> Slopes:
    """Telescoped along one axis after the other, in the order in which they are named."""
    x, r, m = p.x[0], p.r[0], p.m
    steps = []
    for axis in reduced(p):
        steps.append((axis, x, r))
        x, r = x.prod(axis, keepdims=True), r.prod(axis, keepdims=True)
    m = m.reshape(x.shape)
    for axis, a, b in reversed(steps):
        slopes = np.zeros(a.shape)
        for place in np.ndindex(*np.delete(a.shape, axis)):
            row = (*place[:axis], slice(None), *place[axis:])
            slopes[row] = m[(*place[:axis], 0, *place[axis:])] * telescope(a[row], b[row])
        m = slopes
    return [m, np.zeros(())]


def cumprod(p: Pair) -> Slopes:
    """Each running product is one product."""
    axis = int(p.case.inputs[1]) % p.x[0].ndim
    x, r, m = (np.moveaxis(v, axis, -1) for v in (p.x[0], p.r[0], p.m))
    slopes, n = np.zeros(x.shape), x.shape[-1]
    for row in np.ndindex(x.shape[:-1]):
        for k in range(n):
            first, stop = (k, n) if p.attr("reverse", 0) else (0, k + 1)
            if p.attr("exclusive", 0):
                first, stop = (k + 1, n) if p.attr("reverse", 0) else (0, k)
            part = slice(first, stop)
            slopes[row][part] += m[row][k] * telescope(x[row][part], r[row][part])
    return [np.moveaxis(slopes, -1, axis), np.zeros(())]


# Softmax ------------------------------------------------------------------------------------------


def logarithmic_mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a - b) / (log a - log b) = sqrt(a b) sinh(u) / u, 2u = log a - log b."""
    u = (np.log(a) - np.log(b)) / 2
    return np.sqrt(a * b) * np.where(u == 0, 1.0, np.sinh(u) / np.where(u == 0, 1.0, u))


def softmax(p: Pair) -> Slopes:
    """p_i = exp(s_i - L): slope of exp less the weights of L's change, row by row.

    Of what m is above its mean over both sides' probabilities.
    """
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
            t = (t - (t @ y[row] + t @ y0[row]) / 2) * logarithmic_mean(y[row], y0[row])
        slopes[row] = t - weights * t.sum()
    return [np.moveaxis(slopes, -1, axis)]


# Normalisations -----------------------------------------------------------------------------------


def standardised(
    x: np.ndarray, r: np.ndarray, m: np.ndarray, epsilon: float, centred: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """One group, as vectors: centre (a matrix), square, mean, reciprocal root, product.

    Returns the slopes, and the mean of both sides' results.
    """
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n if centred else np.eye(n)
    c, c0 = centring @ x, centring @ r
    u, u0 = (c @ c) / n + epsilon, (c0 @ c0) / n + epsilon
    s, s0 = u**-0.5, u0**-0.5
    slope = (s - s0) / (u - u0) if u != u0 else -0.5 * u**-1.5
    m_s = m @ (c + c0) / 2
    m_c = m * (s + s0) / 2 + m_s * slope * (c + c0) / n
    return centring.T @ m_c, (c * s + c0 * s0) / 2


def layer_normalization(p: Pair) -> Slopes:
    """Row by row; scale is a factor at its midpoint."""
    first, centred = p.attr("axis", -1) % p.x[0].ndim, p.case.op == "LayerNormalization"
    shape, lead = p.x[0].shape, p.x[0].shape[:first]
    scaled = p.m * (p.x[1] + p.r[1]) / 2
    x, r, m = (v.reshape(*lead, -1) for v in (p.x[0], p.r[0], scaled))
    slopes, z = np.zeros(x.shape), np.zeros(x.shape)
    for row in np.ndindex(lead):
        slopes[row], z[row] = standardised(x[row], r[row], m[row], p.attr("epsilon", 1e-5), centred)
    parts = zip((p.m * z.reshape(shape), p.m), p.x[1:], strict=False)  # there may be no bias
    return [slopes.reshape(shape), *(summed_to(v, own.shape) for v, own in parts)]


def instance_normalization(p: Pair) -> Slopes:
    """Image by image; scale is a factor at its midpoint."""
    slopes, z = np.zeros(p.x[0].shape), np.zeros(p.x[0].shape)
    scale = (p.x[1] + p.r[1]) / 2
    for row in np.ndindex(slopes.shape[:2]):
        x, r, m = (v[row].ravel() for v in (p.x[0], p.r[0], p.m))
        found = standardised(x, r, m * scale[row[1]], p.attr("epsilon", 1e-5))
        slopes[row], z[row] = (v.reshape(slopes.shape[2:]) for v in found)
    rest = tuple(k for k in range(slopes.ndim) if k != 1)
    return [slopes, (p.m * z).sum(rest), p.m.sum(rest)]


def batch_normalization(p: Pair) -> Slopes:
    """(x - mean) times t, t = scale times 1/sqrt(var + epsilon): two players each time."""
    view = (-1, *[1] * (p.x[0].ndim - 2))
    (x, *own), (r, *other) = p.x, p.r
    scale, _, mean, var = (v.reshape(view) for v in own)
    scale0, _, mean0, var0 = (v.reshape(view) for v in other)
    s, s0 = (1 / np.sqrt(v + p.attr("epsilon", 1e-5)) for v in (var, var0))
    of_a, of_t = shapley(np.multiply, (x - mean, scale * s), (r - mean0, scale0 * s0))
    of_a = np.where(x - mean == r - mean0, scale * s, of_a)
    factors = (scale + scale0) / 2, (s + s0) / 2
    centred = (x - mean + r - mean0) / 2
    assert np.allclose(of_t, np.where(scale * s == scale0 * s0, 0, centred))
    root = divided(s - s0, var - var0)
    parts = (centred * factors[1], np.ones(()), -of_a, centred * factors[0] * root)
    rest = tuple(k for k in range(x.ndim) if k != 1)
    return [p.m * of_a, *((p.m * v).sum(rest) for v in parts)]


def lp_normalization(p: Pair) -> Slopes:
    """Row by row: x times 1/n, the norm's reciprocal, and the norm element by element."""
    axis, order = p.attr("axis", -1), p.attr("p", 2)
    x, r, m = (np.moveaxis(v, axis, -1) for v in (p.x[0], p.r[0], p.m))
    slopes = np.zeros(x.shape)
    for row in np.ndindex(x.shape[:-1]):
        a, b = x[row], r[row]
        n, n0 = (np.linalg.norm(v, order) for v in (a, b))
        of_norm = (a + b) / (n + n0) if order == 2 else (abs(a) - abs(b)) / (a - b)
        rise = (m[row] @ (a + b) / 2) * (1 / n - 1 / n0) / (n - n0)
        slopes[row] = m[row] * (1 / n + 1 / n0) / 2 + rise * of_norm
    return [np.moveaxis(slopes, -1, axis)]


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
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Ceil",
    "Clip",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Mish",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
]

NONLINEAR: dict[str, Formula] = {
    **dict.fromkeys(_UNARY, secant),
    "Div": quotient,
    "DeformConv": deform_conv,
    "Det": least_norm,
    "GlobalLpPool": lp_pool,
    "GlobalMaxPool": global_max_pool,
    "Hardmax": hardmax,
    "InstanceNormalization": instance_normalization,
    "LRN": lrn,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": softmax,
    "LpNormalization": lp_normalization,
    "Max": extremum,
    "GridSample": grid_sample,
    "LpPool": lp_pool,
    "MaxPool": max_pool,
    "MaxRoiPool": max_roi_pool,
    "Min": extremum,
    "PRelu": prelu,
    "Mod": remainder,
    "Mul": multilinear,
    "Pow": power,
    "BatchNormalization": batch_normalization,
    "CumProd": cumprod,
    "RMSNormalization": layer_normalization,
    "ReduceL1": reduce_l1,
    "ReduceL2": reduce_l2,
    "ReduceLogSum": reduce_log_sum,
    "ReduceLogSumExp": reduce_log_sum_exp,
    "ReduceMax": reduce_extremum,
    "ReduceMin": reduce_extremum,
    "ReduceProd": reduce_prod,
    "ReduceSumSquare": reduce_sum_square,
    "RoiAlign": roi_align,
    "ScatterElements": placed,
    "ScatterND": placed,
    "Softmax": softmax,
    "TopK": top_k,
    "Where": choice,
}


# As shap.DeepExplainer has them -------------------------------------------------------------------


def normal_share(x: float) -> float:
    """Standard normal distribution function."""
    return (1 + erf(x / sqrt(2))) / 2


def gelu_by_tanh(x: float) -> float:
    """Derivative of x (1 + tanh u(x)) / 2, u a cubic."""
    a, b = sqrt(2 / pi), 0.044715
    t = tanh(a * (x + b * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * a * (1 + 3 * b * x * x)


def derivative(p: Pair, x: float) -> float:
    """Of a function of one number, the one from below at a kink."""
    alpha = p.attr("alpha", {"Elu": 1.0, "LeakyRelu": 0.01, "Selu": 1.67326319}.get(p.case.op, 0.0))
    positive = float(x > 0)
    by_operator: dict[str, Callable[[], float]] = {
        "Elu": lambda: positive or alpha * exp(x),
        "Gelu": lambda: (
            gelu_by_tanh(x)
            if p.attr("approximate", "none") == "tanh"
            else normal_share(x) + x * exp(-x * x / 2) / sqrt(2 * pi)
        ),
        "LeakyRelu": lambda: positive or alpha,
        "Relu": lambda: positive,
        "Selu": lambda: p.attr("gamma", 1.05070102) * (positive or alpha * exp(x)),
        "Sigmoid": lambda: exp(-x) / (1 + exp(-x)) ** 2,
        "Softplus": lambda: 1 / (1 + exp(-x)),
        "Tanh": lambda: 1 - tanh(x) ** 2,
    }
    return by_operator[p.case.op]()


def shap_rescale(p: Pair) -> Slopes:
    """dy / dx; the derivative at the reference where |dx| < 1e-6."""
    slopes = np.empty(p.y.shape)
    for k in np.ndindex(p.y.shape):
        d = p.x[0][k] - p.r[0][k]
        slope = derivative(p, p.r[0][k]) if abs(d) < 1e-6 else (p.y[k] - p.y0[k]) / d
        slopes[k] = p.m[k] * slope
    return [slopes]


def shap_softmax(p: Pair) -> Slopes:
    """dy / dx, logit by logit; outputs whose logit stays within 1e-6 by the logarithmic means."""
    d = p.x[0] - p.r[0]
    still = np.abs(d) < 1e-6
    own = p.m * (p.y - p.y0) / np.where(still, 1.0, d)
    (shared,) = softmax(replace(p, m=np.where(still, p.m, 0.0)))
    return [np.where(still, 0.0, own) + shared]


def shap_max_pool(p: Pair) -> Slopes:
    """Cross-max; nothing where |dx| < 1e-7."""
    (slopes,) = max_pool(p)
    return [np.where(np.abs(p.x[0] - p.r[0]) < 1e-7, 0.0, slopes)]


_SHAP_ACTIVATIONS = [
    "Elu",
    "Gelu",
    "LeakyRelu",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Tanh",
]

SHAP: dict[str, Formula] = {
    **dict.fromkeys(_SHAP_ACTIVATIONS, shap_rescale),
    "MaxPool": shap_max_pool,
    "Softmax": shap_softmax,
}
