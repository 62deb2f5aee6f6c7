"""Products along axes, without a division: an element may be zero.

The derivative by one element is the product of those before it times the product of those after.
Along one axis of known size both come from log2(n) steps of shifting and multiplying.
"""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.graph.builder import Builder


class Line:
    """Elements along one axis, by their order; ``end``: from the last to the first."""

    def __init__(
        self, op: Builder, axis: int, size: int, end: bool = False, exclusive: bool = False
    ) -> None:
        self.op, self.axis, self.size = op, axis, size
        self.end, self.exclusive = end, exclusive

    def shift(self, x: ir.Value, by: int, fill: float) -> ir.Value:
        """Element i - ``by`` at place i, ``fill`` where there is none."""
        if not self.size:
            return x
        by = -by if self.end else by
        shifted: ir.Value = self.op.Pad(x, [by, -by], self.op.value(fill, x.dtype), [self.axis])
        return shifted

    def before(self, x: ir.Value) -> ir.Value:
        """Products of all elements before each."""
        found, step = self.shift(x, 1, 1.0), 1
        while step < self.size - 1:
            found = self.op.Mul(found, self.shift(found, step, 1.0))
            step *= 2
        return found

    def ahead(self, g: ir.Value, x: ir.Value) -> ir.Value:
        """Sums R_i = g_i + x_{i+1} R_{i+1} over all that is ahead, by doubling their reach."""
        op, step = self.op, 1
        total, factor = g, self.shift(x, -1, 0.0)
        while step < self.size:
            total = op.Add(total, op.Mul(factor, self.shift(total, -step, 0.0)))
            factor = op.Mul(factor, self.shift(factor, -step, 0.0))
            step *= 2
        return total


def credit(line: Line, g: ir.Value, done: ir.Value, rest: ir.Value) -> ir.Value:
    """What flows back along running products; elements before i are ``done``'s, after ``rest``'s.

    With both the same it is the gradient, with the two sides of a comparison one telescoping sum.
    """
    if line.exclusive:
        g = line.shift(g, -1, 0.0)
    product: ir.Value = line.op.Mul(line.before(done), line.ahead(g, rest))
    return product


def last(line: Line, g: ir.Value, done: ir.Value, rest: ir.Value) -> ir.Value:
    """As `credit`, for the product of all elements alone."""
    op, back = line.op, Line(line.op, line.axis, line.size, not line.end)
    product: ir.Value = op.Mul(g, op.Mul(line.before(done), back.before(rest)))
    return product


def running(ctx: Context) -> Line:
    """The axis of a running product."""
    axis = int(ctx.require(1, "axis").ravel()[0]) % len(ctx.dims())
    (size,) = ctx.known_dims([axis])
    turned, exclusive = bool(ctx.attr("reverse", 0)), bool(ctx.attr("exclusive", 0))
    return Line(ctx.op, ctx.axis(axis), size, turned, exclusive)


def factors(ctx: Context, axes: list[int], x: ir.Value) -> list[tuple[Line, ir.Value]]:
    """One step an axis: the axis, and the products so far that are multiplied along it."""
    steps = []
    for own, size in zip(axes, ctx.known_dims(axes), strict=True):
        axis = ctx.axis(own)
        steps.append((Line(ctx.op, axis, size), x))
        x = ctx.op.ReduceProd(x, [axis])
    return steps
