"""Attention as products, a mask and a softmax.

Samples B, heads H, queries S, keys T, features D. Where queries have more heads than keys, the
queries of heads that share a key's are rows of one product, [B, key heads, shared heads * S, D].
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering

Size = int | ir.Value
"""A size that is known, or int64 [1] where only the run tells."""


def attention(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None]:
    """Y = softmax(Q K' scale + mask) V."""
    return _Attention(low, node).outputs()


class _Attention:
    def __init__(self, low: Lowering, node: ir.Node) -> None:
        self.low, self.op, self.node = low, low.op, node
        self.settings = {name: a.value for name, a in node.attributes.items()}
        query, key, value = node.inputs[:3]
        self.flat = len(low.dims(query)) == 3
        self.heads, self.shared = self._heads(query, "q"), self._heads(key, "kv")
        width = low.size(query, -1, "query size")
        self.width = width // self.heads if self.flat else width
        values = low.size(value, -1, "value size")
        self.value_width = values // self.shared if self.flat else values
        self.query_count = self._size(query, 1 if self.flat else 2)
        self.query = self._split(query, self.heads, self.width)
        self.key = self._split(key, self.shared, self.width)
        self.value = self._split(value, self.shared, self.value_width)
        self.past: Size = 0
        self.key_count = self._size(key, 1 if self.flat else 2)
        if self._has(4):
            self.past = self._size(node.inputs[4], 2)
            self.key_count = self._add(self.past, self.key_count)
            self.key = self.op.Concat(node.inputs[4], self.key, axis=2)
            self.value = self.op.Concat(node.inputs[5], self.value, axis=2)

    def outputs(self) -> list[ir.Value | None]:
        """Y, the keys and values with those of the past, and scores or weights."""
        op = self.op
        scale = self.settings.get("scale") or 1 / math.sqrt(self.width)
        rows = op.Mul(self.query, scale)
        if self.heads != self.shared:
            rows = op.Reshape(rows, [0, self.shared, -1, self.width])
        scores = op.MatMul(rows, op.Transpose(self.key, perm=[0, 1, 3, 2]))
        if self.heads != self.shared:
            scores = op.Reshape(scores, self._shape(0, self.heads, self.query_count, -1))
        shown = [scores]
        cap = self.settings.get("softcap") or 0.0
        if cap:
            scores = op.Mul(op.Tanh(op.Div(scores, cap)), cap)
        shown.append(scores)
        weights, masked = self._weights(scores)
        shown += [masked, weights]
        if self.heads != self.shared:
            weights = op.Reshape(weights, self._shape(0, self.shared, -1, self.key_count))
        y = op.MatMul(weights, self.value)
        if self.heads != self.shared:
            y = op.Reshape(y, self._shape(0, self.heads, -1, self.value_width))
        if self.flat:
            y = op.Reshape(op.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, -1])
        mode = self.settings.get("qk_matmul_output_mode", 0)
        found = [y, self.key, self.value, shown[mode]]
        count = len(self.node.outputs)
        return [v if self.low.wanted(self.node, k) else None for k, v in enumerate(found[:count])]

    def _weights(self, scores: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Softmax of the masked scores, 0 for queries that may see no key; the masked scores."""
        op, allowed = self.op, self._allowed()
        added = self._padded(3) if self._has(3) else None
        if added is not None and added.dtype == ir.DataType.BOOL:
            allowed, added = (added if allowed is None else op.And(allowed, added)), None
        masked = scores if added is None else op.Add(scores, added)
        lowest = op.value(-np.inf, scores.dtype)
        shown = masked = masked if allowed is None else op.Where(allowed, masked, lowest)
        blind = self._blind(allowed, added, scores.dtype)
        if blind is not None:  # a softmax over nothing is not a number
            masked = op.Where(blind, 0.0, masked)
        precision = self.settings.get("softmax_precision")
        if precision is not None and precision != scores.dtype:
            masked = op.Cast(masked, to=precision)
        weights = op.Softmax(masked, axis=-1)
        if precision is not None and precision != scores.dtype:
            weights = op.Cast(weights, to=scores.dtype)
        return (weights if blind is None else op.Where(blind, 0.0, weights)), shown

    def _blind(
        self, allowed: ir.Value | None, added: ir.Value | None, dtype: ir.DataType | None
    ) -> ir.Value | None:
        """Which queries may see no key [..., S, 1]; None where every one sees some."""
        op, low = self.op, self.low
        bias = added
        if allowed is not None:
            content = low.known(allowed).value
            if added is None and content is not None and content.any(-1).all():
                return None
            lowest = op.value(-np.inf, dtype)
            bias = op.Where(allowed, op.value(0.0, dtype) if added is None else added, lowest)
        if bias is None:
            return None
        content = low.known(bias).value
        if content is not None and (content > -np.inf).any(-1).all():
            return None
        best = op.ReduceMax(bias, [-1], keepdims=1)
        blind: ir.Value = op.IsInf(best, detect_positive=0)
        return blind

    def _allowed(self) -> ir.Value | None:
        """Which keys a query may see, by their places; None for all."""
        op, rules = self.op, list[ir.Value]()
        causal = bool(self.settings.get("is_causal"))
        left = self.settings.get("left_window_size", -1)
        right = self.settings.get("right_window_size", -1)
        lengths = self.node.inputs[6] if self._has(6) else None
        keys = self._range(self.key_count)
        if causal or left >= 0 or right >= 0:
            known = [self.past, self.query_count, self.key_count]
            if lengths is None and all(isinstance(size, int) for size in known):
                return self._allowed_constant(causal, left, right)
            queries = op.Unsqueeze(self._range(self.query_count), [1])
            ahead = op.Sub(keys, queries)  # of key to query, less the keys before the first query
            before: ir.Value = op.value(self.past, ir.DataType.INT64)
            if lengths is not None:
                before = op.Sub(op.Unsqueeze(lengths, [1, 2, 3]), self.query_count)
            ahead = op.Sub(ahead, before)
            if causal:
                rules.append(op.LessOrEqual(ahead, 0))
            if left >= 0:
                rules.append(op.GreaterOrEqual(ahead, -left))
            if right >= 0:
                rules.append(op.LessOrEqual(ahead, right))
        if lengths is not None:
            rules.append(op.Less(keys, op.Unsqueeze(lengths, [1, 2, 3])))
        allowed = rules[0] if rules else None
        for rule in rules[1:]:
            allowed = op.And(allowed, rule)
        return allowed

    def _allowed_constant(self, causal: bool, left: int, right: int) -> ir.Value:
        assert isinstance(self.query_count, int)
        assert isinstance(self.key_count, int)
        ahead = np.arange(self.key_count) - np.arange(self.query_count)[:, None] - self.past
        allowed = np.ones(ahead.shape, bool)
        allowed &= (ahead <= 0) | (not causal)
        allowed &= (ahead >= -left) | (left < 0)
        allowed &= (ahead <= right) | (right < 0)
        return self.op.value(allowed)

    # --- shapes -------------------------------------------------------------------------------

    def _has(self, index: int) -> bool:
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def _heads(self, value: ir.Value | None, whose: str) -> int:
        if self.flat:
            return int(self.settings[f"{whose}_num_heads"])
        return self.low.size(value, 1, "number of heads")

    def _split(self, value: ir.Value | None, heads: int, width: int) -> ir.Value:
        """[B, S, H D] to [B, H, S, D]."""
        assert value is not None
        if not self.flat:
            return value
        apart = self.op.Reshape(value, [0, 0, heads, width])
        split: ir.Value = self.op.Transpose(apart, perm=[0, 2, 1, 3])
        return split

    def _size(self, value: ir.Value | None, axis: int) -> Size:
        found = self.low.dims(value)[axis]
        size: Size = self.op.Shape(value, start=axis, end=axis + 1) if found is None else found
        return size

    def _add(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        total: ir.Value = self.op.Add(*((a, b) if isinstance(a, ir.Value) else (b, a)))
        return total

    def _shape(self, *sizes: Size) -> list[int] | ir.Value:
        known = [s for s in sizes if isinstance(s, int)]
        if len(known) == len(sizes):
            return known
        parts = [[s] if isinstance(s, int) else s for s in sizes]
        shape: ir.Value = self.op.Concat(*parts, axis=0)
        return shape

    def _range(self, size: Size) -> ir.Value:
        if isinstance(size, int):
            return self.op.value(np.arange(size))
        end = self.op.Squeeze(size, [0])
        places: ir.Value = self.op.Range(
            self.op.value(np.array(0)), end, self.op.value(np.array(1))
        )
        return places

    def _padded(self, index: int) -> ir.Value:
        """The mask, filled up to all keys with ones that may not be seen."""
        mask = self.node.inputs[index]
        assert mask is not None
        rank = len(self.low.dims(mask))
        own = self._size(mask, rank - 1)
        if own == self.key_count or not (isinstance(own, int) and isinstance(self.key_count, int)):
            return mask
        missing, flag = [0] * rank + [0] * (rank - 1) + [self.key_count - own], ir.DataType.BOOL
        if mask.dtype != flag:
            padded: ir.Value = self.op.Pad(mask, missing, -np.inf)
            return padded
        whole = self.op.Pad(self.op.Cast(mask, to=ir.DataType.INT32), missing, 0)
        padded = self.op.Cast(whole, to=flag)
        return padded
