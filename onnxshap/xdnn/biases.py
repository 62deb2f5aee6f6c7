"""Remove what is added: bias inputs, and constants in sums and differences."""

import numpy as np
import onnx_ir as ir

from onnxshap.xdnn.removed import Removed, removal
from onnxshap.xdnn.surgery import Surgery

_BIAS = {
    "Conv": 2,
    "ConvTranspose": 2,
    "DeformConv": 3,
    "Gemm": 2,
    "GroupNormalization": 2,
    "InstanceNormalization": 2,
    "LayerNormalization": 2,
}
"""Place of the bias among an operator's inputs."""

_REQUIRED = {"GroupNormalization", "InstanceNormalization"}
"""Operators whose bias cannot be left out: it becomes zeros."""


def remove_biases(surgery: Surgery) -> list[Removed]:
    """Remove every constant that is added to what depends on the model's input."""
    removed: list[Removed] = []
    for node in list(surgery.graph):
        if node.domain or not any(surgery.varies(v) for v in node.inputs):
            continue
        if node.op_type in _BIAS:
            removed += _without_bias(surgery, node, _BIAS[node.op_type])
        elif node.op_type in ("Add", "Sub", "Sum"):
            removed += _without_constants(surgery, node)
    return removed


def _without_bias(surgery: Surgery, node: ir.Node, place: int) -> list[Removed]:
    bias = surgery.content(node.inputs[place]) if place < len(node.inputs) else None
    if bias is None:
        return []
    if node.op_type in _REQUIRED:
        zeros = surgery.constant(np.zeros_like(bias), f"{node.name}/no_bias")
        node.replace_input_with(place, zeros)
    elif place == len(node.inputs) - 1:
        node.resize_inputs(place)
    else:
        node.replace_input_with(place, None)
    return removal(node.name or "", node.op_type, "bias", bias_as_added(node, bias))


def bias_as_added(layer: ir.Node, bias: np.ndarray) -> np.ndarray:
    """What a layer adds, float64: a Gemm's C counts beta times."""
    beta = layer.attributes.get("beta")
    return bias.astype(np.float64) * (1.0 if beta is None else beta.as_float())


def _without_constants(surgery: Surgery, node: ir.Node) -> list[Removed]:
    values = [v for v in node.inputs if v is not None]
    held = {i: a for i, v in enumerate(values) if (a := surgery.content(v)) is not None}
    rest = [v for i, v in enumerate(values) if i not in held]
    if not held:
        return []
    record = removal(node.name or "", node.op_type, _words(node, held), *held.values())
    if not all(_fits(a.shape, [surgery.dims(v) for v in rest]) for a in held.values()):
        for place, array in held.items():  # it widens the others: zeros do that as well
            zeros = surgery.constant(np.zeros_like(array), f"{node.name}/no_constant")
            node.replace_input_with(place, zeros)
    elif len(rest) > 1:
        surgery.replace(node, node.op_type, rest)
    elif node.op_type == "Sub" and 0 in held:
        surgery.replace(node, "Neg", rest)
    else:
        surgery.drop(node, rest[0])
    return record


def _words(node: ir.Node, held: dict[int, np.ndarray]) -> str:
    if node.op_type == "Sub":
        return "constant it is subtracted from" if 0 in held else "constant that is subtracted"
    return "constant that is added"


def _fits(shape: tuple[int, ...], others: list[tuple[int | None, ...] | None]) -> bool:
    """Whether broadcasting with one of the others surely leaves that one's shape as it is."""
    return any(
        dims is not None
        and len(shape) <= len(dims)
        and all(s in (1, d) for s, d in zip(reversed(shape), reversed(dims), strict=False))
        for dims in others
    )
