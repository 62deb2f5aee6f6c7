"""Normalisations, with the sums in front of them and the activations behind."""

from collections.abc import Sequence

import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering
from onnxshap.graph.lower.vendor.activations import plus

Outputs = Sequence[ir.Value | None]


def layer_normalization(low: Lowering, node: ir.Node) -> Outputs:
    """ONNX's own, from before ONNX had it."""
    settings = {k: a.value for k, a in node.attributes.items()}
    count = len(node.outputs)
    return low.op.several("LayerNormalization", *node.inputs, outputs=count, **settings)


def simplified_layer_normalization(low: Lowering, node: ir.Node) -> Outputs:
    """y = x scale / sqrt(mean(x^2) + epsilon), over the axes from ``axis`` on; and 1 / sqrt."""
    x, scale = node.inputs[:2]
    axis, epsilon = node.attributes.get_int("axis", -1), node.attributes.get_float("epsilon", 1e-5)
    axes = list(range(axis, 0)) if axis < 0 else list(range(axis, len(low.dims(x))))
    return _by_root_mean_square(low, x, scale, axes, epsilon)


def skip_layer_normalization(low: Lowering, node: ir.Node) -> Outputs:
    """s = x + skip + bias;  y = layer_norm(s);  y, mean, 1 / deviation, s."""
    x, skip, scale, shift, bias = [*node.inputs, None, None][:5]
    total = plus(low, x, skip, bias)
    epsilon = node.attributes.get_float("epsilon", 1e-12)
    inputs = [total, scale] if shift is None else [total, scale, shift]
    several, count = low.op.several, min(len(node.outputs), 3)
    found = several("LayerNormalization", *inputs, outputs=count, axis=-1, epsilon=epsilon)
    return [*found, *[None] * (3 - count), total]


def skip_simplified_layer_normalization(low: Lowering, node: ir.Node) -> Outputs:
    """s = x + skip + bias;  y = s scale / sqrt(mean(s^2) + epsilon);  y, mean, 1 / sqrt, s."""
    x, skip, scale, bias = [*node.inputs, None][:4]
    if low.wanted(node, 1):
        raise low.refuse("its output of means is used, and means play no part in it.")
    total = plus(low, x, skip, bias)
    epsilon = node.attributes.get_float("epsilon", 1e-12)
    y, factor = _by_root_mean_square(low, total, scale, [-1], epsilon)
    return [y, None, factor, total]


def embed_layer_normalization(low: Lowering, node: ir.Node) -> Outputs:
    """s = words + places + segments;  y = layer_norm(s);  y, how many are unmasked, s.

    What is looked up of the words is called ``<node>/words``, to be explained by that name.
    """
    op = low.op
    inputs = [*node.inputs, None, None][:9]
    ids, segments, words, places, kinds, scale, shift, mask, at = inputs
    found = op.Gather(words, ids, axis=0)
    found.name = op.fresh(f"{node.name}/words")
    if at is None:
        length = op.Shape(ids, start=1, end=2)
        placed = op.Unsqueeze(op.Slice(places, [0], length, [0]), [0])
    else:
        placed = op.Gather(places, at, axis=0)
    kind = None if segments is None else op.Gather(kinds, segments, axis=0)
    total = plus(low, found, placed, kind)
    epsilon = node.attributes.get_float("epsilon", 1e-12)
    y = op.LayerNormalization(total, scale, shift, axis=-1, epsilon=epsilon)
    counted = None
    if low.wanted(node, 1):
        ones = op.Cast(op.Equal(ids if mask is None else mask, 1), to=ir.DataType.INT32)
        counted = op.ReduceSum(ones, [1], keepdims=0)
        counted = op.Mul(counted, 0) if mask is None else counted
    return [y, counted, total]


def group_norm(low: Lowering, node: ir.Node) -> Outputs:
    """y = scale (x - mean) / deviation + shift, within groups of channels; and silu of that."""
    return [_by_groups(low, node, node.inputs[0])]


def skip_group_norm(low: Lowering, node: ir.Node) -> Outputs:
    """s = x + skip + bias;  y = group_norm(s);  y, s."""
    op = low.op
    x, _, _, skip, bias = [*node.inputs, None][:5]
    last = bool(node.attributes.get_int("channels_last", 1))
    if len(low.dims(skip)) == 2:
        skip = op.Unsqueeze(skip, [1, 2] if last else [2, 3])
    if bias is not None and not last:
        bias = op.Unsqueeze(bias, [1, 2])
    total = plus(low, x, skip, bias)
    return [_by_groups(low, node, total), total]


def _by_groups(low: Lowering, node: ir.Node, x: ir.Value | None) -> ir.Value:
    op = low.op
    groups, epsilon = node.attributes["groups"].as_int(), node.attributes.get_float("epsilon", 1e-5)
    scale, shift = (op.Cast(v, to=low.known(x).dtype) for v in node.inputs[1:3])
    last = bool(node.attributes.get_int("channels_last", 1))
    first = op.Transpose(x, perm=[0, 3, 1, 2]) if last else x
    apart = op.Reshape(first, [0, groups, -1])
    ones = op.Expand(op.value(1.0, apart.dtype), op.value([groups]))
    zeros = op.Expand(op.value(0.0, apart.dtype), op.value([groups]))
    level = op.InstanceNormalization(apart, ones, zeros, epsilon=epsilon)
    y = op.Reshape(level, op.Shape(first))
    y = op.Add(op.Mul(y, op.Unsqueeze(scale, [1, 2])), op.Unsqueeze(shift, [1, 2]))
    if node.attributes.get_int("activation", 0):
        y = op.Mul(y, op.Sigmoid(y))
    return op.several("Transpose", y, perm=[0, 2, 3, 1])[0] if last else y


def _by_root_mean_square(
    low: Lowering, x: ir.Value | None, scale: ir.Value | None, axes: list[int], epsilon: float
) -> tuple[ir.Value, ir.Value]:
    """x scale / sqrt(mean(x^2) + epsilon), and 1 / sqrt."""
    op = low.op
    mean = op.ReduceMean(op.Mul(x, x), axes, keepdims=1)
    factor = op.Reciprocal(op.Sqrt(op.Add(mean, epsilon)))
    y: ir.Value = op.Mul(op.Mul(x, factor), scale)
    return y, factor
