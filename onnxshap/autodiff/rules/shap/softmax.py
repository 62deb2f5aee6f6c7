"""Softmax, each output charged to its own logit. m: multiplier of y; d = x - r, logit by logit."""

import onnx_ir as ir

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import Cotangents, multiplier, shap
from onnxshap.autodiff.rules.shap.activation import SMALL


@shap("Softmax", form="paired")
def softmax(ctx: Context, m: ir.Value) -> Cotangents:
    """m dy / d;  what an output with |d| < 1e-6 changes by goes through the log form.

    A probability changes also where its own logit does not, because the others do. shap loses that
    change, all of it where that output is explained; the log form shares it among the logits.
    """
    op, d = ctx.op, ctx.delta()
    moved = op.GreaterOrEqual(op.Abs(d), SMALL)  # not where two masked logits make d no number
    slope = op.Div(op.Sub(ctx.y(), ctx.y_ref()), op.Where(moved, d, 1.0))
    (shared,) = ctx.by(multiplier, op.Where(moved, 0.0, m))
    return [op.Add(op.Where(moved, op.Mul(m, slope), 0.0), shared)]
