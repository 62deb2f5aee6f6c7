"""LSTM, GRU and RNN as their gates, unrolled over a sequence of known length.

T steps, B samples, I features, H hidden. Everything inside keeps the operator's three axes, with
one for the step (0, or 1 under ``layout``), so that a step's output is its part of Y. Both
directions project the whole sequence at once; what is left for a step is the recurrent product and
the gates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxshap.graph.lower.gates import Function, functions
from onnxshap.graph.lower.lowering import Lowering
from onnxshap.graph.shapes import infer

_NODES_A_STEP = {"LSTM": 16, "GRU": 16, "RNN": 8}  # about; masks and clips included

_SINGLE = "onnxshap.single_step"  # what is noted on a node

States = list[ir.Value | None]
"""Hidden state, and an LSTM's cell; None is zero."""


def lstm(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None]:
    """i, o, f = s(x W + h R + b + p c), c = f c + i tanh(x W + h R + b), h = o tanh(c)."""
    return _Recurrent(low, node, _Lstm).outputs()


def gru(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None]:
    """z, r = s(x W + h R + b), n = tanh(x W + (r h) R + b), h = n + z (h - n)."""
    return _Recurrent(low, node, _Gru).outputs()


def rnn(low: Lowering, node: ir.Node) -> Sequence[ir.Value | None]:
    """h = tanh(x W + h R + b)."""
    return _Recurrent(low, node, _Cell).outputs()


def note_single_steps(graph: ir.Graph) -> None:
    """Remember sequences of one step: a batch of 1 that is freed may be that step.

    A sample is then such a sequence, and any number of them is run side by side.
    """
    nodes = [n for n in graph if n.op_type in _NODES_A_STEP and not n.domain]
    known = infer(graph, {}) if nodes else {}
    for node in nodes:
        dims = known[x].dims if (x := node.inputs[0]) is not None else None
        if dims and dims[_sequence_axis(node)] == 1:
            node.meta[_SINGLE] = True


def _sequence_axis(node: ir.Node) -> int:
    return 1 if node.attributes.get_int("layout", 0) else 0


@dataclass
class _Cell:
    """One direction's weights and functions; this one is the simple RNN's."""

    low: Lowering
    hidden: int
    functions: list[Function]
    recurrent: ir.Value
    """R transposed, [H, gates H]."""
    bias: ir.Value | None
    """Of input and recurrence, [2 gates H]."""
    peephole: ir.Value | None
    clip: float | None
    settings: dict[str, Any]

    gates = 1
    defaults: tuple[str, ...] = ("Tanh",)
    cells = 0

    def added(self) -> ir.Value | None:
        """Bias that goes to the projected sequence, [gates H]."""
        if self.bias is None:
            return None
        ours, theirs = self.low.split(self.bias, [self.gates * self.hidden] * 2, 0)
        return self.low.op.Add(ours, theirs)

    def prepare(self, projected: ir.Value, steps: int, axis: int) -> Iterator[Any]:
        """What each step reads of the projected sequence."""
        return iter(self.low.split(projected, [1] * steps, axis))

    def step(self, x: Any, states: States) -> States:
        """Next states."""
        return [self.apply(0, self.sum(x, states[0]))]

    def sum(self, x: ir.Value, h: ir.Value | None, weights: ir.Value | None = None) -> ir.Value:
        """X W + b + h R."""
        op = self.low.op
        if h is None:
            return x
        return op.Add(x, op.MatMul(h, self.recurrent if weights is None else weights))

    def apply(self, k: int, value: ir.Value) -> ir.Value:
        """Activation ``k`` of the operator's list, its input clipped."""
        if self.clip is not None:
            value = self.low.op.Clip(value, -self.clip, self.clip)
        return self.functions[k](self.low.op, value)


class _Lstm(_Cell):
    gates = 4
    defaults = ("Sigmoid", "Tanh", "Tanh")
    cells = 1

    def step(self, x: ir.Value, states: States) -> States:
        op, size, (h, c) = self.low.op, self.hidden, states
        total, p_o = self.sum(x, h), None
        if self.peephole is None:  # gates of one function are one node
            gates, candidate = self.low.split(total, [3 * size, size], -1)
            i, o, f = self.low.split(self.apply(0, gates), [size] * 3, -1)
        else:
            i, o, f, candidate = self.low.split(total, [size] * 4, -1)
            p_i, p_o, p_f = self.low.split(self.peephole, [size] * 3, 0)
            i = self.apply(0, i if c is None else op.Add(i, op.Mul(p_i, c)))
            f = self.apply(0, f if c is None else op.Add(f, op.Mul(p_f, c)))
        if self.settings.get("input_forget"):
            f = op.Sub(1.0, i)
        new = op.Mul(i, self.apply(1, candidate))
        new = new if c is None else op.Add(op.Mul(f, c), new)
        if p_o is not None:
            o = self.apply(0, op.Add(o, op.Mul(p_o, new)))
        # The runtime does not clip the cell, though ONNX's text may be read that way.
        return [op.Mul(o, self.functions[2](op, new)), new]


