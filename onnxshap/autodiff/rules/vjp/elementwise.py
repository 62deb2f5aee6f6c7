"""Elementwise arithmetic. g, x, y: cotangent, input, output; operands broadcast as in numpy."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.graph.builder import Builder


@vjp("Abs")
def abs_(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g sign(x)."""
    return [ctx.op.Mul(g, ctx.op.Sign(ctx.x()))]


@vjp("Add", family="exact-linear")
def add(ctx: Context, g: ir.Value) -> Cotangents:
    """da = db = g."""
    return [g, g]


@vjp("Div")
def div(ctx: Context, g: ir.Value) -> Cotangents:
    """da = g / b;  db = -g y / b."""
    op = ctx.op
    da = op.Div(g, ctx.x(1))
    return [da, op.Neg(op.Mul(da, ctx.y())) if ctx.needs(1) else None]


@vjp("Exp")
def exp(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g y."""
    return [ctx.op.Mul(g, ctx.y())]


@vjp("Log")
def log(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / x."""
    return [ctx.op.Div(g, ctx.x())]


@vjp("Max")
@vjp("Min")
def extremum(ctx: Context, g: ir.Value) -> Cotangents:
    """dx_i = g [x_i = y] / how many inputs equal y."""
    op, y = ctx.op, ctx.y()
    hits = [op.Cast(op.Equal(ctx.x(i), y), to=y.dtype) for i in range(len(ctx.node.inputs))]
    if len(hits) == 1:
        return [g]
    share = op.Div(g, op.Sum(*hits))
    return [op.Mul(share, hit) if ctx.needs(i) else None for i, hit in enumerate(hits)]


@vjp("Mean", family="exact-linear")
def mean(ctx: Context, g: ir.Value) -> Cotangents:
    """dx_i = g / n."""
    count = len(ctx.node.inputs)
    return [ctx.op.Mul(g, 1.0 / count)] * count


@vjp("Mod")
def mod(ctx: Context, g: ir.Value) -> Cotangents:
    """da = g;  db = -g q, q = (a - y) / b the whole quotient."""
    op = ctx.op
    return [
        g,
        op.Neg(op.Mul(g, quotient(op, ctx.x(), ctx.x(1), ctx.y()))) if ctx.needs(1) else None,
    ]


def quotient(op: Builder, a: ir.Value, b: ir.Value, y: ir.Value) -> ir.Value:
    """How often b is in a; y is what remains."""
    whole: ir.Value = op.Round(op.Div(op.Sub(a, y), b))
    return whole


@vjp("Mul", family="product")
def mul(ctx: Context, g: ir.Value) -> Cotangents:
    """da = g b;  db = g a."""
    return [ctx.op.Mul(g, ctx.x(1 - i)) if ctx.needs(i) else None for i in (0, 1)]


@vjp("Neg", family="exact-linear")
def neg(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = -g."""
    return [ctx.op.Neg(g)]


@vjp("Pow")
def pow_(ctx: Context, g: ir.Value) -> Cotangents:
    """da = g b a^(b-1);  db = g y log(a)."""
    op, a = ctx.op, ctx.x()
    b = op.Cast(ctx.x(1), to=a.dtype)
    da = op.Mul(g, op.Mul(b, op.Pow(a, op.Sub(b, 1.0)))) if ctx.needs(0) else None
    db = op.Mul(g, op.Mul(ctx.y(), op.Log(a))) if ctx.needs(1) else None
    return [da, db]


@vjp("Reciprocal")
def reciprocal(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = -g y^2."""
    op, y = ctx.op, ctx.y()
    return [op.Neg(op.Mul(g, op.Mul(y, y)))]


@vjp("Sqrt")
def sqrt(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / 2y."""
    return [ctx.op.Div(g, ctx.op.Mul(ctx.y(), 2.0))]


@vjp("Sub", family="exact-linear")
def sub(ctx: Context, g: ir.Value) -> Cotangents:
    """da = g;  db = -g."""
    return [g, ctx.op.Neg(g) if ctx.needs(1) else None]


@vjp("Sum", family="exact-linear")
def sum_(ctx: Context, g: ir.Value) -> Cotangents:
    """dx_i = g."""
    return [g] * len(ctx.node.inputs)


@vjp("Where", inputs=(1, 2), family="exact-linear")
def where(ctx: Context, g: ir.Value) -> Cotangents:
    """dX = g [c];  dY = g [not c]."""
    op, c = ctx.op, ctx.x(0)
    return [
        None,
        op.Where(c, g, 0.0) if ctx.needs(1) else None,
        op.Where(c, 0.0, g) if ctx.needs(2) else None,
    ]
