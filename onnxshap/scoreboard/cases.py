"""The suite: ONNX's backend node tests, and which of their inputs a derivative is asked for.

The installed onnx package makes the cases when asked; nothing is downloaded.
"""

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference.op_run import OpRun

from onnxshap.graph.normalize import NEWEST_IR, OPSETS
from onnxshap.scoreboard.schemas import held

FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
"""Types that derivatives exist in."""

TWIN = "_expanded"
"""In the names of cases that give an operator's body, written out, in place of the operator."""


@dataclass(frozen=True, eq=False)
class Case:
    """One test of ONNX's: a model, its data, and the float inputs to differentiate."""

    name: str
    op: str
    """The operator under test; of a twin, the one whose body it is."""
    model: onnx.ModelProto
    feeds: dict[str, np.ndarray]
    expected: list[np.ndarray | None]
    """Outputs as the suite has them; None where they are no tensors."""
    inputs: dict[str, int]
    """Inputs a derivative is asked for, with their place among the operator's inputs."""
    outputs: list[str]
    """Float outputs."""
    tolerance: tuple[float, float]
    """rtol and atol that the suite asks of a backend."""
    smooth: tuple[type[OpRun], ...] = ()
    """Operators in whose place these are differentiated by hand: straight through a rounding."""

    @property
    def seed(self) -> int:
        """A number of the case's own, for its random choices: the same in every run."""
        return int.from_bytes(self.name.encode()) % (2**61 - 1)


@dataclass(frozen=True)
class LeftOut:
    """A case that is not judged, and why."""

    name: str
    op: str
    reason: str


def collect(op: str | None = None) -> tuple[list[Case], list[LeftOut]]:
    """Return the cases of the suite (of one operator), and those that cannot be judged.

    Parameters
    ----------
    op : str, optional
        Only this operator's cases and their twins.
    """
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests: list[Any] = load_model_tests(kind="node")
    nodes = {t.name: (t.model, t.model.graph.node[0]) for t in tests if TWIN not in t.name}
    cases, left_out = [], []
    for test in tests:
        origin, node = nodes[test.name.split(TWIN)[0]]
        if op is not None and node.op_type != op:
            continue
        made = _case(test, origin, node)
        if isinstance(made, Case):
            cases.append(made)
        else:
            left_out.append(LeftOut(test.name, node.op_type, made))
    return cases, left_out


def sample(cases: Sequence[Case], fraction: float, seed: int) -> list[Case]:
    """Return a random part of the cases, the same for the same seed, in the suite's order."""
    count = round(fraction * len(cases))
    chosen = random.Random(seed).sample(range(len(cases)), count)
    return [cases[i] for i in sorted(chosen)]


def _case(test: Any, origin: onnx.ModelProto, node: onnx.NodeProto) -> Case | str:
    """One case, or why there is none."""
    model = test.model
    foreign = sorted({n.domain for n in model.graph.node} - {"", "ai.onnx"})
    if foreign:
        return f"operator of {', '.join(foreign)}"
    given, expected = test.data_sets[0]
    feeds = {v.name: _array(g) for v, g in zip(model.graph.input, given, strict=True)}
    arrays = {name: a for name, a in feeds.items() if a is not None}
    floats = {v.name for v in model.graph.input if _type(v) in FLOATS}
    outputs = [v.name for v in model.graph.output if _type(v) in FLOATS]
    if not floats:
        return "no float input"
    if not outputs:
        return "no float output"
    if len(arrays) < len(feeds):
        return "an input is no tensor"
    opset = next(o.version for o in origin.opset_import if o.domain == node.domain)
    places = {
        name: place
        for place, name in enumerate(node.input)
        if name in floats and not held(node.op_type, node.domain, opset, place)
    }
    if not places:
        return "no float input the schema calls differentiable"
    return Case(
        name=test.name,
        op=node.op_type,
        model=lowered(model),
        feeds=arrays,
        expected=[_array(e) for e in expected],
        inputs=places,
        outputs=outputs,
        tolerance=(test.rtol, test.atol),
    )


def lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """Restamp a model of newer versions to the newest that runtimes read, where it is valid there.

    Whether it still means the same is seen on the case's own data.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = min(copy.ir_version, NEWEST_IR)
    newer = onnx.ModelProto()
    newer.CopyFrom(copy)
    for entry in copy.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = min(entry.version, OPSETS[-1])
    try:
        onnx.checker.check_model(copy)
    except onnx.checker.ValidationError:
        return newer
    return copy


def _type(value: onnx.ValueInfoProto) -> int:
    return value.type.tensor_type.elem_type


def _array(given: Any) -> np.ndarray | None:
    if isinstance(given, TensorProto):
        return numpy_helper.to_array(given)
    return np.asarray(given) if isinstance(given, np.ndarray | np.generic) else None
