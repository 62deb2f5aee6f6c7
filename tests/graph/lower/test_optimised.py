"""Files that onnxruntime has optimised explain as the files it was given do."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto

import onnxshap
from onnxshap.errors import UnsupportedOpError
from onnxshap.explanation import Explanation
from tests.helpers.architectures import small
from tests.helpers.gradcheck import session
from tests.helpers.optimised import bert, by_session, by_transformers, fused, residual_net

F = np.float32
SAME = 1e-4  # of the largest attribution

Data = dict[str, np.ndarray]


def drawn(model: ModelProto, count: int, seed: int, tokens: int = 6) -> Data:
    """Random inputs; words are below 50, segments below 2, and the last of them are masked."""
    rng, found = np.random.default_rng(seed), {}
    for value in model.graph.input:
        sizes = [d.dim_value or tokens for d in value.type.tensor_type.shape.dim][1:]
        shape = (count, *sizes)
        if value.name == "mask":
            found[value.name] = (np.arange(tokens) < tokens - np.arange(count)[:, None]).astype(int)
        elif value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
            found[value.name] = rng.integers(0, 2 if value.name == "segments" else 50, shape)
        else:
            found[value.name] = rng.normal(size=shape).astype(F)
    return found


def explained(model: ModelProto, like: ModelProto, **asked: Any) -> Explanation:
    x, background = drawn(like, 2, 0), drawn(like, 3, 1)
    background = {n: v for n, v in background.items() if n not in ("mask", "segments")}
    found = onnxshap.Explainer(model, background, target=1, **asked)(x)
    (plain,) = session(model)(x).values()
    np.testing.assert_allclose(found.outputs, plain[:, 1], atol=1e-5)
    return found


def same(found: Explanation, expected: Explanation) -> None:
    arrays = found.attributions, expected.attributions
    a, b = (v if isinstance(v, dict) else {"": v} for v in arrays)
    assert set(a) == set(b)
    for name, values in b.items():
        assert np.abs(a[name] - values).max() <= SAME * np.abs(values).max(), name


NETS = {
    "residual net": (residual_net, {"FusedConv", "FusedGemm"}, None),
    "two inputs": (small.two_inputs, {"FusedConv", "FusedGemm"}, None),
    "vit": (small.vit, {"FusedMatMul", "BiasGelu", "SkipLayerNormalization"}, None),
    "encoder": (small.encoder, {"FusedMatMul", "BiasGelu", "FusedGemm"}, "embeddings"),
    "bert": (bert, {"FusedMatMul", "BiasGelu", "SkipLayerNormalization", "FusedGemm"}, "words"),
}


@pytest.mark.parametrize("name", NETS)
def test_saved_by_a_session(name: str, tmp_path: Path) -> None:
    make, expected, inputs = NETS[name]
    model = make()
    optimised = by_session(model, tmp_path)
    assert fused(optimised) >= expected
    report = onnxshap.check(optimised, inputs=inputs)
    assert report.ok
    assert {w.operator for w in report.written_out} == {
        f"com.microsoft::{op}" for op in fused(optimised)
    }
    same(*(explained(m, model, inputs=inputs) for m in (optimised, model)))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"Attention", "BiasGelu", "SkipLayerNormalization"}),
        ({"use_multi_head_attention": True}, {"MultiHeadAttention"}),
    ],
)
def test_bert_by_transformers(options: dict[str, bool], expected: set[str], tmp_path: Path) -> None:
    model = bert()
    optimised = by_transformers(model, tmp_path, "bert", 4, 24, **options)
    assert fused(optimised) >= expected
    same(*(explained(m, model, inputs="words") for m in (optimised, model)))


def test_encoders_by_transformers(tmp_path: Path) -> None:
    for make, kind, width, inputs in (
        (small.vit, "vit", 32, None),
        (small.encoder, "bert", 24, "embeddings"),
    ):
        model = make()
        optimised = by_transformers(model, tmp_path, kind, 4, width)
        assert fused(optimised) >= {"BiasGelu", "SkipLayerNormalization"}
        same(*(explained(m, model, inputs=inputs) for m in (optimised, model)))


def test_an_approximate_gelu_is_explained_as_it_is(tmp_path: Path) -> None:
    model = bert()
    optimised = by_transformers(model, tmp_path, "bert", 4, 24, enable_gelu_approximation=True)
    assert "FastGelu" in fused(optimised)
    found, expected = (explained(m, model, inputs="words") for m in (optimised, model))
    assert np.abs(found.outputs - expected.outputs).max() > 1e-5  # another function


def test_exported_with_the_explanation(tmp_path: Path) -> None:
    model = residual_net()
    optimised = by_session(model, tmp_path)
    x, background = drawn(model, 2, 0), drawn(model, 3, 1)
    explainer = onnxshap.Explainer(optimised, background, target=1)
    explainer.export(tmp_path / "explained.onnx")
    exported = onnx.load(tmp_path / "explained.onnx")
    assert {n.domain for n in exported.graph.node} == {""}
    onnx.checker.check_model(exported, full_check=True)
    found = session(exported)(x)
    np.testing.assert_allclose(found["fc"], session(model)(x)["fc"], atol=1e-5)
    expected = explainer(x).attributions
    np.testing.assert_allclose(found["image/attribution"], expected, atol=1e-5)


def test_other_methods(tmp_path: Path) -> None:
    model = small.vit()
    optimised = by_session(model, tmp_path)
    for method in ("gradient", "integrated_gradients"):
        x = drawn(model, 2, 0)
        background = None if method == "gradient" else drawn(model, 1, 1)
        found, expected = (
            onnxshap.Explainer(m, background, method=method, target=1)(x)
            for m in (optimised, model)
        )
        same(found, expected)


def test_saved_for_the_layout_of_this_machine(tmp_path: Path) -> None:
    level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    optimised = by_session(residual_net(), tmp_path, level)
    if "com.microsoft.nchwc" not in {n.domain for n in optimised.graph.node}:
        pytest.skip("onnxruntime has no layout of its own for this machine")
    with pytest.raises(UnsupportedOpError, match=r"com\.microsoft\.nchwc::Conv, node"):
        onnxshap.check(optimised)