class _Gru(_Cell):
    gates = 3
    defaults = ("Sigmoid", "Tanh")

    def added(self) -> ir.Value | None:
        """Bias of the sequence; behind the reset gate, the recurrent one of the candidate stays."""
        if self.bias is None or not self.settings.get("linear_before_reset"):
            return super().added()
        op, size = self.low.op, self.hidden
        ours, gates, self._candidate = self.low.split(self.bias, [3 * size, 2 * size, size], 0)
        return op.Add(ours, op.Pad(gates, [0, size]))

    def prepare(self, projected: ir.Value, steps: int, axis: int) -> Iterator[Any]:
        parts = self.low.split(projected, [2 * self.hidden, self.hidden], -1)
        if not self.settings.get("linear_before_reset"):
            self._weights = self.low.split(self.recurrent, [2 * self.hidden, self.hidden], -1)
        return zip(*(self.low.split(part, [1] * steps, axis) for part in parts), strict=True)

    def step(self, x: tuple[ir.Value, ir.Value], states: States) -> States:
        op, size, h = self.low.op, self.hidden, states[0]
        late = bool(self.settings.get("linear_before_reset"))
        inner: ir.Value | None = None
        if late and h is not None:
            gates, inner = self.low.split(op.MatMul(h, self.recurrent), [2 * size, size], -1)
            total = op.Add(x[0], gates)
        else:
            total = self.sum(x[0], h, None if late else self._weights[0])
        z, r = self.low.split(self.apply(0, total), [size] * 2, -1)
        candidate = x[1]
        if late:
            if self.bias is not None:
                inner = self._candidate if inner is None else op.Add(inner, self._candidate)
            candidate = candidate if inner is None else op.Add(candidate, op.Mul(r, inner))
        elif h is not None:
            candidate = self.sum(candidate, op.Mul(r, h), self._weights[1])
        n = self.apply(1, candidate)
        if h is None:
            return [op.Mul(op.Sub(1.0, z), n)]
        return [op.Add(n, op.Mul(z, op.Sub(h, n)))]


class _Recurrent:
    """The operator: its directions, masks and outputs."""

    def __init__(self, low: Lowering, node: ir.Node, kind: type[_Cell]) -> None:
        self.low, self.node, self.kind = low, node, kind
        self.settings = {name: a.value for name, a in node.attributes.items()}
        self.axis = _sequence_axis(node)
        self.steps = 1
        if _SINGLE not in node.meta:
            self.steps = low.size(node.inputs[0], self.axis, "sequence's length")
        self.hidden = low.size(node.inputs[2], 2, "hidden size")
        way = self.settings.get("direction", "forward")
        self.reversed = [False, True] if way == "bidirectional" else [way == "reverse"]
        nodes = _NODES_A_STEP[node.op_type] * len(self.reversed)
        low.spend(nodes * self.steps, self.steps)

    def outputs(self) -> list[ir.Value | None]:
        """Y [T, directions, B, H], Y_h and, of an LSTM, Y_c [directions, B, H]."""
        low, op = self.low, self.low.op
        runs = [self._run(k) for k in range(len(self.reversed))]
        found: list[ir.Value | None] = [None]
        if low.wanted(self.node, 0):
            place = 1 if self.axis == 0 else 2
            sides = [low.concat(steps, self.axis) for steps, _ in runs]
            found = [low.concat([op.Unsqueeze(side, [place]) for side in sides], place)]
        for k in range(1 + self.kind.cells):
            last = [states[k] for _, states in runs]
            found.append(low.concat([v for v in last if v is not None], self.axis))
        count = len(self.node.outputs)
        return [v if low.wanted(self.node, k) else None for k, v in enumerate(found[:count])]

    def _run(self, direction: int) -> tuple[list[ir.Value], States]:
        """Every step's hidden state in the order of the sequence, and the last states."""
        op = self.low.op
        cell = self._cell(direction)
        x, weights = self.node.inputs[0], self._own(1, direction)
        assert x is not None
        assert weights is not None
        projected = op.MatMul(x, op.Transpose(weights, perm=[1, 0]))
        bias = cell.added()
        projected = projected if bias is None else op.Add(projected, bias)
        parts = list(enumerate(cell.prepare(projected, self.steps, self.axis)))
        states: States = [self._initial(5 + k, direction) for k in range(1 + cell.cells)]
        rows: list[ir.Value] = []
        lengths = self._lengths()
        for t, part in reversed(parts) if self.reversed[direction] else parts:
            new = cell.step(part, states)
            output = new[0]
            if lengths is not None:  # past its end a sequence keeps its states and gives zeros
                inside = op.Greater(lengths, t)
                new = [
                    op.Where(inside, v, 0.0 if old is None else old)
                    for v, old in zip(new, states, strict=True)
                ]
                output = op.Where(inside, output, 0.0) if states[0] is not None else new[0]
            assert output is not None
            states = new
            rows.append(output)
        return (rows[::-1] if self.reversed[direction] else rows), states

    def _cell(self, direction: int) -> _Cell:
        recurrent = self._own(2, direction)
        assert recurrent is not None
        return self.kind(
            self.low,
            self.hidden,
            functions(self.low, self.settings, self.kind.defaults, direction),
            self.low.op.Transpose(recurrent, perm=[1, 0]),
            self._own(3, direction),
            self._own(7, direction) if self.kind.cells else None,
            self.settings.get("clip"),
            self.settings,
        )

    def _input(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def _own(self, index: int, direction: int) -> ir.Value | None:
        """One direction's part of a weight [directions, ...]."""
        value = self._input(index)
        if value is None:
            return None
        return self.low.slices(value, 0, len(self.reversed))[direction]

    def _initial(self, index: int, direction: int) -> ir.Value | None:
        """One direction's initial state; None where it is zero."""
        value = self._input(index)
        content = None if value is None else value.const_value
        if value is None or (content is not None and not content.numpy().any()):
            return None
        return self.low.split(value, [1] * len(self.reversed), self.axis)[direction]

    def _lengths(self) -> ir.Value | None:
        """Lengths of the sequences [1, B, 1], or [B, 1, 1]; None where all are whole."""
        value = self._input(4)
        known = self.low.known(value).value
        if value is None or (known is not None and np.all(known >= self.steps)):
            return None
        lengths: ir.Value = self.low.op.Unsqueeze(value, [1, 2] if self.axis else [0, 2])
        return lengths
