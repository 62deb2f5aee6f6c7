"""Activations, with the bias, the product or the mask that was fused into them."""

import math
from collections.abc import Sequence

import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering

Outputs = Sequence[ir.Value | None]


def gelu(low: Lowering, node: ir.Node) -> Outputs:
    """y = x Phi(x)."""
    return [exact_gelu(low, node.inputs[0])]


def bias_gelu(low: Lowering, node: ir.Node) -> Outputs:
    """y = gelu(x + bias)."""
    return [exact_gelu(low, low.op.Add(*node.inputs))]


def fast_gelu(low: Lowering, node: ir.Node) -> Outputs:
    """y = gelu(x + bias), by the tanh approximation."""
    return [tanh_gelu(low, plus(low, *node.inputs))]


def gemm_fast_gelu(low: Lowering, node: ir.Node) -> Outputs:
    """y = gelu(x W + bias), by the tanh approximation."""
    product = low.op.MatMul(*node.inputs[:2])
    return [tanh_gelu(low, plus(low, product, *node.inputs[2:]))]


def quick_gelu(low: Lowering, node: ir.Node) -> Outputs:
    """y = x sigmoid(alpha x)."""
    op, x = low.op, node.inputs[0]
    alpha = node.attributes.get_float("alpha", 1.702)
    return [op.Mul(x, op.Sigmoid(x if alpha == 1 else op.Mul(x, alpha)))]


def bias_split_gelu(low: Lowering, node: ir.Node) -> Outputs:
    """y = a gelu(b), where a and b are the halves of x + bias."""
    both = low.op.Add(*node.inputs)
    left, right = low.op.several("Split", both, outputs=2, axis=-1, num_outputs=2)
    return [low.op.Mul(left, exact_gelu(low, right))]


def gated_add(low: Lowering, node: ir.Node) -> Outputs:
    """z = x + y gate."""
    x, y, gate = node.inputs
    return [low.op.Add(x, low.op.Mul(y, gate))]


def bias_dropout(low: Lowering, node: ir.Node) -> Outputs:
    """y = x + bias + residual: nothing is dropped when a model is explained."""
    training = node.inputs[4] if len(node.inputs) > 4 else None
    content = low.known(training).value
    if training is not None and (content is None or content.any()):
        raise low.refuse("it drops at random. Export the model in inference mode.")
    if low.wanted(node, 1):
        raise low.refuse("its mask is used. Export the model in inference mode.")
    return [plus(low, *node.inputs[:3])]


def bias_softmax(low: Lowering, node: ir.Node) -> Outputs:
    """y = softmax(x + bias) over the last axes together, from ``axis`` on."""
    op, (x, bias) = low.op, node.inputs
    rank = len(low.dims(x))
    axis = node.attributes.get_int("axis", 1) % rank
    missing = rank - len(low.dims(bias))
    if node.attributes.get_int("is_inner_broadcast") and missing:
        # The bias has the first axes and those of the softmax, and lacks those between.
        bias = op.Unsqueeze(bias, list(range(axis - missing, axis)))
    scores = op.Add(x, bias)
    if axis == rank - 1:
        return [op.Softmax(scores, axis=-1)]
    weights = op.Softmax(op.Reshape(scores, [0] * axis + [-1]), axis=-1)
    return [op.Reshape(weights, op.Shape(x))]


def plus(low: Lowering, *terms: ir.Value | None) -> ir.Value:
    """Sum of what is there."""
    given = [term for term in terms if term is not None]
    total = given[0]
    for term in given[1:]:
        total = low.op.Add(total, term)
    return total


def exact_gelu(low: Lowering, x: ir.Value | None) -> ir.Value:
    """Gelu, or x Phi(x) in opsets that have none."""
    op = low.op
    if _has_gelu(low):
        whole: ir.Value = op.Gelu(x)
        return whole
    phi = op.Mul(op.Add(op.Erf(op.Mul(x, math.sqrt(0.5))), 1.0), 0.5)
    product: ir.Value = op.Mul(x, phi)
    return product


def tanh_gelu(low: Lowering, x: ir.Value) -> ir.Value:
    """Gelu by tanh, or x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    op = low.op
    if _has_gelu(low):
        whole: ir.Value = op.Gelu(x, approximate="tanh")
        return whole
    cubic = op.Mul(op.Mul(op.Mul(x, x), x), 0.044715)
    inner = op.Mul(op.Add(x, cubic), math.sqrt(2 / math.pi))
    product: ir.Value = op.Mul(x, op.Mul(op.Add(op.Tanh(inner), 1.0), 0.5))
    return product


def _has_gelu(low: Lowering) -> bool:
    return low.graph.opset_imports[""] >= 20
