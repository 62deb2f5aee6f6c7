"""Circular and hyperbolic functions. g, x, y: cotangent, input, output."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, vjp


@vjp("Acos")
def acos(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = -g / sqrt((1 - x) (1 + x))."""
    return [ctx.op.Neg(ctx.op.Div(g, _cosine(ctx)))]


@vjp("Acosh")
def acosh(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / sqrt((x - 1) (x + 1))."""
    op, x = ctx.op, ctx.x()
    return [op.Div(g, op.Sqrt(op.Mul(op.Sub(x, 1.0), op.Add(x, 1.0))))]


@vjp("Asin")
def asin(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / sqrt((1 - x) (1 + x))."""
    return [ctx.op.Div(g, _cosine(ctx))]


def _cosine(ctx: Context) -> ir.Value:
    """Cosine of the angle whose sine is x."""
    op, x = ctx.op, ctx.x()
    root: ir.Value = op.Sqrt(op.Mul(op.Sub(1.0, x), op.Add(x, 1.0)))
    return root


@vjp("Asinh")
def asinh(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / sqrt(1 + x^2)."""
    op, x = ctx.op, ctx.x()
    return [op.Div(g, op.Sqrt(op.Add(op.Mul(x, x), 1.0)))]


@vjp("Atan")
def atan(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / (1 + x^2)."""
    op, x = ctx.op, ctx.x()
    return [op.Div(g, op.Add(op.Mul(x, x), 1.0))]


@vjp("Atanh")
def atanh(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g / ((1 - x) (1 + x))."""
    op, x = ctx.op, ctx.x()
    return [op.Div(g, op.Mul(op.Sub(1.0, x), op.Add(x, 1.0)))]


@vjp("Cos")
def cos(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = -g sin(x)."""
    return [ctx.op.Neg(ctx.op.Mul(g, ctx.op.Sin(ctx.x())))]


@vjp("Cosh")
def cosh(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g sinh(x)."""
    return [ctx.op.Mul(g, ctx.op.Sinh(ctx.x()))]


@vjp("Sin")
def sin(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g cos(x)."""
    return [ctx.op.Mul(g, ctx.op.Cos(ctx.x()))]


@vjp("Sinh")
def sinh(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g cosh(x)."""
    return [ctx.op.Mul(g, ctx.op.Cosh(ctx.x()))]


@vjp("Tan")
def tan(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g (1 + y^2)."""
    op, y = ctx.op, ctx.y()
    return [op.Mul(g, op.Add(op.Mul(y, y), 1.0))]
