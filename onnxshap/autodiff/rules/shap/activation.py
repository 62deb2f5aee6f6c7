"""Activations that shap knows as modules. m: multiplier of y; r: reference; dy, d: differences.

Where d is small shap takes the derivative, at the reference, because its dy / d is noise there.
Our secants are precise, and equal dy / d elsewhere: only the threshold makes a difference.
"""

import onnx_ir as ir

from onnxshap.autodiff.context import Context, ReferenceContext
from onnxshap.autodiff.registry import Cotangents, multiplier, shap, vjp

SMALL = 1e-6
"""|d| below which shap takes the derivative, in any float type."""


@shap("Elu")
@shap("Gelu")
@shap("LeakyRelu")
@shap("Relu")
@shap("Selu")
@shap("Sigmoid")
@shap("Softplus")
@shap("Tanh")
def rescale(ctx: Context, m: ir.Value) -> Cotangents:
    """m dy / d;  m times the derivative at r where |d| < 1e-6."""
    op, (secant,) = ctx.op, ctx.by(multiplier, m)
    (derivative,) = ReferenceContext.beside(ctx).by(vjp, m)
    far = op.GreaterOrEqual(op.Abs(ctx.delta()), SMALL)
    return [op.Where(far, secant, derivative)]
