"""Quantisation by the range that a tensor happens to have.

Scale s = (max - min) / 255 and zero z = round(-min / s), the range stretched to hold 0;
y = round(x / s + z). What is made of y is multiplied by s again. Were s followed through that
division and that multiplication, each would credit the largest and smallest elements with what
the other takes away. So where both are found, they are one: s (y - z) = x + s (y - x / s - z),
x and what rounding added to it.
"""

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering, Pair
from onnxshap.graph.lower.quantised.steps import count, given, operand

Outputs = list[ir.Value | None]

_MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def dynamic_quantize_linear(low: Lowering, node: ir.Node) -> Outputs:
    """DynamicQuantizeLinear: its range by ReduceMax and ReduceMin, rounding by QuantizeLinear."""
    op, x = low.op, given(node, 0)
    none, most = op.value(0.0, x.dtype), op.value(255.0, x.dtype)
    low_end, high_end = op.Min(op.ReduceMin(x, keepdims=0), none), op.ReduceMax(x, keepdims=0)
    width = op.Sub(op.Max(high_end, none), low_end)
    step = op.Div(width, most)
    scale = op.Where(op.Equal(width, 0.0), op.value(1.0, x.dtype), step)
    start = op.Clip(op.Div(op.Neg(low_end), scale), none, most)
    one, byte = op.value(1.0, x.dtype), op.value(np.array(0, np.uint8))
    zero = op.QuantizeLinear(start, one, byte)
    placed = op.Add(op.Div(x, scale), op.Cast(zero, to=x.dtype))
    y = op.QuantizeLinear(placed, one, byte)
    rounding = op.Sub(op.Cast(y, to=x.dtype), placed)
    low.pairs[y] = Pair(scale, op.Add(x, op.Mul(rounding, step)))  # of a blank 0, and not by 1
    return [y, scale, zero]


def rescaled(low: Lowering, node: ir.Node) -> bool:
    """Rewrite a whole product of a tensor so quantised together with its rescaling, if found.

    The rescaling: the product goes into a Cast alone, that into a Mul by the scale or by the
    product of two scales, as quantisers write it.
    """
    scaling = _only_user(low, _only_user(low, node, "Cast"), "Mul")
    a = own_range(low, given(node, 0))
    if scaling is None or a is None:
        return False
    factors = _factors(low, scaling)
    if factors is None or a.scale not in factors:
        return False
    factors.remove(a.scale)
    b = own_range(low, given(node, 1))
    if b is not None and b.scale in factors:
        factors.remove(b.scale)
        right = b.number
    else:
        after = len(low.dims(given(node, 1))) - 1 if node.op_type == "ConvInteger" else 0
        right = count(low, given(node, 1), operand(node, 3), after)
    if node.op_type == "ConvInteger":
        found = convolved(low, node, a.number, right)
    else:
        found = low.op.MatMul(a.number, right)
    for factor in factors:
        found = low.op.Mul(found, factor)
    low.stand_in(scaling, found)
    return True


def convolved(low: Lowering, node: ir.Node, x: ir.Value, w: ir.Value) -> ir.Value:
    """Conv with the attributes of ``node``."""
    found: ir.Value = low.op.Conv(x, w, **{name: a.value for name, a in node.attributes.items()})
    return found


def _only_user(low: Lowering, node: ir.Node | None, op_type: str) -> ir.Node | None:
    """The node of that operator, if it alone reads what ``node`` gives, and nobody asks for it."""
    if node is None or node.outputs[0].is_graph_output() or low.asked(node.outputs[0]):
        return None
    users = [user for user, _ in node.outputs[0].uses()]
    found = users[0] if len(users) == 1 and not users[0].domain else None
    return found if found is not None and found.op_type == op_type else None


def _factors(low: Lowering, scaling: ir.Node) -> list[ir.Value] | None:
    """What the cast product is multiplied by: one scale, or two that were multiplied before."""
    scales = [v for v in scaling.inputs if v is not None and not _is_cast(v)]
    if len(scales) != 1:
        return None
    before = scales[0].producer()
    if before is None or before.domain or before.op_type != "Mul":
        return scales
    if any(scales[0] is pair.scale for pair in low.pairs.values()):
        return scales
    return [v for v in before.inputs if v is not None]


def _is_cast(value: ir.Value) -> bool:
    node = value.producer()
    return node is not None and node.op_type == "Cast" and _whole(node.inputs[0])


def _whole(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    return node is not None and node.op_type in ("ConvInteger", "MatMulInteger")


def own_range(low: Lowering, value: ir.Value) -> Pair | None:
    """What ``value`` stands for, moved as it was since it was quantised."""
    moves: list[ir.Node] = []
    while value not in low.pairs:
        node = value.producer()
        if node is None or node.domain or node.op_type not in _MOVES:
            return None
        moves.append(node)
        value = given(node, 0)
    found = low.pairs[value]
    for node in reversed(moves):
        settings = {name: a.value for name, a in node.attributes.items()}
        moved = low.op.several(node.op_type, found.number, *node.inputs[1:], **settings)[0]
        found = Pair(found.scale, moved)
    return found


# --- com.microsoft's operators in ONNX's ----------------------------------------------------------


def matmul_integer_to_float(low: Lowering, node: ir.Node) -> Outputs:
    """MatMulIntegerToFloat: MatMulInteger, Cast and Mul by both scales; then the bias."""
    a, b, scales = given(node, 0), given(node, 1), (given(node, 2), given(node, 3))
    return _matmul(low, a, b, scales, (operand(node, 4), operand(node, 5)), operand(node, 6))


def dynamic_quantize_matmul(low: Lowering, node: ir.Node) -> Outputs:
    """DynamicQuantizeMatMul: DynamicQuantizeLinear of the first operand before that."""
    y, scale, zero = low.op.several("DynamicQuantizeLinear", given(node, 0), outputs=3)
    y.dtype = zero.dtype = ir.DataType.UINT8
    b, zeros = given(node, 1), (zero, operand(node, 3))
    return _matmul(low, y, b, (scale, given(node, 2)), zeros, operand(node, 4))


def _matmul(
    low: Lowering,
    a: ir.Value,
    b: ir.Value,
    scales: tuple[ir.Value, ir.Value],
    zeros: tuple[ir.Value | None, ir.Value | None],
    bias: ir.Value | None,
) -> Outputs:
    op = low.op
    whole = op.MatMulInteger(a, b, *zeros)
    found = op.Mul(op.Cast(whole, to=scales[0].dtype), op.Mul(*scales))
    return [found if bias is None else op.Add(found, bias)]
