import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxshap.compiled import _bytes_of_one
from onnxshap.graph.batch import analyse
from onnxshap.graph.model import load
from onnxshap.graph.partition import Parts, extract, partition
from onnxshap.methods import build_program, named
from tests.helpers import models
from tests.helpers.models import Arrays, node


def proto(model: ir.Model) -> onnx.ModelProto:
    return ir.serde.serialize_model(model)


def joined(parts: Parts, feeds: Arrays) -> Arrays:
    """Run the first part, then the second on what it hands over."""
    needed = {str(v.name) for v in parts.first.graph.inputs}
    first = {}
    if len(parts.first.graph):
        first = models.run(proto(parts.first), {k: a for k, a in feeds.items() if k in needed})
    assert set(parts.cut) <= set(first)
    known = feeds | first
    wanted = {str(v.name) for v in parts.second.graph.inputs}
    if not len(parts.second.graph):
        return first
    return first | models.run(proto(parts.second), {k: known[k] for k in wanted})


def chain() -> ir.Model:
    """y = x * |relu(r W)|, z = x * relu(r W): two outputs share what depends on r alone."""
    nodes = [
        node("MatMul", ["r", "W"], ["h"], "matmul"),
        node("Relu", ["h"], ["relu"], "relu"),
        node("Abs", ["h"], ["abs"], "abs"),
        node("Mul", ["x", "abs"], ["y"], "mul_y"),
        node("Mul", ["x", "relu"], ["z"], "mul_z"),
        node("Add", ["relu", "abs"], ["own"], "own"),
    ]
    shape = (np.float32, ["N", 4])
    held = models.weights(1, W=(4, 4))
    ends = {"x": shape, "r": shape}, {"y": shape, "z": shape, "own": shape}
    model = load(models.graph(nodes, *ends, held)).normalised.clone()
    analyse(model.graph, list(model.graph.inputs))  # gives every value its dtype
    return model


SIZES = dict.fromkeys(("r", "h", "relu", "abs", "x", "y", "z", "own"), 16)


def test_cheap_nodes_are_computed_twice_rather_than_kept() -> None:
    parts = partition(chain(), ["r"], SIZES, ["own"])
    assert parts.cut == ["h"]
    assert {n.name for n in parts.first.graph} == {"matmul", "relu", "abs", "own"}
    assert {n.name for n in parts.second.graph} == {"relu", "abs", "mul_y", "mul_z"}
    assert [v.name for v in parts.first.graph.outputs] == ["own", "h"]


def test_the_cut_stays_late_where_pulling_it_back_costs_more() -> None:
    parts = partition(chain(), ["r"], SIZES | {"h": 100}, ["own"])
    assert set(parts.cut) == {"relu", "abs"}
    assert {n.name for n in parts.second.graph} == {"mul_y", "mul_z"}


def test_nothing_is_computed_twice_where_that_is_asked_for() -> None:
    parts = partition(chain(), ["r"], SIZES, ["own"], recompute=False)
    assert set(parts.cut) == {"relu", "abs"}
    assert {n.name for n in parts.second.graph} == {"mul_y", "mul_z"}


def test_a_value_is_handed_over_in_the_shape_it_has() -> None:
    """Another shape of it costs nothing later, and a copy now."""
    nodes = [
        node("MatMul", ["x", "W"], ["h"], "matmul"),
        node("Unsqueeze", ["h", "axes"], ["lifted"], "lift"),
        node("Mul", ["lifted", "r"], ["y"], "product"),
    ]
    ends = {"x": (np.float32, ["N", 4]), "r": (np.float32, ["N", 4])}
    arrays = {**models.weights(1, W=(4, 4)), "axes": np.array([0])}
    made = models.graph(nodes, ends, {"y": (np.float32, [1, "N", 4])}, arrays)
    model = load(made).normalised.clone()
    analyse(model.graph, list(model.graph.inputs))
    parts = partition(model, ["x"], dict.fromkeys(("h", "lifted", "y"), 16), recompute=False)
    assert parts.cut == ["h"]
    assert {n.name for n in parts.second.graph} == {"lift", "product"}


