"""Control flow: branches that are known are taken, loops of a known length are unrolled."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.lowering import Lowering


def cast_like(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None]:
    """Cast, now that the types in a body are known."""
    dtype = low.known(node.inputs[1]).dtype
    if dtype is None:
        raise low.refuse(f'the dtype of "{node.inputs[1] and node.inputs[1].name}" is not known.')
    if dtype == low.known(node.inputs[0]).dtype:
        return [node.inputs[0]]
    return [low.op.Cast(node.inputs[0], to=dtype)]


def if_(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None]:
    """Take the branch, or where the condition is not known, both, and choose by Where."""
    condition = node.inputs[0]
    assert condition is not None
    branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    known = low.known(condition).value
    if known is not None:
        return low.inline(branches[0 if bool(known.ravel()[0]) else 1], [])
    taken, other = (low.inline(branch, []) for branch in branches)
    for a, b in zip(taken, other, strict=True):
        if low.known(a).dims is None or low.known(a).dims != low.known(b).dims:
            raise low.refuse(
                f'its condition "{condition.name}" is not known beforehand, and its branches '
                f'give "{a.name}" and "{b.name}" of different or unknown shapes. Fix the sizes of '
                "the model's inputs, or fold constants in the model."
            )
    return [low.op.Where(condition, a, b) for a, b in zip(taken, other, strict=True)]


def loop(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None]:
    """Unroll: every step's counter and condition are known."""
    body = node.attributes["body"].as_graph()
    limit = condition = None
    if node.inputs[0] is not None:
        limit = _told(low, node.inputs[0], "number of trips")
    going = True
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        condition = node.inputs[1]
        going = bool(_told(low, condition, "condition"))
    states, rows = [v for v in node.inputs[2:] if v is not None], list[list[ir.Value]]()
    step = 0
    while going and (limit is None or step < limit):
        counter = low.op.value(np.array(step, np.int64))
        condition = low.op.value(np.array(True))
        found = low.inline(body, [counter, condition, *states])
        states, row = found[1 : len(states) + 1], found[len(states) + 1 :]
        rows.append(row)
        step += 1
        if limit is None or step < limit:
            going = bool(_told(low, found[0], f"condition after {step} steps"))
        low.spend(1 + len(row), step)
    stacked = _stacked(low, rows, [0] * (len(node.outputs) - len(states)))
    return [*states, *stacked]


def scan(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None]:
    """Unroll over the slices of the scanned inputs."""
    body = node.attributes["body"].as_graph()
    count = node.attributes["num_scan_inputs"].as_int()
    values = [v for v in node.inputs if v is not None]
    if len(values) < len(node.inputs):
        raise low.refuse("an input is left out, as opset 8 has it. Export with a newer opset.")
    states, scanned = values[: len(values) - count], values[len(values) - count :]
    slices: list[list[ir.Value]] = []
    for k, value in enumerate(scanned):
        axis = _setting(node, "scan_input_axes", k) % len(low.dims(value))
        parts = low.slices(value, axis, low.size(value, axis, "length"))
        slices.append(parts[::-1] if _setting(node, "scan_input_directions", k) else parts)
    rows = []
    for step, taken in enumerate(zip(*slices, strict=True)):
        found = low.inline(body, [*states, *taken])
        states, row = found[: len(states)], found[len(states) :]
        rows.append(row)
        low.spend(1 + len(row), step + 1)
    outputs = len(node.outputs) - len(states)
    axes = [_setting(node, "scan_output_axes", k) for k in range(outputs)]
    backward = [k for k in range(outputs) if _setting(node, "scan_output_directions", k)]
    return [*states, *_stacked(low, rows, axes, backward)]


def _setting(node: ir.Node, name: str, index: int) -> int:
    """One of a list of whole numbers that are 0 where not given."""
    given = node.attributes.get(name)
    return int(given.as_ints()[index]) if given is not None else 0


def _told(low: Lowering, value: ir.Value, what: str) -> int:
    known = low.known(value).value
    if known is None:
        raise low.refuse(
            f'its {what} ("{value.name}") is decided as the model runs. Fix the sizes of the '
            "model's inputs, or export the model with a constant number of steps."
        )
    return int(known.ravel()[0])


def _stacked(
    low: Lowering, rows: list[list[ir.Value]], axes: list[int], backward: Sequence[int] = ()
) -> list[ir.Value]:
    """What each step gives beside its states, along an axis of the steps."""
    if axes and not rows:
        raise low.refuse("it runs no step, so what it collects is empty")
    columns = [[row[k] for row in rows] for k in range(len(axes))]
    return [
        low.stack(column[::-1] if k in backward else column, axis)
        for k, (column, axis) in enumerate(zip(columns, axes, strict=True))
    ]
