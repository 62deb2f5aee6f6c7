"""Softmaxes of rows that are masked whole: no numbers, and the model chooses others behind them.

What flows back to such a row is 0, but 0 times it is no number: rules are shown zeros in its place.
"""

from collections.abc import Collection

import onnx_ir as ir

_ROW_BY_ROW = {"Cast", "Dropout", "Identity", "MatMul", "Mul", "Reshape", "Transpose"}


def masked_rows(nodes: Collection[ir.Node]) -> set[ir.Value]:
    """Values that may hold such rows: from a softmax up to a Where, by which others are chosen.

    Without a Where behind it, as at a classifier's end, a softmax has none that matter.
    """
    found: set[ir.Value] = set()
    for node in nodes:
        if node.op_type in ("LogSoftmax", "Softmax") and not node.domain:
            found |= _up_to_choice(node.outputs[0], nodes, _filled_in(node.inputs[0]))
    return found


def _up_to_choice(
    value: ir.Value, nodes: Collection[ir.Node], filled: ir.Value | None
) -> set[ir.Value]:
    """``value`` and what is computed of it, up to a Where; ``filled``: see `_filled_in`."""
    before: dict[ir.Value, ir.Value] = {}
    waiting, chosen = [value], []
    while waiting:
        last = waiting.pop()
        for user, place in last.uses():
            if user not in nodes:
                continue
            if user.op_type == "Where" and place and user.inputs[0] is not filled:
                chosen.append(last)
            elif user.op_type in _ROW_BY_ROW and place == 0:
                before[user.outputs[0]] = last
                waiting.append(user.outputs[0])
    found: set[ir.Value] = set()
    for last in chosen:
        while last not in found:
            found.add(last)
            last = before.get(last, last)
    return found


def _filled_in(scores: ir.Value | None) -> ir.Value | None:
    """The condition by which rows are chosen before a softmax: it is given numbers in their place.

    A Where by that condition behind it puts zeros there, and no row is ever no number.
    """
    node = None if scores is None else scores.producer()
    while node is not None and node.op_type == "Cast" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node.inputs[0] if node is not None and node.op_type == "Where" else None
