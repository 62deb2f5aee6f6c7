"""An ONNX net as a list of steps, from which its twins in other frameworks are made."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper


@dataclass
class Step:
    """One operator: what it computes ``output`` from."""

    op: str
    inputs: list[str]
    """Values that depend on the net's input."""
    output: str
    weights: list[np.ndarray]
    """Its constant inputs."""
    attributes: dict[str, Any]
    last: list[str] = field(default_factory=list)
    """Inputs that no later step needs."""

    @property
    def pads(self) -> tuple[int, int, int, int]:
        """Of a window: top, left, bottom, right."""
        top, left, bottom, right = self.attributes.get("pads", (0, 0, 0, 0))
        return top, left, bottom, right


@dataclass
class Steps:
    """A whole net, from ``source`` to ``output``."""

    source: str
    shape: tuple[int, ...]
    """Of one sample."""
    output: str
    steps: list[Step]

    def __post_init__(self) -> None:
        self.made = {step.output: step for step in self.steps}
        seen = {self.output}
        for step in reversed(self.steps):
            step.last = [v for v in dict.fromkeys(step.inputs) if v not in seen]
            seen.update(step.inputs)

    def kept(self, nonlinear: Iterable[str], cheap: Iterable[str]) -> set[str]:
        """What backward rules of ``nonlinear`` steps read of a forward run.

        Traced back to what is not made by a ``cheap`` step, as those are run again instead.
        """
        again, rules = set(cheap), set(nonlinear)
        wanted = [v for s in self.steps if s.op in rules for v in s.inputs]
        kept = {self.source}
        while wanted:
            name = wanted.pop()
            if name in self.made and self.made[name].op in again:
                wanted += self.made[name].inputs
            else:
                kept.add(name)
        return kept


def read(path: Path) -> Steps:
    """Read an ONNX file whose nodes have one output each."""
    graph = onnx.load(path).graph
    weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    steps = []
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Constant":
            weights[node.output[0]] = numpy_helper.to_array(attributes["value"])
        elif node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
        else:
            inputs = [v for v in node.input if v not in weights]
            constants = [weights[v] for v in node.input if v in weights]
            steps.append(Step(node.op_type, inputs, node.output[0], constants, attributes))
    steps = _with_silu(steps)
    source = graph.input[0]
    shape = tuple(d.dim_value for d in source.type.tensor_type.shape.dim[1:])
    return Steps(source.name, shape, graph.output[0].name, steps)


def _with_silu(steps: list[Step]) -> list[Step]:
    """Write x sigmoid(x) as one step, the module it was before it was exported."""
    made = {step.output: step for step in steps}
    uses = Counter(v for step in steps for v in step.inputs)
    found, gone = [], set()
    for step in steps:
        for own, gate in (step.inputs, step.inputs[::-1]) if step.op == "Mul" else ():
            sigmoid = made.get(gate)
            if sigmoid and (sigmoid.op, sigmoid.inputs, uses[gate]) == ("Sigmoid", [own], 1):
                step = Step("Silu", [own], step.output, [], {})
                gone.add(gate)
                break
        found.append(step)
    return [step for step in found if step.output not in gone]
