"""Matrix products. All are bilinear: each cotangent is a product with the other operand."""

import string
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxshap.autodiff.context import Context, MidpointContext
from onnxshap.autodiff.registry import Cotangents, vjp
from onnxshap.errors import UnsupportedOpError


@vjp("Det", form="flat")
def det(ctx: Context, g: ir.Value) -> Cotangents:
    """dx = g times the cofactors: determinants without row i and column j, with their signs."""
    op, rank = ctx.op, len(ctx.dims())
    size, x = ctx.known_dims([rank - 1])[0], ctx.x()
    g = op.Unsqueeze(g, [-1, -2])
    if size == 1:
        return [g]
    kept = np.array([[k for k in range(size) if k != i] for i in range(size)], np.int64)
    minors = op.Gather(op.Gather(x, kept, axis=-1), kept, axis=rank - 2)
    order = [*range(rank - 2), rank - 2, rank, rank - 1, rank + 1]
    signs = np.array([[(-1) ** (i + j) for j in range(size)] for i in range(size)])
    cofactors = op.Mul(op.Det(op.Transpose(minors, perm=order)), op.Cast(signs, to=g.dtype))
    return [op.Mul(g, cofactors)]


@vjp("Einsum", form="flat", family="product")
def einsum(ctx: Context, g: ir.Value) -> Cotangents:
    """dx_i = einsum(g, the other operands -> indices of x_i)."""
    terms, result = _subscripts(ctx)
    varying = sum(ctx.varies(i) for i in range(len(terms)))
    if isinstance(ctx, MidpointContext) and varying > 2:  # the midpoint is exact for two factors
        raise UnsupportedOpError(
            f'Einsum "{ctx.node.name}": no multiplier rule for {varying} operands that differ '
            "between explicand and reference, only for two. Split it into Einsums of two operands."
        )
    cotangents: list[ir.Value | None] = []
    for i, own in enumerate(terms):
        if not ctx.needs(i):
            cotangents.append(None)
            continue
        others = [j for j in range(len(terms)) if j != i]
        operands, letters = [g, *(ctx.x(j) for j in others)], [result, *(terms[j] for j in others)]
        unused = _unused("".join(terms) + result)
        for k, c in enumerate(own):
            if c in own[:k]:  # only the diagonal took part
                (size,) = ctx.known_dims([k], i)
                operands.append(ctx.op.value(np.eye(size, dtype=ctx.layout(i).dtype.numpy())))
                letters.append(c + next(unused))
                own = own[:k] + letters[-1][1] + own[k + 1 :]
        # An index only this operand has was summed out: its cotangent is constant along it.
        lonely = [k for k, c in enumerate(own) if c not in "".join(letters)]
        if lonely:
            sizes = [ctx.op.Shape(ctx.input(i), start=k, end=k + 1) for k in lonely]
            one = ctx.op.value(1.0, g.dtype)
            operands.append(ctx.op.Expand(one, ctx.op.Concat(*sizes, axis=0)))
            letters.append("".join(own[k] for k in lonely))
        cotangents.append(ctx.op.Einsum(*operands, equation=f"{','.join(letters)}->{own}"))
    return cotangents


def _subscripts(ctx: Context) -> tuple[list[str], str]:
    """Index letters of the operands and of the result; implicit results, '...' and sizes of 1."""
    equation = ctx.attr("equation").replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    ranks = [len(ctx.dims(i)) - len(t.replace("...", "")) for i, t in enumerate(terms)]
    unused = _unused(equation)
    dots = "".join(next(unused) for _ in range(max(ranks, default=0)))
    terms = [t.replace("...", dots[len(dots) - r :]) for t, r in zip(terms, ranks, strict=True)]
    if not arrow:
        letters = "".join(terms)
        result = dots + "".join(
            sorted(c for c in set(letters) - set(dots) if letters.count(c) == 1)
        )
    else:
        result = result.replace("...", dots)
    # An index of size 1 beside others of that name is one of its own, which is summed out.
    long = {c for i, t in enumerate(terms) for c, n in zip(t, ctx.dims(i), strict=True) if n != 1}
    for i, term in enumerate(terms):
        sizes = zip(term, ctx.dims(i), strict=True)
        terms[i] = "".join(next(unused) if n == 1 and c in long else c for c, n in sizes)
    return terms, result


def _unused(equation: str) -> Iterator[str]:
    """Letters that an equation leaves."""
    return (c for c in string.ascii_letters[::-1] if c not in equation)


