"""Elementwise arithmetic. m: multiplier of y; x, r and y, y0: both sides; d = x - r."""

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import WITH_ANOTHER, Cotangents, multiplier, vjp
from onnxshap.autodiff.rules.vjp.elementwise import quotient
from onnxshap.autodiff.secants import FAR, exp_secant, ratio, smooth_slope, softened
from onnxshap.graph.batch import is_half
from onnxshap.graph.builder import Builder


@multiplier("Abs")
def abs_(ctx: Context, m: ir.Value) -> Cotangents:
    """m (x + r) / (|x| + |r|)."""
    return [ctx.op.Mul(m, abs_secant(ctx.op, ctx.x(), ctx.r()))]


@multiplier("Ceil")
@multiplier("Floor")
@multiplier("Round")
@multiplier("Sign")
def step(ctx: Context, m: ir.Value) -> Cotangents:
    """m dy / d;  0 where d = 0: a step has no other slope."""
    dy = ctx.op.Sub(ctx.y(), ctx.y_ref())
    return [ctx.op.Mul(m, ratio(ctx.op, dy, ctx.delta()))]


@multiplier("Div")
def div(ctx: Context, m: ir.Value) -> Cotangents:
    """m_a = m (1/b + 1/b0) / 2;  m_b = -m (a + a0) / (2 b b0): a times the reciprocal of b."""
    op, b, b0 = ctx.op, ctx.x(1), ctx.r(1)
    inverses = [op.Reciprocal(b), op.Reciprocal(b0)]
    ma = mb = None
    if ctx.needs(0):
        ma = op.Mul(m, op.Mul(op.Add(*inverses), 0.5)) if ctx.varies(1) else op.Div(m, b)
    if ctx.needs(1):
        mean = op.Mul(op.Add(ctx.x(0), ctx.r(0)), 0.5) if ctx.varies(0) else ctx.x(0)
        mb = op.Neg(op.Mul(op.Mul(m, mean), op.Mul(*inverses)))
    return [ma, mb]


@multiplier("Exp")
def exp(ctx: Context, m: ir.Value) -> Cotangents:
    """m (y + y0)/2 tanh(d/2)/(d/2)."""
    return [ctx.op.Mul(m, exp_secant(ctx.op, ctx.y(), ctx.y_ref(), ctx.delta()))]


@multiplier("Log")
def log(ctx: Context, m: ir.Value) -> Cotangents:
    """m dy / d;  2m / (x + r) where d is small beside x and r."""
    return [smooth_slope(ctx, m, singular=True)]


@multiplier("Max")
@multiplier("Min")
def extremum(ctx: Context, m: ir.Value) -> Cotangents:
    """Two-player Shapley values, folded over the inputs from the left."""
    op, count = ctx.op, len(ctx.node.inputs)
    choose = op.Max if ctx.node.op_type == "Max" else op.Min
    sides = [([ctx.x(i) for i in range(count)]), ([ctx.r(i) for i in range(count)])]
    running = [[side[0]] for side in sides]
    for i in range(1, count):
        for total, side in zip(running, sides, strict=True):
            total.append(choose(total[-1], side[i]))
    returned: list[ir.Value | None] = [None] * count
    for i in reversed(range(1, count)):
        a, a0 = running[0][i - 1], running[1][i - 1]
        left, right = two_players(op, choose, (a, a0), (sides[0][i], sides[1][i]))
        returned[i] = op.Mul(m, right)
        m = op.Mul(m, left)
    return [m, *returned[1:]]


@multiplier("Mod")
def mod(ctx: Context, m: ir.Value) -> Cotangents:
    """m dy/d;  m where a and a0 hold b equally often; two-player Shapley if b varies."""
    op, a, a0, b = ctx.op, ctx.x(), ctx.r(), ctx.x(1)
    if ctx.varies(1):
        fmod = ctx.attr("fmod", 0)
        slopes = two_players(op, lambda u, v: op.Mod(u, v, fmod=fmod), (a, a0), (b, ctx.r(1)))
        return [op.Mul(m, s) if ctx.needs(i) else None for i, s in enumerate(slopes)]
    counts = [quotient(op, *side) for side in ((a, b, ctx.y()), (a0, b, ctx.y_ref()))]
    return [op.Mul(m, jumping_secant(ctx, op.Equal(*counts), 1.0))]


