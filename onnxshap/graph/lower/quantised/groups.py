"""DequantizeLinear, an operator, QuantizeLinear: what runtimes run as one integer kernel.

Products and means of quantised tensors go through whole numbers, as in `products`. In floats the
order of a sum would decide what becomes of a number half between two steps, which is common: a
mean of four steps is one every fourth time.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering
from onnxshap.graph.lower.quantised import products
from onnxshap.graph.lower.quantised.steps import Steps, along, count, given, operand, steps

Outputs = list[ir.Value | None]
Whole = tuple[ir.Value, ir.Value]
"""Whole numbers, and what one of them is worth."""


def quantize_linear(low: Lowering, node: ir.Node) -> Outputs | None:
    """QuantizeLinear of a product or mean of dequantised tensors, together with it."""
    value, zero = given(node, 0), operand(node, 2)
    made = value.producer()
    alone = len(value.uses()) == 1 and not value.is_graph_output() and not low.asked(value)
    whole = _GROUPS.get(made.op_type) if made is not None and not made.domain else None
    if whole is None or made is None or not alone or low.known(given(node, 1)).dims not in _ONE:
        return None
    found = whole(low, made)
    if found is None:
        return None
    return [products.rescaled(low, *found, given(node, 1), zero, node.outputs[0])]


def dequantised(value: ir.Value | None) -> Steps | None:
    """The quantised tensor that a DequantizeLinear makes a value of, block by block excepted."""
    node = None if value is None else value.producer()
    if node is None or node.domain or node.op_type != "DequantizeLinear":
        return None
    blocked = node.attributes.get_int("block_size", 0)
    return None if blocked else steps(node, 0, node.attributes.get_int("axis", 1))


_ONE: list[tuple[int | None, ...]] = [(), (1,)]


def _along(low: Lowering, x: Steps, axis: int | None) -> bool:
    """Whether there is one scale, or one for each place along ``axis``."""
    rank, own = len(low.dims(x.value)), low.dims(x.scale)
    return own in _ONE or (axis is not None and x.axis % rank == axis % rank)


def _conv(low: Lowering, node: ir.Node) -> Whole | None:
    x, w = dequantised(given(node, 0)), dequantised(given(node, 1))
    if x is None or w is None or not (_along(low, x, None) and _along(low, w, 0)):
        return None
    settings = {name: a.value for name, a in node.attributes.items()}
    bias = operand(node, 2)
    if bias is not None and not _fits(low, bias, x, w):
        return None
    return products.conv(low, x, w, _whole_bias(low, bias), settings)


def _gemm(low: Lowering, node: ir.Node) -> Whole | None:
    a, b = dequantised(given(node, 0)), dequantised(given(node, 1))
    settings = {name: a.value for name, a in node.attributes.items()}
    columns = 0 if settings.get("transB") else 1
    if a is None or b is None or not (_along(low, a, None) and _along(low, b, columns)):
        return None
    bias = operand(node, 2)
    scaled = any(settings.get(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    if bias is not None and (scaled or not _fits(low, bias, a, b)):
        return None
    return products.gemm(low, a, b, _whole_bias(low, bias), settings)


def _matmul(low: Lowering, node: ir.Node) -> Whole | None:
    a, b = dequantised(given(node, 0)), dequantised(given(node, 1))
    if a is None or b is None or not (_along(low, a, None) and _along(low, b, -1)):
        return None
    return products.matmul(low, a, b)


def _mean(low: Lowering, node: ir.Node) -> Whole | None:
    x = dequantised(given(node, 0))
    if x is None or not _along(low, x, None):
        return None
    settings = {name: a.value for name, a in node.attributes.items()}
    total = low.op.several(node.op_type, count(low, x.value, x.zero), **settings)[0]
    return total, along(low, x.scale, 0)


def _fits(low: Lowering, bias: ir.Value, x: Steps, w: Steps) -> bool:
    """Whether a bias is in steps of the product, as quantisers write it."""
    own = dequantised(bias)
    known = [low.known(v).value for v in (None if own is None else own.scale, x.scale, w.scale)]
    if own is None or any(k is None for k in known) or own.value.dtype != ir.DataType.INT32:
        return False
    step, first, second = (np.asarray(k, np.float32).ravel() for k in known)
    zero = low.known(own.zero).value
    return np.allclose(step, first * second, rtol=1e-6, atol=0) and (
        own.zero is None or (zero is not None and not zero.any())
    )


def _whole_bias(low: Lowering, bias: ir.Value | None) -> ir.Value | None:
    own = dequantised(bias)
    return products.whole_bias(low, None if own is None else own.value)


_GROUPS: dict[str, Callable[[Lowering, ir.Node], Whole | None]] = {
    "AveragePool": _mean,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "MatMul": _matmul,
}
