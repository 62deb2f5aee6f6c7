"""Products of quantised tensors: whole numbers summed up, then scaled by x_scale w_scale / y_scale.

The factor is rounded where onnxruntime's kernels round it, so that its result is theirs. Means are
products, too: a half between two steps stays exactly one, whatever the order of a sum.
"""

from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering
from onnxshap.graph.lower.quantised.steps import (
    Steps,
    along,
    count,
    given,
    operand,
    quantised,
    steps,
)

Settings = Mapping[str, Any]
Outputs = list[ir.Value | None]


def conv(
    low: Lowering, x: Steps, w: Steps, bias: ir.Value | None, settings: Settings
) -> tuple[ir.Value, ir.Value]:
    """Whole numbers of a convolution, and what a step of them is worth."""
    rank = len(low.dims(w.value))
    total = low.op.Conv(
        count(low, x.value, x.zero), count(low, w.value, w.zero, rank - 1), bias, **settings
    )
    return total, low.op.Mul(along(low, x.scale, 0), along(low, w.scale, rank - 2))


def matmul(low: Lowering, a: Steps, b: Steps) -> tuple[ir.Value, ir.Value]:
    """Whole numbers of a product; scales of a go by row, of b by column."""
    total = low.op.MatMul(count(low, a.value, a.zero, 1), count(low, b.value, b.zero))
    return total, low.op.Mul(along(low, a.scale, 1), along(low, b.scale, 0))


def gemm(
    low: Lowering, a: Steps, b: Steps, bias: ir.Value | None, settings: Settings
) -> tuple[ir.Value, ir.Value]:
    """Whole numbers of a product, alpha left out; scales of b go by column."""
    columns = 1 if settings.get("transB") else 0  # axes behind theirs
    flags = {name: settings[name] for name in ("transA", "transB") if name in settings}
    total = low.op.Gemm(
        count(low, a.value, a.zero), count(low, b.value, b.zero, columns), bias, **flags
    )
    scale = low.op.Mul(along(low, a.scale, 0), float(settings.get("alpha", 1.0)))
    return total, low.op.Mul(scale, along(low, b.scale, 0))


def whole_bias(low: Lowering, bias: ir.Value | None) -> ir.Value | None:
    """Return an int32 bias, in steps of the product, as floats."""
    return None if bias is None else low.op.Cast(bias, to=ir.DataType.FLOAT)


def rescaled(
    low: Lowering,
    total: ir.Value,
    worth: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None,
    like: ir.Value,
) -> ir.Value:
    """Quantise whole numbers worth ``worth`` each to steps of ``scale``."""
    scaled = low.op.Mul(total, low.op.Div(along(low, worth, 0), along(low, scale, 0)))
    return quantised(low, scaled, None, zero, like)


# --- operators of ONNX and com.microsoft ----------------------------------------------------------


def qlinear_conv(low: Lowering, node: ir.Node) -> Outputs:
    """QLinearConv: Conv, Mul and QuantizeLinear; com.microsoft's has channels last on demand."""
    settings = {name: a.value for name, a in node.attributes.items()}
    last, x = settings.pop("channels_last", 0), steps(node, 0)
    rank = len(low.dims(given(node, 3)))
    if last:
        first = low.op.Transpose(x.value, perm=[0, rank - 1, *range(1, rank - 1)])
        x = Steps(first, x.scale, x.zero)
    found = conv(low, x, steps(node, 3, 0), whole_bias(low, operand(node, 8)), settings)
    y = rescaled(low, *found, given(node, 6), operand(node, 7), x.value)
    return [low.op.Transpose(y, perm=[0, *range(2, rank), 1]) if last else y]


def qlinear_matmul(low: Lowering, node: ir.Node) -> Outputs:
    """QLinearMatMul: MatMul, Mul and QuantizeLinear."""
    a, found = steps(node, 0), matmul(low, steps(node, 0), steps(node, 3))
    return [rescaled(low, *found, given(node, 6), operand(node, 7), a.value)]


def qgemm(low: Lowering, node: ir.Node) -> Outputs:
    """QGemm: Gemm and Mul; QuantizeLinear, where there is a scale of the output."""
    settings = {name: a.value for name, a in node.attributes.items()}
    a, bias = steps(node, 0), whole_bias(low, operand(node, 6))
    total, worth = gemm(low, a, steps(node, 3), bias, settings)
    scale = operand(node, 7)
    if scale is None:
        return [low.op.Mul(total, worth)]
    return [rescaled(low, total, worth, scale, operand(node, 8), a.value)]
