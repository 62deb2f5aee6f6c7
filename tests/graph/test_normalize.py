import re

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxshap import ModelFileError
from onnxshap.graph.batch import free_batch
from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.model import load
from onnxshap.graph.normalize import normalise
from tests.helpers import models
from tests.helpers.models import node


def normalised(model: ModelProto) -> ModelProto:
    import onnx_ir as ir

    found = ir.serde.serialize_model(load(model).normalised)
    onnx.checker.check_model(found, full_check=True)
    return found


def opset(model: ModelProto) -> int:
    return next(o.version for o in model.opset_import if o.domain == "")


def old_operators(version: int) -> ModelProto:
    """Operators whose definition changed between opset 9 and 18, in the old spelling."""
    nodes = [
        node("Unsqueeze", ["x"], ["u"], "unsqueeze", axes=[1]),
        node("ReduceMean", ["u"], ["mean"], "mean", axes=[2], keepdims=1),
        node("Sub", ["u", "mean"], ["centred"], "centred"),
        node("Squeeze", ["centred"], ["flat"], "squeeze", axes=[1]),
        node("Split", ["flat"], ["a", "b"], "split", axis=1),
        node("Softmax", ["a"], ["s"], "softmax", axis=1),
        node("Mul", ["s", "b"], ["y"], "mul"),
    ]
    ends = {"x": (np.float32, ["N", 6])}, {"y": (np.float32, ["N", 3])}
    return models.graph(nodes, *ends, {}, version)


def restamped(model: ModelProto, version: int) -> ModelProto:
    model.opset_import[0].version = version
    return model


# Opsets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [9, 11, 13, 17, 18, 20, 22, 24, 26])
def test_opsets_are_brought_into_range_with_equal_outputs(version: int) -> None:
    model = models.cnn(softmax=True, opset=version)
    model.ir_version = 9 if version < 22 else 10
    x = models.samples(model, 2)
    found = normalised(model)
    assert opset(found) == max(version, 18)
    np.testing.assert_array_equal(
        models.run(found, x, optimised=False)["prob"], models.run(model, x, optimised=False)["prob"]
    )


def test_the_standard_domain_by_its_other_name() -> None:
    model = models.mlp()
    for entry in model.opset_import:
        entry.domain = "ai.onnx"
    assert [o.domain for o in normalised(model).opset_import] == [""]


@pytest.mark.parametrize("version", [9, 11])
def test_operators_that_changed_are_rewritten(version: int) -> None:
    model = old_operators(version)
    x = models.samples(model, 3)
    found = normalised(model)
    assert opset(found) == 18
    expected = models.run(model, x, optimised=False)["y"]
    np.testing.assert_allclose(models.run(found, x)["y"], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("version", [27, 28])
def test_newer_opsets_are_lowered_where_no_operator_changed(version: int) -> None:
    if version > onnx.defs.onnx_opset_version():
        pytest.skip(f"this onnx knows opsets up to {onnx.defs.onnx_opset_version()}")
    x = models.samples(models.mlp(), 2)
    found = normalised(restamped(models.mlp(), version))
    assert opset(found) == 26
    np.testing.assert_array_equal(
        models.run(found, x)["logits"], models.run(models.mlp(), x)["logits"]
    )


def test_operators_that_changed_since_are_an_error_that_names_them() -> None:
    newest = onnx.defs.onnx_opset_version()
    changed = [
        s.name
        for s in onnx.defs.get_all_schemas()
        if s.domain == "" and s.since_version > 26 and not s.deprecated and s.name not in EXPANDED
    ]
    if not changed:
        pytest.skip(f"no operator changed in opsets 27 to {newest}")
    proto = helper.make_model(
        helper.make_graph(
            [node(changed[0], ["x"], ["y"], "the_new")],
            "new",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        ),
        opset_imports=[helper.make_opsetid("", newest)],
    )
    text = f"written in opset {newest}; the runtime reads up to 26, .*{changed[0]} .node 'the_new'"
    with pytest.raises(ModelFileError, match=text):
        normalise(proto)


def test_ir_version_is_one_the_runtime_reads() -> None:
    for version in (3, 8, 10, 13):
        model = models.cnn()
        model.ir_version = version
        if version == 3:  # initializers were inputs too
            model.opset_import[0].version = 9
            for tensor in model.graph.initializer:
                shape = (tensor.data_type, list(tensor.dims))
                model.graph.input.append(helper.make_tensor_value_info(tensor.name, *shape))
        found = normalised(model)
        assert 8 <= found.ir_version <= 13
        assert [i.name for i in found.graph.input] == ["image"]


# Constants ----------------------------------------------------------------------------------------


def test_shape_arithmetic_folds_and_outputs_do_not_change() -> None:
    messy = models.messy(onnx.load(models.LITE0)) if models.LITE0.exists() else None
    if messy is None:
        pytest.skip(f"{models.LITE0.name} is not in notebooks/assets")
    found = normalised(messy)
    kinds = {n.op_type for n in found.graph.node}
    assert not kinds & {"Constant", "ConstantOfShape", "Slice", "Transpose", "Cast"}
    pads = [n.input[1] for n in found.graph.node if n.op_type == "Pad"]
    constants = {t.name for t in found.graph.initializer}
    assert len(pads) == 17
    assert set(pads) <= constants
    x = {"input": np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)}
    np.testing.assert_array_equal(
        models.run(found, x, optimised=False)["logits"],
        models.run(messy, x, optimised=False)["logits"],
    )
    assert found.ByteSize() < messy.ByteSize() + 1000


