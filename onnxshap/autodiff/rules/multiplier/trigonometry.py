"""Circular and hyperbolic functions: m dy/d by addition theorems, so that nothing cancels.

m: multiplier of y; x, r and y, y0: both sides; d = x - r, h = d/2, c = (x + r)/2.
"""

from collections.abc import Callable

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier
from onnxshap.autodiff.secants import ratio, smooth_slope, tiny
from onnxshap.graph.builder import Builder

Function = Callable[[ir.Value], ir.Value]


def _over(op: Builder, f: Function, d: ir.Value) -> ir.Value:
    """f(d) / d of an odd function with slope 1 at 0; 1 there."""
    shifted = op.Add(d, tiny(d))
    return op.Div(f(shifted), shifted)


def _halves(ctx: Context) -> tuple[ir.Value, ir.Value]:
    """Half the sum and half the difference of both sides."""
    op = ctx.op
    return op.Mul(op.Add(ctx.x(), ctx.r()), 0.5), op.Mul(ctx.delta(), 0.5)


@multiplier("Acos")
@multiplier("Asin")
def arc_sine(ctx: Context, m: ir.Value) -> Cotangents:
    """m 2 atan(d / (p + q)) / d, p and q = sqrt(1 - x^2) of both sides; Acos: its negative.

    Where both sides are the same end of the range the slope is infinite: 0, as for the root.
    """
    op = ctx.op
    p, q = (op.Sqrt(op.Mul(op.Sub(1.0, v), op.Add(v, 1.0))) for v in (ctx.x(), ctx.r()))
    total = op.Add(p, q)
    d = op.Add(ctx.delta(), op.Mul(op.Sign(total), tiny(p)))
    angle = op.Mul(op.Atan(op.Div(d, op.Add(total, tiny(p)))), 2.0)
    slope = op.Mul(m, ratio(op, angle, d))
    return [slope if ctx.node.op_type == "Asin" else op.Neg(slope)]


@multiplier("Acosh")
def acosh(ctx: Context, m: ir.Value) -> Cotangents:
    """m 2 atanh(d / (p + q)) / d, p and q = sqrt(x^2 - 1) of both sides; m dy/d where d >= 1."""
    op, d = ctx.op, ctx.delta()
    p, q = (op.Sqrt(op.Mul(op.Sub(v, 1.0), op.Add(v, 1.0))) for v in (ctx.x(), ctx.r()))
    total = op.Add(p, q)
    close = op.Less(op.Abs(d), 1.0)
    small = op.Where(close, op.Add(d, op.Mul(op.Sign(total), tiny(p))), 0.0)
    near = ratio(op, op.Mul(op.Atanh(op.Div(small, op.Add(total, tiny(p)))), 2.0), small)
    far = op.Div(op.Sub(ctx.y(), ctx.y_ref()), op.Where(close, 1.0, d))
    return [op.Mul(m, op.Where(close, near, far))]


@multiplier("Asinh")
@multiplier("Atan")
def bounded_slope(ctx: Context, m: ir.Value) -> Cotangents:
    """m dy/d;  m times the derivative at the midpoint where x is close to r."""
    return [smooth_slope(ctx, m)]


@multiplier("Atanh")
def atanh(ctx: Context, m: ir.Value) -> Cotangents:
    """m atanh(u) / u / (1 - x r), u = d / (1 - x r);  m dy/d where x and r differ in sign."""
    op, d, product = ctx.op, ctx.delta(), ctx.op.Mul(ctx.x(), ctx.r())
    apart = op.Less(product, 0.0)
    room = op.Sub(1.0, product)
    near = op.Div(_over(op, op.Atanh, op.Where(apart, 0.0, op.Div(d, room))), room)
    far = op.Div(op.Sub(ctx.y(), ctx.y_ref()), op.Where(apart, d, 1.0))
    return [op.Mul(m, op.Where(apart, far, near))]


@multiplier("Cos")
def cos(ctx: Context, m: ir.Value) -> Cotangents:
    """-m sin(c) sin(h) / h."""
    op, (c, h) = ctx.op, _halves(ctx)
    return [op.Neg(op.Mul(m, op.Mul(op.Sin(c), _over(op, op.Sin, h))))]


@multiplier("Cosh")
def cosh(ctx: Context, m: ir.Value) -> Cotangents:
    """m sinh(c) sinh(h) / h."""
    op, (c, h) = ctx.op, _halves(ctx)
    return [op.Mul(m, op.Mul(op.Sinh(c), _over(op, op.Sinh, h)))]


@multiplier("Sin")
def sin(ctx: Context, m: ir.Value) -> Cotangents:
    """m cos(c) sin(h) / h."""
    op, (c, h) = ctx.op, _halves(ctx)
    return [op.Mul(m, op.Mul(op.Cos(c), _over(op, op.Sin, h)))]


@multiplier("Sinh")
def sinh(ctx: Context, m: ir.Value) -> Cotangents:
    """m cosh(c) sinh(h) / h."""
    op, (c, h) = ctx.op, _halves(ctx)
    return [op.Mul(m, op.Mul(op.Cosh(c), _over(op, op.Sinh, h)))]


@multiplier("Tan")
def tan(ctx: Context, m: ir.Value) -> Cotangents:
    """m sin(d) / (d cos(x) cos(r))."""
    op = ctx.op
    cosines = op.Mul(op.Cos(ctx.x()), op.Cos(ctx.r()))
    return [op.Mul(m, op.Div(_over(op, op.Sin, ctx.delta()), cosines))]
