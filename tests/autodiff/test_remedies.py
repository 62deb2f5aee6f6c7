"""What no rule can differentiate is named, with what to do instead."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxshap import ModelFileError, UnsupportedOpError, build, check
from onnxshap.autodiff.remedies import remedies

node = helper.make_node
FLOAT = TensorProto.FLOAT


def model(*nodes: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    held = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    ends = [
        helper.make_tensor_value_info(n, FLOAT, ["N", width]) for n, width in (("x", 4), ("y", "K"))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def refusal(proto: onnx.ModelProto) -> str:
    assert not check(proto).ok
    with pytest.raises(UnsupportedOpError) as raised:
        build(proto, "gradient")
    return str(raised.value)


def test_sequences() -> None:
    said = refusal(
        model(
            node("SplitToSequence", ["x", "two"], ["parts"], "split", axis=1),
            node("SequenceAt", ["parts", "one"], ["y"], "pick"),
            two=[2, 2],
            one=1,
        )
    )
    assert 'ai.onnx@11::SplitToSequence, node "split" (output "parts")' in said
    assert 'ai.onnx@11::SequenceAt, node "pick" (output "y")' in said
    assert "export lists of a fixed length as Split and Concat" in said
    assert "Register a rule" not in said


def test_text() -> None:
    said = refusal(
        model(
            node("Cast", ["x"], ["text"], "spell", to=TensorProto.STRING),
            node("Cast", ["text"], ["y"], "read", to=FLOAT),
        )
    )
    assert 'ai.onnx@13::Cast, node "spell" (output "text"): it gives text' in said
    assert "explain the part of the model behind it (inputs=)" in said


def test_operators_of_classical_models() -> None:
    scaler = node("Scaler", ["x"], ["s"], "scaler", domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
    said = refusal(model(scaler, node("Det", ["s"], ["d"], "det"), node("Celu", ["s"], ["y"])))
    assert 'ai.onnx.ml@1::Scaler, node "scaler" (output "s")' in said
    assert "write scalers and linear models with Sub, Div, MatMul and Add" in said
    assert "TreeSHAP" in said


def test_maps() -> None:
    proto = model(
        node("Relu", ["x"], ["p"]),
        node("ZipMap", ["p"], ["y"], "zip", domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3]),
    )
    proto.graph.output[0].ClearField("type")
    kind = proto.graph.output[0].type.sequence_type.elem_type.map_type
    kind.key_type, kind.value_type.tensor_type.elem_type = TensorProto.INT64, FLOAT
    with pytest.raises(ModelFileError, match=r'^"y" \(ZipMap "zip"\) is a map .* without ZipMap'):
        check(proto)


def test_each_remedy_is_said_once() -> None:
    import onnx_ir as ir

    nodes = [ir.node(name, []) for name in ("SequenceAt", "Unknown", "SequenceErase", "Other")]
    first, second = remedies(nodes, "multiplier").split("\n")
    assert first.startswith("Sequences: ")
    assert second.startswith("Register a rule with onnxshap.multiplier, or explain a part")
