"""What operators compute in training alone, written out: statistics, and masks that are drawn.

A BatchNormalization by the statistics of its own batch, a LayerNormalization whose statistics are
read, a Dropout that drops. In inference none of them is touched.
"""

from collections.abc import Sequence

import onnx_ir as ir

from onnxshap.graph.batch import is_half
from onnxshap.graph.inference import draws
from onnxshap.graph.lower.lowering import Lowering, Rewrite

# ONNX keeps attributes, defaults included, as float32.
_EPSILON = 9.999999747378751635551452636718750e-06
_MOMENTUM = 0.89999997615814208984375


def trains(graph: ir.Graph) -> bool:
    """Whether a graph has such a node."""
    return any(_in_training(node) or _gives_statistics(node) for node in graph)


def batch_normalization(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """y = (x - mean) s scale + B;  running statistics, momentum old + (1 - momentum) new.

    s = 1 / sqrt(variance + epsilon): statistics of the batch.
    """
    if not _in_training(node):
        return None
    op, (x, scale, shift, *running) = low.op, node.inputs
    rank, dtype = len(low.dims(x)), low.known(x).dtype
    kind = low.known(running[0]).dtype if is_half(dtype) else dtype
    axes, beside = [k for k in range(rank) if k != 1], list(range(1, rank - 1))
    scale, shift = (op.Unsqueeze(_cast(low, v, kind), beside) for v in (scale, shift))
    centred, s, statistics = _standardised(low, node, _cast(low, x, kind), axes)
    y = op.Add(op.Mul(op.Mul(centred, s), scale), shift)
    momentum = node.attributes.get_float("momentum", _MOMENTUM)
    found: list[ir.Value | None] = [_cast(low, y, dtype)]
    for old, new in zip(running, statistics, strict=True):
        new = _cast(low, op.Squeeze(new, axes), low.known(old).dtype)
        found.append(op.Add(op.Mul(old, momentum), op.Mul(new, 1 - momentum)))
    return [v if low.wanted(node, k) else None for k, v in enumerate(found)]


def layer_normalization(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """y = (x - mean) s scale + B, mean and s;  s = 1 / sqrt(variance + epsilon)."""
    if not any(low.needs(output) for output in node.outputs[1:]):
        return None
    op, (x, scale, shift) = low.op, [*node.inputs, None][:3]
    rank, dtype = len(low.dims(x)), low.known(x).dtype
    stash = ir.DataType(node.attributes.get_int("stash_type", ir.DataType.FLOAT))
    axes = list(range(node.attributes.get_int("axis", -1) % rank, rank))
    kind = stash if is_half(dtype) else dtype  # float64 is not narrowed on the way
    centred, s, (mean, _) = _standardised(low, node, _cast(low, x, kind), axes)
    y = op.Mul(_cast(low, op.Mul(centred, s), dtype), scale)
    y = y if shift is None else op.Add(y, shift)
    return [y, _cast(low, mean, stash), _cast(low, s, stash)]


def dropout(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None] | None:
    """y = x drawn, drawn = ones of x's shape after the node: 0, or 1 / (1 - ratio); and the mask.

    What is drawn depends on no number of x, so that both sides of a comparison can share it.
    """
    if not _in_training(node):
        return None
    if "seed" not in node.attributes:
        raise low.refuse(
            "it may be in training mode and has no seed, so that it drops other elements each time "
            "it runs. Export the model for inference (model.eval()), or give it a seed."
        )
    op, (x, *settings) = low.op, node.inputs
    ones = op.Expand(op.value(1.0, low.known(x).dtype), op.Shape(x))
    seed = node.attributes["seed"].as_int()
    drawn, mask = op.several("Dropout", ones, *settings, outputs=2, seed=seed)
    return [op.Mul(x, drawn), mask]


TRAINING: dict[str, Rewrite] = {
    "BatchNormalization": batch_normalization,
    "Dropout": dropout,
    "LayerNormalization": layer_normalization,
}
"""How such nodes are rewritten; any other node of these operators stays."""


def _in_training(node: ir.Node) -> bool:
    if node.op_type == "BatchNormalization":
        return bool(node.attributes.get_int("training_mode", 0))
    return node.op_type == "Dropout" and draws(node)


def _gives_statistics(node: ir.Node) -> bool:
    statistics = node.outputs[1:] if node.op_type == "LayerNormalization" else ()
    return any(v.uses() or v.is_graph_output() for v in statistics)


def _cast(low: Lowering, value: ir.Value | None, dtype: ir.DataType | None) -> ir.Value:
    assert value is not None
    assert dtype is not None
    return value if low.known(value).dtype == dtype else low.op.Cast(value, to=dtype)


def _standardised(
    low: Lowering, node: ir.Node, x: ir.Value, axes: list[int]
) -> tuple[ir.Value, ir.Value, list[ir.Value]]:
    """x less its mean over ``axes``, the reciprocal deviation, and mean and variance."""
    op = low.op
    mean = op.ReduceMean(x, axes)
    centred = op.Sub(x, mean)
    variance = op.ReduceMean(op.Mul(centred, centred), axes)
    epsilon = node.attributes.get_float("epsilon", _EPSILON)
    s = op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)))
    return centred, s, [mean, variance]
