"""Building an explainer takes work in proportion to the nodes, however deep the model is."""

import cProfile
import gc
import pstats
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import onnxshap
from onnxshap import compiled
from onnxshap.methods.program import Program
from onnxshap.runtime.collector import collector_paused
from tests.helpers import chains, models
from tests.helpers.models import node

DEEP = 3000
"""Nodes in a row, beyond Python's limit of calls within calls."""


def build(proto: onnx.ModelProto, method: str = "deepshap") -> onnxshap.Explainer:
    background = models.samples(proto, 2) if method == "deepshap" else None
    return onnxshap.Explainer(proto, background, method=method, providers=["CPUExecutionProvider"])


def calls(proto: onnx.ModelProto, method: str) -> int:
    """Calls of functions, C's included, and steps of generators: the same on every machine."""
    model = onnxshap.load(proto)
    profile = cProfile.Profile()
    profile.enable()
    build(model.proto, method)
    profile.disable()
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def growth(method: str) -> float:
    """How much more work each further block is, as the net gets deeper; 1 if it is linear.

    One call for every pair of nodes, in one pass, makes it 1.05.
    """
    few, some, many = (calls(chains.mixed(blocks), method) for blocks in (4, 8, 16))
    return (many - some) / (some - few) / 2


@pytest.mark.parametrize("method", ["deepshap", "gradient"])
def test_work_grows_with_the_nodes_not_their_square(method: str) -> None:
    build(chains.mixed(1), method)  # what is done once in a process
    assert growth(method) == pytest.approx(1, abs=0.01)


def test_a_quadratic_pass_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    real = compiled.build_program

    def slower(*args: object, **settings: object) -> Program:
        program = real(*args, **settings)  # type: ignore[arg-type]
        nodes = list(program.model.graph)
        for _ in nodes[::10]:
            sum(len(other.op_type) for other in nodes[::10])
        return program

    monkeypatch.setattr(compiled, "build_program", slower)
    build(chains.mixed(1))
    assert growth("deepshap") > 1.02


# Deep models -------------------------------------------------------------------------------------


def row(op: Callable[[str, str, int], onnx.NodeProto], first: str = "") -> onnx.ModelProto:
    """``first`` of x, then `DEEP` nodes, then a softmax and a choice by a condition."""
    last, nodes = "x", []
    if first:
        nodes.append(node(first, ["x"], ["first"], "first"))
        last = "first"
    for k in range(DEEP):
        nodes.append(op(last, f"v{k}", k))
        last = f"v{k}"
    nodes += [
        node("Softmax", [last], ["shares"], "shares"),
        node("Greater", ["x", "zero"], ["above"], "above"),
        node("Where", ["above", "shares", "zero"], ["y"], "y"),
    ]
    held = {
        "zero": np.float32(0),
        "turn": np.eye(3, dtype=np.float32),
        "ones": np.ones(3, np.float32),
        "none": np.zeros(3, np.float32),
    }
    ends: dict[str, tuple[object, list[str | int]]] = {"x": (np.float32, ["N", 3])}
    return models.graph(nodes, ends, {"y": (np.float32, ["N", 3])}, held)


ROWS: dict[str, tuple[Callable[[str, str, int], onnx.NodeProto], str]] = {
    "casts": (lambda x, y, _: node("Cast", [x], [y], y, to=TensorProto.FLOAT), ""),
    "products behind a softmax": (lambda x, y, _: node("MatMul", [x, "turn"], [y], y), "Softmax"),
    "activations": (lambda x, y, k: node(["Tanh", "Relu", "Sigmoid"][k % 3], [x], [y], y), ""),
    "normalisations": (
        lambda x, y, _: node("BatchNormalization", [x, "ones", "none", "none", "ones"], [y], y),
        "",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_thousands_of_nodes_in_a_row_are_no_recursion(name: str) -> None:
    op, first = ROWS[name]
    explainer = build(row(op, first), "gradient")
    assert len(explainer._engine.program.model.graph) > DEEP


# The collector -----------------------------------------------------------------------------------


def test_the_garbage_collector_runs_again_afterwards() -> None:
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), collector_paused():
        raise KeyError
    assert gc.isenabled()


def test_a_collector_that_the_user_stopped_stays_stopped() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
