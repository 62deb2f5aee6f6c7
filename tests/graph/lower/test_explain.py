"""Recurrent classifiers explained whole, in four styles of the same network."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap.methods.draft import Draft
from tests.helpers.gradcheck import evaluator, session
from tests.helpers.loops import (
    CLASSES,
    FEATURES,
    GATES,
    STEPS,
    Style,
    classifier,
    model,
    node,
    value,
)

STYLES: list[Style] = ["operator", "unrolled", "scan", "loop"]


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    shape = (STEPS, FEATURES)
    x, background = rng.normal(size=(3, *shape)), rng.normal(size=(4, *shape))
    return x.astype(np.float32), background.astype(np.float32)


@pytest.mark.parametrize("op", GATES)
def test_styles_of_a_network_agree(op: str) -> None:
    x, background = data()
    outputs = [session(classifier(op, style))({"x": x})["logits"] for style in STYLES]
    for y in outputs[1:]:
        np.testing.assert_allclose(y, outputs[0], atol=1e-6)
    for method in ("deepshap", "gradient", "integrated_gradients"):
        found = []
        for style in STYLES:
            references = None if method == "gradient" else background
            proto = classifier(op, style)
            explained = onnxshap.Explainer(proto, references, method=method, target="top1")(x)
            assert explained.attributions.shape == x.shape
            found.append(explained.attributions)
        largest = np.abs(found[0]).max()
        for other in found[1:]:
            np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("op", GATES)
def test_complete_and_exported(op: str, style: Style, tmp_path: Path) -> None:
    x, background = data()
    proto = classifier(op, style)
    explainer = onnxshap.Explainer(proto, background, target=[0, 2])
    found = explainer(x)
    assert found.attributions.shape == (3, 2, STEPS, FEATURES)
    assert np.abs(found.residual).max() < 1e-5
    plain = session(proto)({"x": x})["logits"]
    np.testing.assert_allclose(found.outputs, plain[:, [0, 2]], atol=1e-5)
    explainer.export(tmp_path / "explained.onnx")
    outputs = session(onnx.load(tmp_path / "explained.onnx"))({"x": x})
    np.testing.assert_allclose(outputs["logits"], plain, atol=1e-6)
    np.testing.assert_allclose(outputs["x/attribution"], found.attributions, atol=1e-6)


@pytest.mark.parametrize("op", GATES)
def test_check_describes_the_gates(op: str) -> None:
    report = onnxshap.check(classifier(op))
    assert report.ok
    assert set(report.families) == {"exact-linear", "product", "rescale"}
    assert "samples stay separate" in report.batch
    assert report.closed


def test_attributes_to_the_operators_own_output() -> None:
    x, background = data()
    explainer = onnxshap.Explainer(classifier("LSTM"), background, target=1, inputs=["Y", "Y_h"])
    graph = Draft(onnxshap.load(classifier("LSTM")), None, ["Y", "Y_h"]).graph
    assert "LSTM" in {n.op_type for n in graph}  # it lies before what is explained
    assert np.abs(explainer(x).residual).max() < 1e-5
    explainer = onnxshap.Explainer(classifier("GRU"), background, target=1, output="last")
    assert explainer(x).outputs.shape == (3,)


def test_a_file_with_one_sample_baked_in() -> None:
    proto = classifier("LSTM", "operator")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    x, background = data()
    found = onnxshap.Explainer(proto, background, target=1)(x)
    free = onnxshap.Explainer(classifier("LSTM"), background, target=1)(x)
    np.testing.assert_allclose(found.attributions, free.attributions, atol=1e-7)


@pytest.mark.parametrize("squeezed", [False, True])
@pytest.mark.parametrize("op", GATES)
def test_a_sequence_of_one_step(op: str, squeezed: bool) -> None:
    """[1, 3, 2]: the 1 is the step, and a sample a sequence of it, whatever is done with it."""
    rng, gates = np.random.default_rng(2), GATES[op]
    shapes = {"W": (1, 4 * gates, 2), "R": (1, 4 * gates, 4), "V": (4, 3)}
    held = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [node(op, "x W R", "Y Y_h", hidden_size=4), node("MatMul", "h V", "y")]
    nodes.insert(1, node("Squeeze", "Y_h zero", "h") if squeezed else node("Identity", "Y_h", "h"))
    end = value("y", 3, 3) if squeezed else value("y", 1, 3, 3)
    proto = model(nodes, [value("x", 1, 3, 2)], [end], held | {"zero": np.array([0])})
    x, background = rng.normal(size=(2, 2, 1, 3, 2)).astype(np.float32)
    explainer = onnxshap.Explainer(proto, background[0], target=[(0, 1), (2, 0)])
    outputs = [session(proto)({"x": each})["y"].reshape(3, 3) for each in x]
    for each, y in zip(x, outputs, strict=True):
        found = explainer(each)
        np.testing.assert_allclose(found.outputs[0], y[[0, 2], [1, 0]], atol=1e-6)
        assert np.abs(found.residual).max() < 1e-6
    if not squeezed:  # then several fit side by side
        together = explainer(x[:, 0])
        alone = [explainer(each).attributions for each in x]
        np.testing.assert_allclose(together.attributions, np.concatenate(alone), atol=1e-6)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
def test_linear_attention(rule: str) -> None:
    """Its definition is a Scan over a state, which is written out."""
    given = {"query": 8, "key": 4, "value": 6, "decay": 2, "beta": 2}
    given = {k: v for k, v in given.items() if k != "decay" or "gated" in rule}
    given = {k: v for k, v in given.items() if k != "beta" or "delta" in rule}
    rng = np.random.default_rng(1)
    held = {f"to_{k}": rng.normal(size=(3, v)).astype(np.float32) * 0.5 for k, v in given.items()}
    places = [k if k in given else "-" for k in ("query", "key", "value", "past", "decay", "beta")]
    attend = node(
        "LinearAttention",
        " ".join(places).rstrip(" -"),
        "y state",
        q_num_heads=4,
        kv_num_heads=2,
        update_rule=rule,
    )
    nodes = [*(node("MatMul", f"x to_{k}", k) for k in given), attend]
    proto = model(nodes, [value("x", "N", 5, 3)], [value("y", "N", 5, 12)], held, opset=27)
    x, background = data()
    expected = evaluator(proto)({"x": x})["y"]
    explainer = onnxshap.Explainer(proto, background, target=[(2, 1), (4, 11)])
    found = explainer(x)
    np.testing.assert_allclose(found.outputs, expected[:, [2, 4], [1, 11]], atol=1e-5)
    assert np.abs(found.residual).max() < 1e-5
    assert "fallback" not in onnxshap.check(proto).families


def test_classes_are_what_they_were() -> None:
    x, background = data()
    found = onnxshap.Explainer(classifier("GRU", "loop"), background, target=f"top{CLASSES}")(x)
    assert found.attributions.shape == (3, CLASSES, STEPS, FEATURES)
