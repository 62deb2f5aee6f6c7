"""Quantised models in floats: from steps to numbers, an operator on floats, QuantizeLinear.

Forward they give what integer kernels give, but for a step where a number lies halfway between
two; backward every rounding is a QuantizeLinear, which has rules: its secant, and straight through
it for gradients.
"""

import onnx
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Rewrite
from onnxshap.graph.lower.quantised import dynamic, groups, integers, operators, products, weights

QUANTISED: dict[str, Rewrite] = {
    "ConvInteger": integers.conv,
    "DynamicQuantizeLinear": dynamic.dynamic_quantize_linear,
    "MatMulInteger": integers.matmul,
    "QLinearConv": products.qlinear_conv,
    "QLinearMatMul": products.qlinear_matmul,
}
"""How quantised operators of ai.onnx are rewritten where they are explained."""

ON_STEPS: dict[str, Rewrite] = dict.fromkeys(integers.COMPARING, integers.on_steps)
ON_STEPS |= {"DequantizeLinear": integers.dequantise, "QuantizeLinear": groups.quantize_linear}
"""How others are, where they are given whole numbers that stand for floats."""

CONSTANTS: dict[str, Rewrite] = {"DequantizeLinear": weights.dequantise}
"""How constants are, wherever they stand."""

VENDOR_QUANTISED: dict[str, Rewrite] = {
    f"com.microsoft::{name}": rewrite
    for name, rewrite in {
        "DequantizeLinear": operators.renamed,
        "DynamicQuantizeMatMul": dynamic.dynamic_quantize_matmul,
        "MatMulIntegerToFloat": dynamic.matmul_integer_to_float,
        "QGemm": products.qgemm,
        "QLinearAdd": operators.add,
        "QLinearAveragePool": operators.pool("AveragePool"),
        "QLinearConcat": operators.concat,
        "QLinearConv": products.qlinear_conv,
        "QLinearGlobalAveragePool": operators.pool("GlobalAveragePool"),
        "QLinearLeakyRelu": operators.unary("LeakyRelu"),
        "QLinearMul": operators.mul,
        "QLinearReduceMean": operators.reduce_mean,
        "QLinearSigmoid": operators.unary("Sigmoid"),
        "QLinearSoftmax": operators.softmax,
        "QLinearWhere": operators.where,
        "QuantizeLinear": operators.renamed,
    }.items()
}
"""How operators of com.microsoft are rewritten: into those of ai.onnx, quantised ones too."""


def quantises(graph: ir.Graph) -> bool:
    """Whether anything in a graph makes whole numbers of floats."""
    nodes = ir.traversal.RecursiveGraphIterator(graph)
    return any(n.op_type in QUANTISED or n.op_type == "QuantizeLinear" for n in nodes)


WIDER_STEPS = 21
"""The opset since which ONNX's own QuantizeLinear and DequantizeLinear know steps of 4 and 16 bits,
which com.microsoft's had before."""


def has_wider_steps(proto: onnx.ModelProto) -> bool:
    """Whether com.microsoft's QuantizeLinear or DequantizeLinear has constants of such steps."""
    widths = {onnx.TensorProto.DataType.Value(f"{u}INT{n}") for u in ("", "U") for n in (4, 16)}
    held = {t.name for t in proto.graph.initializer if t.data_type in widths}
    nodes = (n for n in proto.graph.node if n.domain == "com.microsoft")
    named = (n for n in nodes if n.op_type in ("DequantizeLinear", "QuantizeLinear"))
    return any(name in held for n in named for name in n.input)
