"""Attention of a whole sequence at once: products, masks, and a softmax.

Samples B, heads N, queries S, keys T, features H. What continues from a cache of earlier keys and
values is refused: its cache is an input that nobody can explain.
"""

import math
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering
from onnxshap.graph.lower.vendor.activations import plus
from onnxshap.graph.lower.vendor.rotary import places, rotate

Outputs = Sequence[ir.Value | None]


def attention(low: Lowering, node: ir.Node) -> Outputs:
    """q, k, v = x w + b;  y = softmax(q k' scale + mask) v;  y [B, S, N H], (k, v)."""
    op = low.op
    x, weights, bias, mask, past, added, _ = _padded(node.inputs, 7)
    _refuse_past(low, {"past": past})
    if node.attributes.get_int("do_rotary", 0):
        raise low.refuse("it turns its queries and keys (do_rotary), as no CPU kernel does.")
    widths = list(node.attributes.get_ints("qkv_hidden_sizes", ()))
    widths = widths or [low.size(weights, 1, "hidden sizes") // 3] * 3
    projected = plus(low, op.MatMul(x, weights), bias)
    heads = node.attributes["num_heads"].as_int()
    q, k, v = (_split(low, part, heads) for part in low.split(projected, widths, 2))
    hidden = _padding(low, node, mask, k)
    y = _attend(low, node, q, k, v, [hidden, added], causal=_unidirectional(node))
    present = low.stack([k, v], 0) if low.wanted(node, 1) else None
    return [_joined(low, y), present]


def multi_head_attention(low: Lowering, node: ir.Node) -> Outputs:
    """y = softmax(q k' scale + mask) v, of what was projected before;  y [B, S, N H], k, v."""
    q, k, v, bias, mask, added, past_key, past_value, *_ = _padded(node.inputs, 10)
    _refuse_past(low, {"past_key": past_key, "past_value": past_value})
    if low.wanted(node, 3):
        raise low.refuse("its output of scores is used. Export it without.")
    heads = node.attributes["num_heads"].as_int()
    q, k, v = _projected(low, q, k, v, bias, heads)
    if _unidirectional(node) and (low.dims(k)[2] or 0) > (low.dims(q)[2] or math.inf):
        raise low.refuse("it hides later keys from queries, though there are more keys.")
    hidden = _padding(low, node, mask, k)
    y = _attend(low, node, q, k, v, [hidden, added], causal=_unidirectional(node))
    return [_joined(low, y), k, v]


def group_query_attention(low: Lowering, node: ir.Node) -> Outputs:
    """Causal attention in which heads of queries share keys;  y [B, S, N H], k, v.

    A whole sequence: how long each one is without its padding (``seqlens_k``) changes only the
    rows of the padding itself, which the runtime leaves undefined.
    """
    op, settings = low.op, node.attributes
    q, k, v, past_key, past_value, _, _, cos, sin, at, added, sink, *more = _padded(node.inputs, 16)
    _refuse_past(low, {"past_key": past_key, "past_value": past_value})
    if any(value is not None for value in more) or settings.get_int("qk_output", 0) != 0:
        raise low.refuse("it normalises queries, quantises its cache or gives its scores away.")
    heads, shared = settings["num_heads"].as_int(), settings["kv_num_heads"].as_int()
    if k is None and q is not None:
        width = low.size(q, 2, "hidden sizes") // (heads + 2 * shared)
        q, k, v = low.split(q, [heads * width, shared * width, shared * width], 2)
    q, k, v = _split(low, q, heads), _split(low, k, shared), _split(low, v, shared)
    if settings.get_int("do_rotary", 0):
        at = _from_first(low, at, q)
        angles = [op.Gather(table, at, axis=0) for table in (cos, sin)]
        turned = 2 * low.size(cos, 1, "number of angles")
        interleaved = bool(settings.get_int("rotary_interleaved", 0))
        q, k = (rotate(low, side, angles, turned, interleaved) for side in (q, k))
    if sink is None and settings.get_int("smooth_softmax", 0) == 1:
        sink = op.Cast(op.value(np.zeros(heads)), to=q.dtype)
    y = _attend(
        low,
        node,
        q,
        _repeated(low, k, heads // shared),
        _repeated(low, v, heads // shared),
        [added],
        causal=bool(settings.get_int("causal", 1)),
        window=settings.get_int("local_window_size", -1),
        sink=sink,
    )
    return [_joined(low, y), k, v]


def _from_first(low: Lowering, at: ir.Value | None, q: ir.Value) -> ir.Value:
    """Places of the queries [S], or [B, 1, S] from each sample's first: the kernel reads no more.

    In a batch it reads the first sample's alone; samples are apart here, as they are one by one.
    """
    counted = places(low, q, 2)
    if at is None:
        return counted
    first = low.op.Unsqueeze(low.op.Slice(at, [0], [1], [1]), [1])
    found: ir.Value = low.op.Add(first, counted)
    return found


def refused(low: Lowering, node: ir.Node) -> NoReturn:
    """Attention that only makes sense while text is written, or on packed batches."""
    raise low.refuse(
        "it serves the writing of a text word by word, or sequences packed into one. Export the "
        "model for whole sequences, without a cache and without packing."
    )


def _attend(
    low: Lowering,
    node: ir.Node,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    added: Sequence[ir.Value | None],
    causal: bool,
    window: int = -1,
    sink: ir.Value | None = None,
) -> ir.Value:
    """Softmax(cap(q k' scale) + added) v, [B, N, S, H]."""
    op = low.op
    width = low.size(q, 3, "head size")
    scale = node.attributes.get_float("scale", 0.0) or 1 / math.sqrt(width)
    scores = op.MatMul(op.Mul(q, scale), op.Transpose(k, perm=[0, 1, 3, 2]))
    cap = node.attributes.get_float("softcap", 0.0)
    if cap:
        scores = op.Mul(op.Tanh(op.Div(scores, cap)), cap)
    scores = plus(low, scores, *added)
    if causal:
        ahead = op.Sub(places(low, k, 2), op.Unsqueeze(places(low, q, 2), [1]))
        allowed = op.LessOrEqual(ahead, 0)
        if window >= 0:
            allowed = op.And(allowed, op.Greater(ahead, -window))
        scores = op.Where(allowed, scores, -np.inf)
    if sink is None:
        weights = op.Softmax(scores, axis=-1)
    else:  # a key without a value
        sizes = op.Concat(op.Shape(scores, start=0, end=3), [1], axis=0)
        column = op.Expand(op.Reshape(sink, [1, -1, 1, 1]), sizes)
        weights = op.Softmax(op.Concat(scores, column, axis=-1), axis=-1)
        weights = op.Slice(weights, [0], [-1], [3])
    y: ir.Value = op.MatMul(weights, v)
    return y


def _projected(
    low: Lowering,
    q: ir.Value | None,
    k: ir.Value | None,
    v: ir.Value | None,
    bias: ir.Value | None,
    heads: int,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Queries, keys and values [B, N, S, H], however they were packed."""
    op = low.op
    if k is None:  # [B, S, N, 3, H]
        q, k, v = (_joined_heads(low, part) for part in _unstacked(low, q, 3))
    elif v is None:  # [B, T, N, 2, H]
        k, v = (_joined_heads(low, part) for part in _unstacked(low, k, 2))
    ready = len(low.dims(k)) == 4  # [B, N, T, H], and the bias is in it
    if bias is not None:
        sides = (q,) if ready else (q, k, v)
        widths = [low.size(side, 2, "hidden size") for side in sides]
        if ready:
            bias = op.Slice(bias, [0], widths, [0])
        parts = low.split(bias, widths, 0)
        q, *rest = [op.Add(side, part) for side, part in zip(sides, parts, strict=True)]
        k, v = (k, v) if ready else rest
    assert k is not None
    assert v is not None
    if ready:
        return _split(low, q, heads), k, v
    return _split(low, q, heads), _split(low, k, heads), _split(low, v, heads)


def _unstacked(low: Lowering, value: ir.Value | None, count: int) -> list[ir.Value]:
    assert value is not None
    return [low.op.Squeeze(part, [3]) for part in low.split(value, [1] * count, 3)]


def _joined_heads(low: Lowering, value: ir.Value) -> ir.Value:
    joined: ir.Value = low.op.Reshape(value, [0, 0, -1])
    return joined


def _split(low: Lowering, value: ir.Value | None, heads: int) -> ir.Value:
    """[B, S, N H] to [B, N, S, H]."""
    width = low.size(value, 2, "hidden size") // heads
    apart = low.op.Reshape(value, [0, 0, heads, width])
    split: ir.Value = low.op.Transpose(apart, perm=[0, 2, 1, 3])
    return split


def _joined(low: Lowering, value: ir.Value) -> ir.Value:
    """[B, N, S, H] to [B, S, N H]."""
    return _joined_heads(low, low.op.Transpose(value, perm=[0, 2, 1, 3]))


def _repeated(low: Lowering, value: ir.Value, times: int) -> ir.Value:
    """[B, N, T, H], each head ``times`` in a row."""
    if times == 1:
        return value
    op, width = low.op, low.size(value, 3, "head size")
    heads = low.size(value, 1, "number of heads")
    copies = op.Expand(op.Unsqueeze(value, [2]), [1, 1, times, 1, 1])
    repeated: ir.Value = op.Reshape(copies, [0, heads * times, -1, width])
    return repeated


def _padding(low: Lowering, node: ir.Node, mask: ir.Value | None, k: ir.Value) -> ir.Value | None:
    """What is added to scores of keys that are padding; None without a mask.

    ``mask``: 1 for keys to be seen [B, T] or [B, S, T], or how many those are [B], or where they
    end and start [2 B].
    """
    if mask is None:
        return None
    op, dims = low.op, low.dims(mask)
    if len(dims) == 1:
        seen = _between(low, mask, k)
    elif len(dims) in (2, 3):
        seen = op.Greater(mask, 0)
        seen = op.Unsqueeze(seen, [1, 2] if len(dims) == 2 else [1])
    else:
        raise low.refuse(f"its mask has {len(dims)} axes, as no CPU kernel takes.")
    level = node.attributes.get_float("mask_filter_value", -10000.0)
    zero, filler = op.value(0.0, k.dtype), op.value(level, k.dtype)
    added: ir.Value = op.Where(seen, zero, filler)
    return added


def _between(low: Lowering, ends: ir.Value, k: ir.Value) -> ir.Value:
    """Whether a key stands before its end, and not before its start [B, 1, 1, T]."""
    op, count, batch = low.op, low.dims(ends)[0], low.dims(k)[0]
    starts = None
    if count is not None and count != batch:
        if batch is None or count != 2 * batch:
            raise low.refuse(f"its mask has {count} numbers, for {batch or 'any'} sequences.")
        ends, starts = low.split(ends, [batch, batch], 0)
    at = op.Cast(places(low, k, 2), to=low.known(ends).dtype)
    seen = op.Less(at, op.Unsqueeze(ends, [1, 2, 3]))
    if starts is not None:
        seen = op.And(seen, op.GreaterOrEqual(at, op.Unsqueeze(starts, [1, 2, 3])))
    found: ir.Value = seen
    return found


def _unidirectional(node: ir.Node) -> bool:
    return bool(node.attributes.get_int("unidirectional", 0))


def _refuse_past(low: Lowering, given: dict[str, ir.Value | None]) -> None:
    names = ", ".join(name for name, value in given.items() if value is not None)
    if names:
        raise low.refuse(
            f"it continues from a cache of keys and values ({names}). Export the model without a "
            "cache (use_cache=False), and explain whole sequences."
        )


def _padded(inputs: Sequence[ir.Value | None], count: int) -> list[ir.Value | None]:
    return [*inputs, *[None] * (count - len(inputs))]
