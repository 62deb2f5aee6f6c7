"""Slopes between two points, written so that nothing cancels and nothing divides by zero.

x, r: the two points; y, y0: the function there; d = x - r. A secant tends to the derivative as d
tends to 0, and times d it is y - y0: that is completeness.
"""

import onnx_ir as ir

from onnxshap.autodiff.context import Context, MidpointContext
from onnxshap.autodiff.registry import vjp
from onnxshap.graph.builder import Builder

TINY = 1e-30
"""Makes 0/0 a number and is lost in every other sum."""

_CLOSE = {ir.DataType.FLOAT: 1e-2, ir.DataType.DOUBLE: 1e-5}
"""|d| below which a computed secant is noisier than the derivative at the midpoint."""

_SOFT = {ir.DataType.FLOAT: 1e-5, ir.DataType.DOUBLE: 1e-10}
"""d^2 below which a softened secant turns into the derivative."""

FAR = 1e15
"""Stands for infinity, as masks have it: far off, but differences and their squares are numbers."""


def tiny(_: ir.Value) -> float:
    """As `TINY`."""
    return TINY


def tanhc(op: Builder, d: ir.Value) -> ir.Value:
    """tanh(d) / d; 1 at 0."""
    shifted = op.Add(d, TINY)
    return op.Div(op.Tanh(shifted), shifted)


def exp_secant(op: Builder, y: ir.Value, y0: ir.Value, d: ir.Value) -> ir.Value:
    """Secant of exp, the logarithmic mean of y and y0: (y + y0)/2 tanh(d/2)/(d/2)."""
    return op.Mul(op.Mul(op.Add(y, y0), 0.5), tanhc(op, op.Mul(d, 0.5)))


def relu_secant(op: Builder, x: ir.Value, r: ir.Value) -> ir.Value:
    """Secant of ReLU: (relu(x) + relu(r)) / (|x| + |r|).

    Exactly 1, 0 or the secant in each sign case; 0 at x = r = 0. Written with the maximum and the
    minimum of x, r and 0 it would take a pass less, but onnxruntime runs Min in one thread.
    """
    total = op.Add(op.Add(op.Abs(x), TINY), op.Abs(r))
    return op.Div(op.Add(op.Relu(x), op.Relu(r)), total)


def leaky(op: Builder, secant: ir.Value, slope: ir.Value | float) -> ir.Value:
    """Secant of a ReLU with a slope below 0, from that of ReLU."""
    return op.Add(secant, op.Mul(op.Sub(1.0, secant), slope))


def clip_secant(op: Builder, x: ir.Value, r: ir.Value, y: ir.Value, y0: ir.Value) -> ir.Value:
    """Secant of a clip; its derivative at x where d = 0.

    Inside the bounds y is x to the bit, so y - y0 over x - r is exact there. What can be done on
    x alone is: explicands are few beside references.
    """
    inside = op.Mul(op.Cast(op.Equal(x, y), to=x.dtype), TINY)
    rise = op.Add(op.Sub(y, y0), inside)
    return op.Div(rise, op.Add(op.Sub(x, r), TINY))


def ratio(op: Builder, dy: ir.Value, d: ir.Value) -> ir.Value:
    """dy / d; 0 where d = 0."""
    return op.Div(dy, op.Add(d, op.Cast(op.Equal(d, 0.0), to=d.dtype)))


def guarded(
    op: Builder, dy: ir.Value, d: ir.Value, middle: ir.Value, scale: ir.Value | None = None
) -> ir.Value:
    """dy / d, or ``middle``, the derivative at the midpoint, where |d| is small.

    ``scale``: distance to the function's nearest singularity; "small" is relative to it.
    """
    assert d.dtype is not None
    threshold = _CLOSE[d.dtype]
    bound = threshold if scale is None else op.Mul(op.Min(scale, op.value(1.0, d.dtype)), threshold)
    close = op.Less(op.Abs(d), bound)
    return op.Where(close, middle, op.Div(dy, op.Where(close, 1.0, d)))


def softened(
    op: Builder,
    sides: tuple[ir.Value, ir.Value, ir.Value, ir.Value],
    first: ir.Value,
    second: ir.Value,
) -> ir.Value:
    """Secant of a smooth function: (d (y - y0 - e f''/2) + e f') / (d^2 + e), e = 1e-5.

    ``sides``: x, r, y, y0; ``first``, ``second``: the derivatives f' and f'' at x, which is one
    explicand beside many references. Where d^2 is above e this is (y - y0) / d, and below
    f' - d f''/2, the derivative at the midpoint, with no noise of a difference of equals. It is off
    by e (f' - d f''/2 - (y - y0)/d) / (d^2 + e), below 1e-6. Six passes over the pairs, none of
    which compares or chooses.
    """
    x, r, y, y0 = sides
    assert x.dtype is not None
    e = _SOFT[x.dtype]
    d = op.Sub(x, r)
    rise = op.Sub(op.Sub(y, op.Mul(second, e / 2)), y0)
    return op.Div(op.Add(op.Mul(d, rise), op.Mul(first, e)), op.Add(op.Mul(d, d), e))


def smooth_slope(ctx: Context, m: ir.Value, i: int = 0, singular: bool = False) -> ir.Value:
    """m dy/d for any smooth function of input ``i``, by the operator's own vjp at the midpoint."""
    op, x, r = ctx.op, ctx.x(i), ctx.r(i)
    middle = MidpointContext.beside(ctx).by(vjp, m)[i]
    assert middle is not None
    scale = op.Min(op.Abs(x), op.Abs(r)) if singular else None
    dy = op.Mul(m, op.Sub(ctx.y(), ctx.y_ref()))
    return guarded(op, dy, op.Sub(x, r), middle, scale)
