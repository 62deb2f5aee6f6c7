"""Products with what was fused into them: activations, a residual, transposed or scaled factors."""

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir

from onnxshap.graph.builder import Builder
from onnxshap.graph.lower.lowering import Lowering

Outputs = Sequence[ir.Value | None]

_PLAIN = ("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")
_PARAMETERS = {  # of those that are operators themselves, with ONNX's defaults
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "ThresholdedRelu": {"alpha": 1.0},
}
_PAIRS: dict[str, Callable[[Builder, ir.Value, float, float], ir.Value]] = {
    "Clip": lambda op, x, low, high: op.Clip(x, low, high),
    "ParametricSoftplus": lambda op, x, a, b: op.Mul(op.Softplus(op.Mul(x, b)), a),
    "ScaledTanh": lambda op, x, a, b: op.Mul(op.Tanh(op.Mul(x, b)), a),
}


def fused_conv(low: Lowering, node: ir.Node) -> Outputs:
    """y = activation(conv(x, w) + b + z)."""
    inputs = [*node.inputs, None, None][:4]
    weight, bias, residual = inputs[1:]
    given = _attributes(node, "activation")
    y = low.op.Conv(inputs[0], weight, *([] if bias is None else [bias]), **given)
    y = y if residual is None else low.op.Add(y, residual)
    parameters = list(node.attributes.get_floats("activation_params", ()))
    return [_activated(low, node, y, dict(zip(("alpha", "beta"), parameters, strict=False)))]


def fused_gemm(low: Lowering, node: ir.Node) -> Outputs:
    """y = activation(alpha a b + beta c)."""
    return [_activated(low, node, low.op.Gemm(*node.inputs, **_attributes(node, "activation")))]


def fused_matmul(low: Lowering, node: ir.Node) -> Outputs:
    """y = activation(alpha a b); the factors are transposed first as the attributes say."""
    a, b = (_turned(low, node, value, side) for value, side in zip(node.inputs, "AB", strict=True))
    y = low.op.MatMul(a, b)
    alpha = node.attributes.get_float("alpha", 1.0)
    return [_activated(low, node, y if alpha == 1 else low.op.Mul(y, alpha))]


def _turned(low: Lowering, node: ir.Node, value: ir.Value | None, side: str) -> ir.Value | None:
    """The last two axes swapped, or the first one moved behind all axes but the last, or both."""
    rank = len(low.dims(value))
    order = list(range(rank))
    if rank < 2:
        return value
    if node.attributes.get_int(f"transBatch{side}", 0) and rank > 2:
        order = [*range(1, rank - 1), 0, rank - 1]
    if node.attributes.get_int(f"trans{side}", 0):
        order[-2:] = order[:-3:-1]
    return value if order == sorted(order) else low.op.Transpose(value, perm=order)


def _activated(
    low: Lowering, node: ir.Node, y: ir.Value, given: dict[str, float] | None = None
) -> ir.Value:
    """``y`` through the activation that the node names; ``given``: its parameters."""
    op, name = low.op, node.attributes.get_string("activation", "")
    if given is None:
        names = ("alpha", "beta", "gamma")
        found = {key: node.attributes.get_float(f"activation_{key}", None) for key in names}
        given = {key: value for key, value in found.items() if value is not None}
    if not name:
        return y
    if name in _PLAIN:
        return op.several(name, y)[0]
    if name in _PARAMETERS:
        return op.several(name, y, **(_PARAMETERS[name] | given))[0]
    if name == "Silu":
        return op.several("Mul", y, op.Sigmoid(y))[0]
    if name not in _PAIRS:
        raise low.refuse(f"its activation {name!r} is not one that onnxruntime documents.")
    missing = [key for key in ("alpha", "beta") if key not in given]
    if missing:
        raise low.refuse(f"its activation {name!r} lacks {' and '.join(missing)}.")
    return _PAIRS[name](op, y, given["alpha"], given["beta"])


def _attributes(node: ir.Node, but: str) -> dict[str, Any]:
    return {k: a.value for k, a in node.attributes.items() if not k.startswith(but)}