@vjp("Gemm", form="flat", family="product")
def gemm(ctx: Context, g: ir.Value) -> Cotangents:
    """Y = alpha A B + beta C;  dA = alpha g B',  dB = alpha A' g,  dC = beta g."""
    op, alpha = ctx.op, float(ctx.attr("alpha", 1.0))
    ta, tb = ctx.attr("transA", 0), ctx.attr("transB", 0)
    da = db = dc = None
    if ctx.needs(0):
        b = ctx.x(1)
        da = op.Gemm(b, g, alpha=alpha, transA=tb, transB=1) if ta else None
        da = da or op.Gemm(g, b, alpha=alpha, transB=1 - tb)
    if ctx.needs(1):
        a = ctx.x(0)
        db = op.Gemm(g, a, alpha=alpha, transA=1, transB=ta) if tb else None
        db = db or op.Gemm(a, g, alpha=alpha, transA=1 - ta)
    if ctx.needs(2):
        missing = 2 - len(ctx.dims(2))
        stretched = [k + missing for k, size in enumerate(ctx.dims(2)) if size == 1]
        dc = op.Mul(g, float(ctx.attr("beta", 1.0)))
        if missing or stretched:
            dc = op.ReduceSum(dc, [*range(missing), *stretched], keepdims=1)
        dc = op.Squeeze(dc, list(range(missing))) if missing else dc
    return [da, db, dc]


@vjp("MatMul", form="paired", family="product")
def matmul(ctx: Context, g: ir.Value) -> Cotangents:
    """dA = g B',  dB = A' g;  summed over broadcast leading axes."""
    # With a constant factor the pairs are one batch; two that vary broadcast over the pairs.
    # Without lead axes both forms are the same, and either factor may vary.
    flat = bool(ctx.lift.sizes) and None in (ctx.layout(0).batch, ctx.layout(1).batch)
    if flat:
        g = ctx.flatten(g, ctx.node.outputs[0])
    elif "references" in ctx.lift.sizes and not ctx.is_spread:
        # Targets must not stretch against references, [K, N, 1] by [1, N, M]: where K = M,
        # onnxruntime's CUDA kernel takes operands of as many matrices for ones of the same axes.
        g = ctx.spread(g, ctx.node.outputs[0])
    cotangents: list[ir.Value | None] = []
    for i in (0, 1):
        if not ctx.needs(i):
            cotangents.append(None)
            continue
        other = _transposed(ctx, 1 - i, flat)
        product = ctx.op.MatMul(
            *((_as_matrix(ctx, g), other) if i == 0 else (other, _as_matrix(ctx, g)))
        )
        if len(ctx.dims(i)) == 1:  # a vector took part as a matrix
            product = ctx.op.Squeeze(product, [-2 if i == 0 else -1])
        product = _sum_broadcast(ctx, product, i, flat)
        cotangents.append(ctx.unflatten(product, ctx.input(i)) if flat else product)
    return cotangents


def _as_matrix(ctx: Context, g: ir.Value) -> ir.Value:
    """Put back the axes that a vector operand took from the product: [k] is [1, k] or [k, 1]."""
    if len(ctx.dims(1)) == 1:
        g = ctx.op.Unsqueeze(g, [-1])
    return ctx.op.Unsqueeze(g, [-2]) if len(ctx.dims(0)) == 1 else g


def _transposed(ctx: Context, i: int, flat: bool) -> ir.Value:
    """Input ``i`` with its last two axes swapped."""
    value = ctx.own(i) if flat else ctx.x(i)
    rank = len(ctx.dims(i)) if flat else ctx.rank(i)
    if len(ctx.dims(i)) == 1:
        return ctx.op.Unsqueeze(value, [-1 if i == 0 else -2])
    axes = list(range(rank))
    axes[-1], axes[-2] = axes[-2], axes[-1]
    return ctx.op.Transpose(value, perm=axes)


def _sum_broadcast(ctx: Context, value: ir.Value, i: int, flat: bool) -> ir.Value:
    """Sum over leading axes along which input ``i`` was broadcast."""
    own, output = ctx.layout(i), ctx.output_layout()
    vectors = sum(len(ctx.dims(k)) == 1 for k in (0, 1))  # each takes an axis from the output
    leading = len(output.dims) - 2 + vectors
    missing = leading - max(0, len(own.dims) - 2)
    axes = list(range(missing))
    for k, dim in enumerate(own.dims[:-2]):
        if dim == 1 and output.dims[k + missing] != 1 and k + missing != output.batch:
            axes.append(k + missing)
    if not axes:
        return value
    rank = leading + min(2, len(own.dims))
    places = [a - rank if flat else ctx.lift.axis(a, output) for a in axes]
    value = ctx.op.ReduceSum(value, places, keepdims=1)
    return ctx.op.Squeeze(value, list(range(missing))) if missing else value