@multiplier("Mul", family="product")
def mul(ctx: Context, m: ir.Value) -> Cotangents:
    """m_a = m (b + b0)/2, m_b = m (a + a0)/2;  m (y - y0)/(x - r) where y = x sigmoid(x)."""
    gate = _own_gate(ctx)
    if gate is None:
        return ctx.by(vjp, m)
    ends = Context.beside(ctx)
    op, x, s, y = ctx.op, ends.x(1 - gate), ends.x(gate), ends.y()
    rest = op.Sub(1.0, s)
    first = op.Add(s, op.Mul(y, rest))
    second = op.Mul(rest, op.Sub(op.Mul(first, 2.0), y))
    sides = x, ctx.r(1 - gate), y, ctx.y_ref()
    slopes: list[ir.Value | None] = [WITH_ANOTHER, WITH_ANOTHER]
    slopes[1 - gate] = op.Mul(m, softened(op, sides, first, second))
    return slopes


def _own_gate(ctx: Context) -> int | None:
    """Which input of a product is the sigmoid of the other, as in SiLU, if one is.

    Not in 16 bits: a difference of y and y0 that are rounded so is noise where the sides are near.
    """
    if is_half(ctx.input(0).dtype):
        return None
    for gate in (0, 1):
        node = ctx.input(gate).producer()
        if node is not None and node.op_type == "Sigmoid" and not node.domain:
            inner = ctx.needs(gate) and not ctx.explained(gate)
            if inner and node.inputs[0] is ctx.input(1 - gate):
                return gate
    return None


@multiplier("Pow")
def pow_(ctx: Context, m: ir.Value) -> Cotangents:
    """Closed secants for exponents 1, 2, 3, 1/2, -1; two-player Shapley if the exponent varies."""
    op, x, r = ctx.op, ctx.x(), ctx.r()
    if ctx.varies(1):
        exponents = [op.Cast(b, to=x.dtype) for b in (ctx.x(1), ctx.r(1))]
        slopes = two_players(op, op.Pow, (x, r), (exponents[0], exponents[1]))
        return [op.Mul(m, s) if ctx.needs(i) else None for i, s in enumerate(slopes)]
    exponent = ctx.constant(1)
    p = float(exponent.ravel()[0]) if exponent is not None and exponent.size == 1 else None
    y, y0 = ctx.y(), ctx.y_ref()
    closed: dict[float, Callable[[], Any]] = {
        1.0: lambda: op.value(1.0, x.dtype),
        2.0: lambda: op.Add(x, r),
        3.0: lambda: op.Add(op.Mul(x, op.Add(x, r)), op.Mul(r, r)),
        0.5: lambda: root_secant(op, y, y0),
        -1.0: lambda: op.Neg(op.Mul(y, y0)),
    }
    if p in closed:
        return [op.Mul(m, closed[p]())]
    return [smooth_slope(ctx, m, singular=True)]


@multiplier("Reciprocal")
def reciprocal(ctx: Context, m: ir.Value) -> Cotangents:
    """-m y y0."""
    return [ctx.op.Neg(ctx.op.Mul(m, ctx.op.Mul(ctx.y(), ctx.y_ref())))]


@multiplier("Sqrt")
def sqrt(ctx: Context, m: ir.Value) -> Cotangents:
    """m / (y + y0);  0 where both are 0."""
    return [ctx.op.Mul(m, root_secant(ctx.op, ctx.y(), ctx.y_ref()))]


