"""Operators that onnxruntime keeps under ONNX's own domain."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import onnxshap
from onnxshap.errors import ModelFileError
from onnxshap.graph.files.adopted import given_back
from onnxshap.graph.model import load
from tests.helpers import models


def normalising(op: str, opset: int = 13, count: int = 6) -> ModelProto:
    node = helper.make_node(op, ["x", "scale"], ["y"], op, axis=-1)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", count]) for name in ("x", "y")
    ]
    scale = numpy_helper.from_array(np.arange(count, dtype=np.float32), "scale")
    graph = helper.make_graph([node], "graph", ends[:1], ends[1:], [scale])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize(
    ("op", "opset"),
    [
        ("LayerNormalization", 11),
        ("LayerNormalization", 16),
        ("SimplifiedLayerNormalization", 13),
        ("SimplifiedLayerNormalization", 20),
    ],
)
def test_loaded_from_memory_and_kept_as_it_is(op: str, opset: int) -> None:
    proto = normalising(op, opset)
    for source in (proto, proto.SerializeToString()):
        model = load(source)
        assert [n.domain for n in model.proto.graph.node] == [""]
        assert onnxshap.check(model).ok
    assert load(proto, isolate=True).hash == load(proto).hash


def test_loaded_with_external_weights(tmp_path: Path) -> None:
    proto = normalising("SimplifiedLayerNormalization", count=400)
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, size_threshold=0)
    x = np.random.default_rng(0).normal(size=(2, 400)).astype(np.float32)
    found = onnxshap.Explainer(path, x[::-1].copy(), target=3)(x)
    assert np.abs(found.residual).max() < 1e-5


def test_those_inside_a_subgraph() -> None:
    proto = normalising("SimplifiedLayerNormalization")
    inner = helper.make_graph(
        [helper.make_node("SimplifiedLayerNormalization", ["x", "scale"], ["t"], "inner")],
        "then",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["u"], "relu")],
        "else",
        [],
        [helper.make_tensor_value_info("u", TensorProto.FLOAT, None)],
    )
    choice = helper.make_node("If", ["yes"], ["y"], "if", then_branch=inner, else_branch=other)
    proto.graph.node[0].CopyFrom(choice)
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    found = onnxshap.Explainer(proto, x[:2], target=2)(x)
    plain = onnxshap.Explainer(normalising("SimplifiedLayerNormalization"), x[:2], target=2)(x)
    np.testing.assert_allclose(found.attributions, plain.attributions, atol=1e-6)


def test_others_are_still_refused() -> None:
    with pytest.raises(ModelFileError, match="No Op registered for Normalization"):
        load(normalising("Normalization"))


def test_models_without_them_are_not_copied() -> None:
    proto = models.mlp()
    assert given_back(proto) is proto
    assert given_back(normalising("LayerNormalization", 17)).opset_import[-1].domain == ""