def test_floats_are_left_to_the_runtime() -> None:
    """A float folded here could differ from the runtime's in the last bit."""
    nodes = [
        node("Exp", ["c"], ["e"], "exp_of_constant"),
        node("Mul", ["x", "e"], ["y"], "mul"),
    ]
    ends = {"x": (np.float32, ["N", 3])}, {"y": (np.float32, ["N", 3])}
    model = models.graph(nodes, *ends, {"c": np.array([0.1, 0.7, -3], np.float32)})
    found = normalised(model)
    assert [n.op_type for n in found.graph.node] == ["Exp", "Mul"]


def test_sizes_that_depend_on_the_batch_are_not_folded() -> None:
    nodes = [
        node("Shape", ["x"], ["batch"], "batch", start=0, end=1),
        node("Shape", ["x"], ["width"], "width", start=1, end=2),
        node("Concat", ["batch", "width"], ["shape"], "shape", axis=0),
        node("Expand", ["row", "shape"], ["rows"], "expand"),
        node("Add", ["x", "rows"], ["y"], "add"),
    ]
    ends = {"x": (np.float32, ["N", 3])}, {"y": (np.float32, ["N", 3])}
    found = normalised(models.graph(nodes, *ends, {"row": np.ones((1, 3), np.float32)}))
    assert [n.name for n in found.graph.node] == ["batch", "shape", "expand", "add"]
    for size in (1, 4):
        x = np.zeros((size, 3), np.float32)
        np.testing.assert_array_equal(models.run(found, {"x": x})["y"], x + 1)


def test_nothing_large_is_folded_into_the_file() -> None:
    nodes = [
        node("ConstantOfShape", ["size"], ["zeros"], "zeros"),
        node("ReduceSum", ["zeros"], ["nothing"], "sum", keepdims=0),
        node("Add", ["x", "nothing"], ["y"], "add"),
    ]
    ends = {"x": (np.float32, ["N", 3])}, {"y": (np.float32, ["N", 3])}
    model = models.graph(nodes, *ends, {"size": np.array([2000, 2000])})
    assert normalised(model).ByteSize() < 5000


# Functions, names, notes --------------------------------------------------------------------------


def test_functions_are_inlined() -> None:
    model = models.mlp()
    twice = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )
    model.functions.append(twice)
    model.opset_import.append(helper.make_opsetid("local", 1))
    relu = next(n for n in model.graph.node if n.op_type == "Relu")
    relu.op_type, relu.domain = "Twice", "local"
    x = models.samples(model, 2)
    found = normalised(model)
    assert {n.domain for n in found.graph.node} == {""}
    assert not found.functions
    np.testing.assert_allclose(models.run(found, x)["logits"], models.run(model, x)["logits"])


def test_every_node_has_a_name_of_its_own() -> None:
    model = models.cnn()
    for n in model.graph.node:
        n.name = "same" if "Relu" in n.op_type else ""
    names = [n.name for n in normalised(model).graph.node]
    assert len(set(names)) == len(names)
    assert all(names)
    assert "same" in names


def test_exporters_notes_are_stripped() -> None:
    secret = "someone's folder"
    model = models.cnn()
    model.doc_string = model.graph.doc_string = secret
    model.metadata_props.add(key="pkg.torch.export.source", value=secret)
    model.metadata_props.add(key="names", value="the user's own")
    model.graph.metadata_props.add(key="source", value=secret)
    for n in model.graph.node:
        n.doc_string = secret
        n.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=secret)
    model.graph.input[0].doc_string = secret
    model.graph.input[0].metadata_props.add(key="source", value=secret)
    assert secret.encode() in model.SerializeToString()
    found = normalised(model)
    assert secret.encode() not in found.SerializeToString()
    assert [(p.key, p.value) for p in found.metadata_props] == [("names", "the user's own")]


def test_a_literal_batch_is_freed() -> None:
    model = load(models.cnn(batch=1))
    graph = model.normalised.clone().graph
    free_batch(graph)
    shapes = [list(v.shape or ()) for v in (*graph.inputs, *graph.outputs)]
    assert [s[1:] for s in shapes] == [[3, 12, 12], [5]]
    assert all(re.fullmatch("[a-z]+", str(s[0].value)) for s in shapes)  # type: ignore[union-attr]


def test_the_users_model_is_not_changed() -> None:
    for model in (models.cnn(opset=11), models.cnn(batch=1), models.messy(onnx.load(models.LITE0))):
        before = model.SerializeToString(deterministic=True)
        normalised(model)
        assert model.SerializeToString(deterministic=True) == before


def test_numpy_helper_roundtrip_of_weights() -> None:
    model = models.cnn()
    own = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kept = {t.name: numpy_helper.to_array(t) for t in normalised(model).graph.initializer}
    assert own.keys() == kept.keys()
    for name, array in own.items():
        np.testing.assert_array_equal(kept[name], array)
