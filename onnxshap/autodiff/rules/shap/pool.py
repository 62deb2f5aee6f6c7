"""Pools. m: multiplier of y; x, r: both sides; d = x - r."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier, shap

SMALL = 1e-7
"""|d| below which shap lets nothing through, in any float type."""


@shap("MaxPool", form="paired", family="max")
def max_pool(ctx: Context, m: ir.Value) -> Cotangents:
    """The cross-max rule;  0 where |d| < 1e-7.

    Contributions of overlapping windows accumulate, as in shap's TensorFlow explainer: in its
    PyTorch explainer one overwrites the other, and their sum is lost.
    """
    op, (exact,) = ctx.op, ctx.by(multiplier, m)
    far = op.GreaterOrEqual(op.Abs(ctx.delta()), SMALL)
    return [op.Where(far, exact, 0.0)]
