"""Softmaxes of large logits stay complete in float32 on onnxruntime."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from tests.helpers import models
from tests.helpers.completeness import measure
from tests.helpers.models import node

WIDTH, HEADS, STEPS = 8, 4, 12


def classifier(scale: float) -> onnx.ModelProto:
    """Logits of deviation ``scale`` along a row, through a softmax, and weighted sums of it."""
    held = models.weights(0, w=(WIDTH, 10), v=(10, 2))
    held["w"] *= np.float32(1.5 * scale / np.sqrt((held["w"] ** 2).sum(0)))
    nodes = [
        node("MatMul", ["x", "w"], ["s"], "logits"),
        node("Softmax", ["s"], ["p"], "softmax", axis=-1),
        node("MatMul", ["p", "v"], ["y"], "out"),
    ]
    ends = {"x": (np.float32, ["N", WIDTH])}, {"y": (np.float32, ["N", 2])}
    return models.graph(nodes, *ends, held)


def attention(scale: float, layers: int = 4) -> onnx.ModelProto:
    """Layers of attention with scores of about that deviation, each on the one before."""
    held = {"root": np.float32(scale / np.sqrt(WIDTH)), "steps": np.array([1])}
    nodes, h = [], "x"
    for k in range(layers):
        for name in "qkv":
            shape = {f"{name}{k}w": (WIDTH, WIDTH)}
            held |= models.weights(10 * k + ord(name), **shape)
            held[f"{name}{k}w"] /= np.float32(np.sqrt(2))
            nodes.append(node("MatMul", [h, f"{name}{k}w"], [f"{name}{k}"], f"{name}{k}"))
        nodes += [
            node("Transpose", [f"k{k}"], [f"kt{k}"], f"kt{k}", perm=[0, 2, 1]),
            node("MatMul", [f"q{k}", f"kt{k}"], [f"dots{k}"], f"dots{k}"),
            node("Mul", [f"dots{k}", "root"], [f"s{k}"], f"scores{k}"),
            node("Softmax", [f"s{k}"], [f"p{k}"], f"softmax{k}", axis=-1),
            node("MatMul", [f"p{k}", f"v{k}"], [f"z{k}"], f"mixed{k}"),
            node("Add", [h, f"z{k}"], [f"r{k}"], f"residual{k}"),
            node("LayerNormalization", [f"r{k}", "gain"], [f"h{k}"], f"norm{k}"),
        ]
        h = f"h{k}"
    held["gain"] = np.ones(WIDTH, np.float32)
    nodes.append(node("ReduceMean", [h, "steps"], ["y"], "out", keepdims=0))
    ends = {"x": (np.float32, ["N", STEPS, WIDTH])}, {"y": (np.float32, ["N", WIDTH])}
    return models.graph(nodes, *ends, held)


def deviation(model: onnx.ModelProto, x: np.ndarray) -> float:
    """Standard deviation of what the first softmax is given, along its rows."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    name = next(n.input[0] for n in model.graph.node if n.op_type == "Softmax")
    del shown.graph.output[:]
    shown.graph.output.add().name = name
    return float(models.run(shown, {"x": x})[name].std(-1).mean())


@pytest.mark.parametrize("scale", [0.5, 1, 2, 4])
@pytest.mark.parametrize("build", [classifier, attention])
def test_complete_for_logits_of_this_deviation(
    build: Callable[[float], onnx.ModelProto], scale: float, capsys: pytest.CaptureFixture[str]
) -> None:
    model, rng = build(scale), np.random.default_rng(1)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    x, references = (rng.normal(size=(6, *shape)).astype(np.float32) for _ in range(2))
    gap = measure(model, {"x": x}, {"x": references}, 1)
    found = deviation(model, x)
    with capsys.disabled():
        print(f"\n  {build.__name__}: logits of deviation {found:.1f}, {gap}", end=" ")
    assert found == pytest.approx(scale, rel=0.35)
    assert gap.scaled <= 1e-6
