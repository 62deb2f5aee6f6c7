"""Least-norm completion: a complete multiplier for any operator that has a gradient.

The mean of the gradients at both ends says how the output changes to first order. What it misses
of m dy is added along the deltas, by the least amount that makes the sum right.
"""

from typing import Any

import onnx_ir as ir

from onnxshap.autodiff.context import Context, ReferenceContext
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.autodiff.secants import ratio
from onnxshap.errors import UnsupportedOpError


def completed(ctx: Context, m: ir.Value, along: int | None = None) -> Cotangents:
    """g_i + d_i (m dy - sum g d) / sum d^2, g the mean of the vjps at both sides. Flat form.

    The sums are over each sample, or ``along`` one axis where the operator treats it as a row.
    """
    op, places = ctx.op, range(len(ctx.node.inputs))
    require_explained(ctx)
    slopes, deltas = {}, {}
    ends = [view.beside(ctx).by(vjp, m) for view in (Context, ReferenceContext)]
    for i in places:
        if ctx.needs(i):
            x, r = (end[i] for end in ends)
            assert x is not None, f"{ctx.node.op_type}: no vjp for input {i}"
            assert r is not None
            slopes[i], deltas[i] = op.Mul(op.Add(x, r), 0.5), ctx.delta(i)

    def total(value: ir.Value, i: int | None) -> Any:
        if along is not None:
            return op.ReduceSum(value, [along], keepdims=1)
        layout = ctx.output_layout() if i is None else ctx.layout(i)
        axes = [k for k in range(len(layout.dims)) if k != layout.batch]
        return op.ReduceSum(value, axes, keepdims=0) if axes else value

    rise = total(op.Mul(m, op.Sub(ctx.y(), ctx.y_ref())), None)
    caught = [total(op.Mul(slopes[i], deltas[i]), i) for i in slopes]
    norms = [total(op.Mul(d, d), i) for i, d in deltas.items()]
    step = ratio(op, op.Sub(rise, op.Sum(*caught)), op.Sum(*norms))
    returned: list[ir.Value | None] = [None] * len(ctx.node.inputs)
    for i, slope in slopes.items():
        layout, own = ctx.layout(i), step
        if along is None and layout.batch is not None:
            own = op.Reshape(step, [-1] + [1] * (len(layout.dims) - layout.batch - 1))
        returned[i] = op.Add(slope, op.Mul(own, deltas[i]))
    return returned


def require_explained(ctx: Context) -> None:
    """Raise if an input differs between the sides and is not explained: nobody could be credited.

    Raises
    ------
    UnsupportedOpError
        Naming the input.
    """
    places = range(len(ctx.node.inputs))
    apart = [i for i in places if ctx.varies(i) and not ctx.needs(i) and _is_float(ctx, i)]
    if apart:
        raise UnsupportedOpError(
            f'{ctx.node.op_type} "{ctx.node.name}": its input {apart[0]} '
            f'("{ctx.input(apart[0]).name}") differs between explicand and reference but is not '
            "explained, and its share of the change cannot be told apart. Explain it too (inputs=)."
        )


def _is_float(ctx: Context, i: int) -> bool:
    return ctx.layout(i).dtype.is_floating_point()
