"""What is sent to be drawn: parts of a graph, without weights."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxshap
from onnxshap.errors import InputError
from onnxshap_widgets.subgraph import KEPT_BYTES, Anatomy, slim, slim_node
from tests.helpers import models


@pytest.fixture(scope="module")
def built() -> Anatomy:
    return Anatomy(onnxshap.build(models.cnn(), "deepshap").proto)


def names(model: onnx.ModelProto) -> list[str]:
    return [n.name for n in model.graph.node]


def ends(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    return [v.name for v in model.graph.input], [v.name for v in model.graph.output]


def notes(node: onnx.NodeProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in node.metadata_props}


def test_sides_layers_and_partners(built: Anatomy) -> None:
    assert list(built.counts()) == ["forward", "reference", "seed", "backward"]
    assert built.counts()["forward"] == built.counts()["reference"] == 8
    assert built.layers[:3] == ["conv0", "relu0", "pool0"]
    assert built.of("relu0")[0] == "reference/relu0"
    assert built.of("relu0")[-1] == "multiplier/relu0/Mul_0"
    assert built.maker("r0") == "relu0"
    assert built.maker("image") == ""
    last = built.nodes["multiplier/relu0/Mul_0"]
    assert (last.side, last.rule, last.of) == ("backward", "rescale", "relu0")
    assert "relu(x) + relu(r)" in last.formula


def test_a_plain_model_is_all_forward_and_its_nodes_get_names() -> None:
    model = models.cnn()
    for node in model.graph.node[2:5]:
        node.name = ""
    model.graph.node[1].name = "conv0"
    plain = Anatomy(model)
    assert plain.counts() == {"forward": 8}
    assert list(plain.nodes)[:4] == ["conv0", "conv0#1", "p0", "c1"]
    assert names(plain.part(plain.nodes))[:2] == ["conv0", "conv0#1"]


def test_the_whole_is_the_model_itself(built: Anatomy) -> None:
    whole = built.part(built.nodes)
    original = onnxshap.build(models.cnn(), "deepshap").proto
    assert names(whole) == names(original)
    assert set(ends(whole)[0]) == {v.name for v in original.graph.input}
    assert set(ends(whole)[1]) == {v.name for v in original.graph.output}


def test_a_layer_with_what_it_reads_and_makes(built: Anatomy) -> None:
    layer = built.layer("relu0")
    assert layer == ["relu0", *built.of("relu0")]
    assert built.layer("multiplier/relu0/Div_0") == layer
    inputs, outputs = ends(built.part(layer))
    assert inputs == ["c0", "c0/reference", "multiplier/pool0/Div_0"]
    assert outputs == ["r0", "r0/reference", "multiplier/relu0/Mul_0"]
    assert built.layer("attribution/Sub_0") == ["attribution/Sub_0"]


def test_around_a_node(built: Anatomy) -> None:
    assert built.around("relu0", 0) == ["relu0"]
    assert {"conv0", "relu0", "pool0"} <= set(built.around("relu0", 1))
    assert "conv1" not in built.around("relu0", 1)
    assert "conv1" in built.around("relu0", 2)
    # The node that tells the number of references is read by half the graph, and not a way to it.
    near = built.around("multiplier/relu1/Concat_0", 2)
    assert "batch/Shape_0" in near
    assert "multiplier/fc/Concat_0" not in near
    with pytest.raises(InputError, match='no node "nothing"; the names are those of'):
        built.around("nothing")


def test_layers_by_depth(built: Anatomy) -> None:
    some = built.depth(0, 1)
    assert {n for n in some if built.nodes[n].side == "forward"} == {"conv0", "relu0"}
    assert set(some) == {*built.layer("conv0"), *built.layer("relu0")}
    for wrong in ((-1, 2), (3, 2), (0, 8)):
        with pytest.raises(InputError, match="the model has layers 0 to 7"):
            built.depth(*wrong)


# Overview -----------------------------------------------------------------------------------------


def test_the_overview_has_one_node_for_all_that_run_backward_through_one(built: Anatomy) -> None:
    model, stands = built.overview()
    backward = [n for n in model.graph.node if notes(n)["onnxshap.side"] == "backward"]
    operators = [n.op_type for n in backward]
    assert operators[:2] == ["Gemm backward", "Flatten backward"]
    assert operators[-3:] == ["Conv backward", "inputs", "attribution"]
    relu = next(n for n in backward if n.name == "multiplier/relu0/Mul_0")
    assert notes(relu) == {
        "onnxshap.side": "backward",
        "onnxshap.rule": "rescale",
        "onnxshap.of": "relu0",
        "onnxshap.nodes": "10",
    }
    assert "relu(x)" in relu.doc_string
    assert stands["multiplier/relu0/Abs_1"] == "multiplier/relu0/Mul_0"
    assert stands["relu0"] == "relu0"
    assert set(stands.values()) == set(names(model))


def test_the_overview_leaves_out_only_edges_between_sides(built: Anatomy) -> None:
    model, stands = built.overview()
    inputs, outputs = ends(model)
    assert set(inputs) == {"image", "image/reference", "seed"}
    assert set(outputs) == built._ends
    side = {o: notes(n)["onnxshap.side"] for n in model.graph.node for o in n.output}
    for node in model.graph.node:
        own = notes(node)["onnxshap.side"]
        for value in node.input:
            if value in side:
                assert side[value] == own or (side[value], own) == ("seed", "backward")
    # What is missing in `stands` only tells sizes.
    assert {built.nodes[n].operator for n in built.nodes if n not in stands} == {"Shape"}


@pytest.mark.parametrize("method", ["x_gradient", "integrated_gradients", "smoothgrad"])
def test_the_overview_of_other_methods(method: str) -> None:
    model = models.homogeneous()
    overview, stands = Anatomy(onnxshap.build(model, method).proto).overview()
    assert "Conv backward" in [n.op_type for n in overview.graph.node]
    assert set(stands.values()) == set(names(overview))
    made = {o for n in overview.graph.node for o in n.output}
    assert {v.name for v in overview.graph.output} <= made


# Weights ------------------------------------------------------------------------------------------


def test_numbers_are_sent_up_to_a_kilobyte() -> None:
    few = numpy_helper.from_array(np.zeros(8, np.float32), "few")
    many = numpy_helper.from_array(np.zeros((16, 32), np.float32), "many")
    assert many.ByteSize() > KEPT_BYTES
    assert slim(few) is few
    bare = slim(many)
    assert (bare.name, list(bare.dims), bare.data_type) == ("many", [16, 32], 1)
    assert bare.ByteSize() < 32
    far = onnx.TensorProto(name="far", dims=[4], data_type=1)
    far.data_location = onnx.TensorProto.EXTERNAL
    far.external_data.add(key="location", value="weights.bin")
    assert not slim(far).external_data


def test_numbers_inside_nodes_are_left_out_too() -> None:
    many = numpy_helper.from_array(np.zeros(1000, np.float32), "many")
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], "inner", value=many)], "body", [], []
    )
    inner.initializer.append(many)
    node = helper.make_node("If", ["a"], ["b"], "if", then_branch=inner, else_branch=inner, k=3)
    copy = slim_node(node)
    assert copy.ByteSize() < 400 < 4000 < node.ByteSize()
    body = next(a for a in copy.attribute if a.name == "then_branch").g
    assert body.node[0].name == "inner"
    assert next(a for a in copy.attribute if a.name == "k").i == 3


def test_what_is_sent_of_a_model_is_small() -> None:
    if not models.LITE0.exists():
        pytest.skip(f"{models.LITE0.name} is not in notebooks/assets")
    model = onnxshap.build(models.LITE0, "deepshap")
    own = Anatomy(model.proto)
    assert model.proto.ByteSize() > 18e6
    assert own.part(own.nodes).ByteSize() < 300e3
    assert own.overview()[0].ByteSize() < 120e3
