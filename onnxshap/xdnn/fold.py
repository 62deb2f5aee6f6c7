"""Fold BatchNormalization into the weights before it; what cannot be folded becomes a Mul."""

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from onnxshap.xdnn.biases import bias_as_added
from onnxshap.xdnn.removed import Removed, removal
from onnxshap.xdnn.surgery import Surgery

_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


class _Affine(NamedTuple):
    """A BatchNormalization's y = factor x + shift, per channel, float64."""

    node: ir.Node
    x: ir.Value
    factor: np.ndarray
    shift: np.ndarray


def fold_batch_normalizations(surgery: Surgery) -> list[Removed]:
    """Turn every y = factor x + shift of a BatchNormalization into y = factor x.

    The shift is dropped and recorded, with the bias of the layer the factor is folded into.
    """
    removed = []
    for node in list(surgery.graph):
        affine = _affine(surgery, node)
        if affine is not None:
            layer = _layer_before(surgery, affine)
            removed += (
                _multiply(surgery, affine) if layer is None else _fold(surgery, affine, layer)
            )
    return removed


def _affine(surgery: Surgery, node: ir.Node) -> _Affine | None:
    if node.op_type != "BatchNormalization" or node.domain or len(node.outputs) > 1:
        return None
    x, *parameters = node.inputs
    held = [a.astype(np.float64) for v in parameters if (a := surgery.content(v)) is not None]
    training = node.attributes.get("training_mode")
    in_training = training is not None and training.as_int() != 0
    if x is None or not surgery.varies(x) or in_training or len(held) != 4:
        return None
    epsilon = node.attributes.get("epsilon")
    scale, shift, mean, variance = held
    factor = scale / np.sqrt(variance + (1e-5 if epsilon is None else epsilon.as_float()))
    return _Affine(node, x, factor, shift - mean * factor)


def _layer_before(surgery: Surgery, affine: _Affine) -> ir.Node | None:
    """The layer that computes x for this node alone, if its weights and bias are constant."""
    layer, x = affine.x.producer(), affine.x
    if layer is None or layer.op_type not in _LAYERS or layer.domain:
        return None
    if len(x.uses()) > 1 or x.is_graph_output():
        return None
    if any(surgery.content(v) is None for v in layer.inputs[1:] if v is not None):
        return None
    if layer.op_type == "MatMul":  # its columns are channels in a matrix only
        dims, sizes = surgery.dims(x), surgery.dims(layer.inputs[1]) if layer.inputs[1] else None
        if dims is None or sizes is None or len(dims) != 2 or len(sizes) != 2:
            return None
    return layer


def _fold(surgery: Surgery, affine: _Affine, layer: ir.Node) -> list[Removed]:
    """Scale the layer's weights; drop its bias and the normalization."""
    weights, bias = (surgery.content(v) for v in (*layer.inputs, None)[1:3])
    assert weights is not None
    by = _per_output(layer, weights.shape, affine.factor)
    scaled = (weights.astype(np.float64) * by).astype(weights.dtype)
    layer.replace_input_with(1, surgery.constant(scaled, f"{layer.name}/folded_weights"))
    what = f'what BatchNormalization "{affine.node.name}" adds; its factor is in the weights now'
    added = affine.shift
    if bias is not None:
        added = bias_as_added(layer, bias) * affine.factor + added
        what = f"bias, and {what}"
        layer.resize_inputs(2)
    surgery.drop(affine.node, affine.x)
    return removal(layer.name or "", layer.op_type, what, added)


def _per_output(layer: ir.Node, shape: tuple[int, ...], factor: np.ndarray) -> np.ndarray:
    """The factors of the output channels, so that they multiply weights of ``shape``."""
    ones = [1] * (len(shape) - 2)
    if layer.op_type == "Conv":  # [M, C / group, ...]
        return factor.reshape(-1, 1, *ones)
    if layer.op_type == "ConvTranspose":  # [C, M / group, ...], C and M in groups
        attribute = layer.attributes.get("group")
        group = 1 if attribute is None else attribute.as_int()
        rows = np.repeat(factor.reshape(group, -1), shape[0] // group, axis=0)
        return rows.reshape(*rows.shape, *ones)
    transposed = layer.attributes.get("transB")
    return factor.reshape(-1, 1) if transposed is not None and transposed.as_int() else factor


def _multiply(surgery: Surgery, affine: _Affine) -> list[Removed]:
    """Put a Mul in the place of a normalization that follows no layer of its own."""
    node, dims, dtype = affine.node, surgery.dims(affine.x), surgery.dtype(affine.x)
    if dims is None or dtype is None:
        return []  # certify will name it
    factor = affine.factor.astype(dtype.numpy()).reshape(-1, *[1] * (len(dims) - 2))
    surgery.replace(node, "Mul", [affine.x, surgery.constant(factor, f"{node.name}/factor")])
    return removal(node.name or "", node.op_type, "mean and B", affine.shift)