@multiplier("Where", inputs=(1, 2), family="fallback", linear=lambda _, moving: 0 not in moving)
def where(ctx: Context, m: ir.Value) -> Cotangents:
    """m [c] and m [not c]; where c differs, m dy/dt if y is a function of t alone, or least-norm.

    Least-norm: m_X = m (c + c0)/2, m_Y = m - m_X, and the part of m dy that they miss is added
    along the deltas.
    """
    op, dtype, c = ctx.op, m.dtype, ctx.x(0)
    if not ctx.varies(0):
        return [None, op.Where(c, m, 0.0), op.Where(c, 0.0, m)]
    c0 = ctx.r(0)
    # Infinite branches, as masks have, are far ones: their products must stay numbers.
    # Not by Clip, which onnxruntime fuses with a Relu before it and then has no float64 kernel for.
    far = op.value(-FAR, dtype), op.value(FAR, dtype)
    x, r = ([op.Max(op.Min(side(i), far[1]), far[0]) for i in (1, 2)] for side in (ctx.x, ctx.r))
    dy = op.Sub(op.Where(c, *x), op.Where(c0, *r))
    if ctx.root is not None:
        both, either = op.And(c, c0), op.Or(c, c0)
        flips = op.Xor(c, c0)
        slope = op.Div(op.Where(flips, dy, 0.0), op.Where(flips, ctx.root_delta(), 1.0))
        return [op.Mul(m, slope), op.Where(both, m, 0.0), op.Where(either, 0.0, m)]
    share = op.Mul(op.Add(op.Cast(c, to=dtype), op.Cast(c0, to=dtype)), 0.5)
    shares = [share, op.Sub(1.0, share)]
    deltas = [op.Sub(a, b) for a, b in zip(x, r, strict=True)]
    missing = op.Sub(dy, op.Sum(*(op.Mul(s, d) for s, d in zip(shares, deltas, strict=True))))
    norm = op.Sum(*(op.Mul(d, d) for d in deltas))
    step = ratio(op, missing, norm)
    slopes = [op.Add(s, op.Mul(step, d)) for s, d in zip(shares, deltas, strict=True)]
    return [None, *(op.Mul(m, s) for s in slopes)]


def abs_secant(op: Builder, x: ir.Value, r: ir.Value) -> ir.Value:
    """Secant of |x|, (x + r) / (|x| + |r|); 0 where both are 0."""
    return ratio(op, op.Add(x, r), op.Add(op.Abs(x), op.Abs(r)))


def root_secant(op: Builder, y: ir.Value, y0: ir.Value) -> ir.Value:
    """Secant of the square root, 1 / (y + y0); 0 where both are 0, not infinite."""
    total = op.Add(y, y0)
    return op.Mul(op.Sign(total), ratio(op, op.value(1.0, y.dtype), total))


def jumping_secant(ctx: Context, same: ir.Value, slope: ir.Value | float) -> ir.Value:
    """dy/d;  ``slope``, which is exact, where x and r lie on the ``same`` straight piece."""
    op, dy = ctx.op, ctx.op.Sub(ctx.y(), ctx.y_ref())
    secant: ir.Value = op.Where(same, slope, op.Div(dy, op.Where(same, 1.0, ctx.delta())))
    return secant


def two_players(
    op: Builder,
    f: Callable[..., ir.Value],
    a: tuple[ir.Value, ir.Value],
    b: tuple[ir.Value, ir.Value],
) -> tuple[ir.Value, ir.Value]:
    """Shapley slopes of f(a, b) between (a, b) and (a0, b0); 0 along an input that is equal.

    m_a = [f(a, b) - f(a0, b) + f(a, b0) - f(a0, b0)] / 2 (a - a0), and m_b likewise.
    """
    (x, x0), (z, z0) = a, b
    both, first, second, none = f(x, z), f(x, z0), f(x0, z), f(x0, z0)
    rise_a = op.Add(op.Sub(both, second), op.Sub(first, none))
    rise_b = op.Add(op.Sub(both, first), op.Sub(second, none))
    slope_a = ratio(op, op.Mul(rise_a, 0.5), op.Sub(x, x0))
    slope_b = ratio(op, op.Mul(rise_b, 0.5), op.Sub(z, z0))
    return slope_a, slope_b