def test_but_inputs_that_would_do_alone_are_all_that_is_handed_over() -> None:
    nodes = [node("Relu", ["x"], ["a"], "relu"), node("Mul", ["a", "r"], ["y"], "product")]
    shape = (np.float32, ["N", 4])
    model = load(models.graph(nodes, {"x": shape, "r": shape}, {"y": shape}, {})).normalised.clone()
    analyse(model.graph, list(model.graph.inputs))
    parts = partition(model, ["x"], dict.fromkeys("xary", 16), recompute=False)
    assert parts.cut == []
    assert {n.name for n in parts.second.graph} == {"relu", "product"}


def test_a_product_is_kept_rather_than_one_of_its_factors() -> None:
    """SiLU's y, not the sigmoid: of the same size, and then y need not be computed again."""
    nodes = [
        node("MatMul", ["r", "W"], ["h"], "matmul"),
        node("Sigmoid", ["h"], ["s"], "sigmoid"),
        node("Mul", ["h", "s"], ["silu"], "silu"),
        node("Mul", ["x", "silu"], ["y"], "y"),
        node("Add", ["y", "h"], ["z"], "z"),
    ]
    shape = (np.float32, ["N", 4])
    ends = {"x": shape, "r": shape}, {"z": shape}
    model = load(models.graph(nodes, *ends, models.weights(1, W=(4, 4)))).normalised.clone()
    analyse(model.graph, list(model.graph.inputs))
    parts = partition(model, ["r"], dict.fromkeys(("h", "s", "silu"), 16))
    assert set(parts.cut) == {"h", "silu"}


def test_costly_nodes_are_never_repeated() -> None:
    parts = partition(chain(), ["r"], SIZES | {"r": 1})
    assert "matmul" not in [n.name for n in parts.second.graph]


@pytest.mark.parametrize("sizes", [SIZES, SIZES | {"h": 100}, {}])
@pytest.mark.parametrize("known", [["r"], ["x"], ["x", "r"], []])
def test_two_parts_compute_what_the_whole_did(sizes: dict[str, int], known: list[str]) -> None:
    model = chain()
    before = proto(model).SerializeToString(deterministic=True)
    parts = partition(model, known, sizes, ["own"])
    assert proto(model).SerializeToString(deterministic=True) == before
    feeds = models.samples(proto(model), 3)
    whole = models.run(proto(model), feeds)
    found = joined(parts, feeds)
    for name, expected in whole.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["cnn", "attention", "densenet", "squeeze_excite", "two_inputs"])
def test_explanations_split_in_three_compute_what_the_whole_did(name: str) -> None:
    model = models.SUPPORTED[name]()
    program = build_program(load(model), named("deepshap"))
    sizes = _bytes_of_one(program, {})
    whole = proto(program.model)
    x, references = models.samples(model, 2), models.samples(model, 3, seed=1)
    feeds = x | {program.references[k]: a for k, a in references.items()}
    output = models.run(model, x)[program.output]
    feeds["seed"] = np.zeros((1, *output.shape), np.float32)
    feeds["seed"][0, :, 1] = 1
    expected = models.run(whole, feeds)
    parts = partition(program.model, program.references.values(), sizes, [program.reference_output])
    assert {n.metadata_props["onnxshap.side"] for n in parts.first.graph} <= {
        "reference",
        "backward",
        "seed",
    }
    found = joined(parts, feeds)
    second = partition(parts.second, program.inputs, sizes, [program.output])
    forward = {n.name for n in second.first.graph}
    assert {n.name for n in model.graph.node} <= forward
    for key, array in expected.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-5 * np.abs(array).max())


def test_extract_takes_what_is_needed_and_no_more() -> None:
    model = load(models.cnn()).normalised
    values = {v.name: v for n in model.graph for v in n.outputs}
    part = extract(model, [values["p0"]], [values["r1"], values["p1"]])
    assert [n.name for n in part.graph] == ["conv1", "relu1", "pool1"]
    assert set(part.graph.initializers) == {"w1"}
    assert [v.name for v in part.graph.inputs] == ["p0"]
    assert all(n.graph is model.graph for n in model.graph)
