"""Cases of our own for operators and inputs that the suite has none of; judged and told apart.

What is expected of them is what onnxruntime gives.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference.op_run import OpRun

from onnxshap.scoreboard.cases import Case
from onnxshap.scoreboard.runners import Arrays, session

OPSET = 21
OWN = "own_"
"""What their names begin with."""


class QuantizeLinear(OpRun):
    """Clipped, but not rounded: the function whose derivative is straight through the rounding."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray, **_: Any
    ) -> tuple[np.ndarray]:
        limits = np.iinfo(zero.dtype)
        return (np.clip(x / scale + zero, limits.min, limits.max),)


class DequantizeLinear(OpRun):
    """Of what was not rounded."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray, **_: Any
    ) -> tuple[np.ndarray]:
        return ((x - zero) * scale,)


def supplement(op: str | None = None) -> list[Case]:
    """Return the cases, of one operator if named."""
    return [case for case in _cases() if op in (None, case.op)]


def _cases() -> Iterator[Case]:
    rng = np.random.default_rng(11)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    image = normal(1, 2, 5, 4)
    biased = {"X": image, "W": normal(3, 2, 3, 2), "B": normal(3)}
    yield _one("conv_bias", "Conv", biased, pads=[1, 0, 1, 1])
    biased = {"X": image, "W": normal(2, 3, 3, 2), "B": normal(3)}
    yield _one("convtranspose_bias", "ConvTranspose", biased, strides=[2, 1])
    yield _one("globallppool", "GlobalLpPool", {"X": image})
    yield _one("globallppool_p3", "GlobalLpPool", {"X": image}, p=3)
    regions = {"X": image, "rois": np.array([[0, 0, 0, 3, 4], [0, 1, 1, 3, 2]], np.float32)}
    yield _one("maxroipool", "MaxRoiPool", regions, [0], pooled_shape=[2, 2])
    yield _one("trilu_lower", "Trilu", {"input": normal(2, 3, 4)}, upper=0)
    yield _one("trilu_upper", "Trilu", {"input": normal(2, 3, 4), "k": np.array(-1)}, [0])
    steps = {"x": 30 * normal(2, 4, 3), "scale": np.array(0.3, np.float32)}
    held: Arrays = {"zero": np.array(5, np.int8), "back": np.array(0.7, np.float32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "back", "zero"], ["y"]),
    ]
    there = _made("quantizelinear", nodes, steps, held)
    yield replace(there, smooth=(QuantizeLinear, DequantizeLinear))
    for taken in (True, False):
        yield _made(f"if_{taken}".lower(), [_choice()], {"x": normal(2, 3)}, {"c": np.array(taken)})


def _choice() -> onnx.NodeProto:
    """Sin or Exp of a value that the branches read from outside."""
    end = helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [2, 3])
    branches = {
        name: helper.make_graph([helper.make_node(op, ["x"], ["z"])], name, [], [end])
        for name, op in (("then_branch", "Sin"), ("else_branch", "Exp"))
    }
    return helper.make_node("If", ["c"], ["y"], **branches)


def _one(
    name: str, op: str, feeds: Arrays, places: list[int] | None = None, **attributes: Any
) -> Case:
    """A case of one node; ``places``: the inputs that are differentiated, all by default."""
    names = list(feeds)
    free = [names[i] for i in places] if places is not None else names
    held = {n: a for n, a in feeds.items() if n not in free}
    node = helper.make_node(op, names, ["y"], **attributes)
    return _made(name, [node], {n: feeds[n] for n in free}, held)


def _made(name: str, nodes: list[onnx.NodeProto], free: Arrays, held: Arrays) -> Case:
    ends = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in free.items()
    ]
    tensors = [numpy_helper.from_array(a, n) for n, a in held.items()]
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, name, ends, [y], tensors)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    given = list(nodes[0].input)
    return Case(
        name=OWN + name,
        op=nodes[0].op_type,
        model=model,
        feeds=free,
        expected=[session(model)(free)["y"]],
        inputs={n: given.index(n) if n in given else len(given) for n in free},
        outputs=["y"],
        tolerance=(1e-4, 1e-5),
    )
