"""Operators of opsets that runtimes do not read: written in older ones, with the same numbers."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from onnxshap.graph.model import load
from onnxshap.graph.normalize import OPSETS


def space_to_depth(mode: dict[str, str], inner: bool = False) -> onnx.ModelProto:
    declared = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes)
        for name, sizes in (("x", ["N", 3, 4, 6]), ("y", ["N", 12, 2, 3]))
    ]
    nodes = [helper.make_node("SpaceToDepth", ["x"], ["y"], "node", blocksize=2, **mode)]
    if inner:
        branch = helper.make_graph(nodes, "branch", [], declared[1:])
        nodes = [
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Less", ["sum", "sum"], ["less"]),
            helper.make_node("If", ["less"], ["y"], then_branch=branch, else_branch=branch),
        ]
    graph = helper.make_graph(nodes, "g", declared[:1], declared[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 28)], ir_version=14)


@pytest.mark.parametrize("inner", [False, True], ids=["graph", "branch"])
@pytest.mark.parametrize("mode", [{}, {"mode": "DCR"}, {"mode": "CRD"}], ids=str)
def test_space_to_depth_by_block_or_by_channel(mode: dict[str, str], inner: bool) -> None:
    model = space_to_depth(mode, inner)
    older = ir.serde.serialize_model(load(model).normalised)
    assert older.opset_import[0].version == OPSETS[-1]
    onnx.checker.check_model(older, full_check=True)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)
    expected, found = (ReferenceEvaluator(m).run(None, {"x": x})[0] for m in (model, older))
    np.testing.assert_array_equal(found, expected)
    if not inner and mode.get("mode") != "CRD":
        assert [node.op_type for node in older.graph.node] == ["SpaceToDepth"]
