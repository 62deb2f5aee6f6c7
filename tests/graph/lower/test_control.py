"""Control flow written out: which branch, how many steps, and what cannot be known beforehand."""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto

import onnxshap
from onnxshap.errors import UnsupportedOpError
from onnxshap.graph.lower import LIMIT, lower
from onnxshap.graph.model import load
from onnxshap.methods import build_program, named
from tests.helpers.gradcheck import evaluator, session
from tests.helpers.loops import STEPS, Nodes, body, classifier, model, node, unranked, value

BOOL, INT = TensorProto.BOOL, TensorProto.INT64
X = value("x", "N", 3)
Y = value("y", "N", 3)


def written_out(proto: onnx.ModelProto, sources: Sequence[str] = ("x",)) -> onnx.ModelProto:
    """The model with what can be lowered lowered; it must give the same numbers as before."""
    found = load(proto).normalised.clone()
    inputs = [v for v in found.graph.inputs if v.name in sources]
    lower(found.graph, inputs, found.graph.outputs[0])
    lowered = ir.serde.serialize_model(found)
    onnx.checker.check_model(lowered, full_check=True)
    return lowered


def same(proto: onnx.ModelProto, **given: np.ndarray) -> onnx.ModelProto:
    """Lower, and compare all outputs with those of onnxruntime.

    ONNX's evaluator runs no step of a loop without a condition, and no Scan along other axes.
    """
    lowered = written_out(proto)
    assert {"If", "Loop", "Scan"}.isdisjoint(n.op_type for n in lowered.graph.node)
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)} | given
    before = session(proto)(feeds)
    for run in (session, evaluator):
        after = run(lowered)(feeds)
        for name, expected in before.items():
            np.testing.assert_allclose(after[name], expected, rtol=0, atol=1e-6)
    return lowered


def loop_body(
    nodes: Nodes, states: Sequence[str], shown: Sequence[str] = (), going: str = "going_in"
) -> onnx.GraphProto:
    """A Loop's body: ``s_next`` follows state ``s``; goes on as long as ``going`` is true."""
    inputs = [value("step", of=INT), value("going_in", of=BOOL), *map(unranked, states)]
    outputs = [value("going_out", of=BOOL), *(unranked(f"{s}_next") for s in states)]
    return body(
        [*nodes, node("Identity", going, "going_out")], inputs, [*outputs, *map(unranked, shown)]
    )


def looped(nodes: Nodes, inputs: str = "trips - x", **given: object) -> onnx.ModelProto:
    """Run a loop with one state, which starts as x, three times."""
    inner = loop_body(nodes, ["s"], going=str(given.pop("going", "going_in")))
    constants = {"trips": np.array(3), "two": np.float32(2), "limit": np.array(2)}
    return model([node("Loop", inputs, "y", body=inner)], [X], [Y], constants)


def operators(proto: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in proto.graph.node]


# Loop ---------------------------------------------------------------------------------------------


def test_a_loop_with_a_constant_number_of_trips() -> None:
    lowered = same(looped([node("Mul", "s two", "m"), node("Sin", "m", "s_next")]))
    assert operators(lowered) == ["Mul", "Sin"] * 3
    assert [o.name for o in lowered.graph.output] == ["y"]


def test_a_condition_that_follows_from_the_counter() -> None:
    nodes = [node("Sin", "s", "s_next"), node("Less", "step limit", "more")]
    lowered = same(looped(nodes, "- - x", going="more"))
    assert operators(lowered) == ["Sin"] * 3  # steps 0, 1, 2


def test_the_counter_is_folded() -> None:
    nodes = [
        node("Cast", "step", "number", to=TensorProto.FLOAT),
        node("Mul", "s number", "m"),
        node("Add", "m x", "s_next"),  # x of the graph around
    ]
    assert operators(same(looped(nodes))) == ["Cast", "Mul", "Add"] * 3


def test_work_that_does_not_change_is_done_once() -> None:
    nodes = [node("Exp", "x", "e"), node("Add", "s e", "s_next")]
    assert operators(same(looped(nodes))).count("Exp") == 1


def test_steps_share_one_split_of_the_sequence() -> None:
    lowered = written_out(classifier("LSTM", "loop"))
    assert "Gather" not in operators(lowered)
    steps = [n for n in lowered.graph.node if n.op_type == "Split" and n.input[0] == "x"]
    assert [len(n.output) for n in steps] == [STEPS]


def test_a_loop_that_never_runs() -> None:
    inner = loop_body([node("Sin", "s", "s_next")], ["s"])
    lowered = same(
        model([node("Loop", "trips - x", "y", body=inner)], [X], [Y], {"trips": np.array(0)})
    )
    assert operators(lowered) == ["Identity"]


def test_nested_loops_and_branches() -> None:
    then = body([node("Sin", "m", "t")], [], [unranked("t")])
    other = body([node("Mul", "m two", "u")], [], [unranked("u")])
    inner = loop_body(
        [
            node("Add", "s x", "m"),
            node("Less", "step limit", "early"),
            node("If", "early", "s_next", then_branch=then, else_branch=other),
        ],
        ["s"],
    )
    outer = loop_body([node("Loop", "trips - z", "z_next", body=inner)], ["z"])
    constants = {"trips": np.array(3), "two": np.float32(2), "limit": np.array(2)}
    proto = model([node("Loop", "limit - x", "y", body=outer)], [X], [Y], constants)
    assert operators(same(proto)) == ["Add", "Sin", "Add", "Sin", "Add", "Mul"] * 2


def test_two_outputs_of_one_value() -> None:
    nodes = [node("Sin", "s", "s_next"), node("Identity", "t", "t_next")]
    loop = node("Loop", "trips - x x", "y kept", body=loop_body(nodes, ["s", "t"]))
    proto = model([loop], [X], [Y, value("kept", "N", 3)], {"trips": np.array(2)})
    same(proto)


# Scan ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backward", [0, 1])
@pytest.mark.parametrize("shown", [0, 1, -1])
def test_axes_and_directions_of_a_scan(backward: int, shown: int) -> None:
    inner = body(
        [node("Add", "s r", "s_next"), node("Tanh", "s_next", "row")],
        [unranked("s"), unranked("r")],
        [unranked("s_next"), unranked("row")],
    )
    scan = node(
        "Scan",
        "start x",
        "last y",
        body=inner,
        num_scan_inputs=1,
        scan_input_axes=[-1],
        scan_input_directions=[backward],
        scan_output_axes=[shown],
        scan_output_directions=[1 - backward],
    )
    shape = ["N", 3] if shown else [3, "N"]
    nodes = [node("ReduceSum", "x one", "start", keepdims=0), scan]
    same(model(nodes, [X], [value("y", *shape)], {"one": np.array([1])}))


# If -----------------------------------------------------------------------------------------------


def branched(condition: str, nodes: Nodes, inputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
    then = body([node("Sin", "x", "t")], [], [unranked("t")])
    other = body([node("Mul", "x two", "u")], [], [unranked("u")])
    choice = node("If", condition, "y", then_branch=then, else_branch=other)
    constants = {"two": np.float32(2), "three": np.array(3), "zero": np.array(0)}
    return model([*nodes, choice], inputs, [Y], constants)


def test_a_condition_on_sizes_is_decided() -> None:
    nodes = [node("Shape", "x", "width", start=1), node("Equal", "width three", "wide")]
    assert operators(same(branched("wide", nodes, [X]))) == ["Sin"]


@pytest.mark.parametrize("flag", [True, False])
def test_a_condition_that_is_fed(flag: bool) -> None:
    proto = branched("flag", [], [X, value("flag", of=BOOL)])
    same(proto, flag=np.array(flag))
    program = build_program(load(proto), named("gradient"), inputs=["x"])
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    feeds = {"x": x, "flag": np.array(flag), "seed": np.ones((1, 2, 3), np.float32)}
    found = session(ir.serde.serialize_model(program.model))(feeds)["x/contributions"]
    expected = np.cos(x) if flag else np.full_like(x, 2)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_a_condition_on_the_explicand_is_complete() -> None:
    nodes = [node("ReduceMax", "x", "most", keepdims=0), node("Greater", "most level", "high")]
    proto = branched("high", nodes, [X])
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "level"))
    report = onnxshap.check(proto)
    (chosen,) = report.named("fallback")  # least norm, at the If, by its name
    assert (chosen.name, chosen.operator) == ("y/Where_0", "ai.onnx@16::Where")
    assert [(w.name, w.operator) for w in report.written_out] == [("y", "ai.onnx::If")]
    assert 'fallback: ai.onnx@16::Where, node "y/Where_0"' in str(report)
    x = np.array([[1, 0.5, -2], [-1, -2, -3]], np.float32)
    background = np.array([[-1, -1.5, -0.5], [2, -1, 0.3]], np.float32)
    found = onnxshap.Explainer(proto, background, target=1)(x, per_reference=True)
    assert np.abs(found.residual).max() < 1e-5
    high, high0 = x.max(1) > 0, background.max(1) > 0
    assert (high[:, None] != high0).sum() == 2  # of four pairs, two take different branches
    y, y0 = (np.where(c[:, None], np.sin(v), 2 * v) for c, v in ((high, x), (high0, background)))
    total = found.per_reference.sum(2)
    np.testing.assert_allclose(total, y[:, None, 1] - y0[None, :, 1], atol=1e-6)


# What cannot be written out -----------------------------------------------------------------------


def refused(proto: onnx.ModelProto, message: str) -> None:
    with pytest.raises(UnsupportedOpError, match=message):
        onnxshap.Explainer(proto, np.zeros((1, 3), np.float32))


def test_trips_that_are_fed() -> None:
    inner = loop_body([node("Sin", "s", "s_next")], ["s"])
    loop = node("Loop", "trips - x", "y", body=inner)
    proto = model([loop], [X, value("trips", of=INT)], [Y])
    refused(
        proto,
        r'^Loop "y" cannot be written out: its number of trips \("trips"\) is decided as the model '
        r"runs\. Fix the sizes of the model's inputs, or export",
    )


def test_a_condition_on_what_is_computed() -> None:
    nodes = [
        node("Sin", "s", "s_next"),
        node("ReduceMax", "s_next", "most", keepdims=0),
        node("Less", "most two", "more"),
    ]
    refused(looped(nodes, going="more"), r'^Loop "y" .* its condition after 1 steps')


def test_more_steps_than_nodes_are_allowed() -> None:
    proto = looped([node("Sin", "s", "s_next")])
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array(10**6), "trips"))
    refused(
        proto, rf'^Loop "y" would become more than {LIMIT} nodes in \d+ steps\. Explain shorter'
    )


@pytest.mark.parametrize(
    ("op", "what"), [("LSTM", "sequence's length"), ("GRU", "sequence's length")]
)
def test_sequences_of_unknown_length(op: str, what: str) -> None:
    proto = classifier(op)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "T"
    with pytest.raises(
        UnsupportedOpError,
        match=rf'^{op} "Y" cannot be written out: its {what}, axis 0 of "steps", is not known',
    ):
        onnxshap.check(proto)
    scanned = classifier(op, "scan")
    scanned.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "T"
    with pytest.raises(UnsupportedOpError, match=r'^Scan "last" .* its length, axis 1 of "x"'):
        onnxshap.check(scanned)


def test_a_sequence_that_is_too_long() -> None:
    proto = classifier("LSTM")
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5000
    with pytest.raises(UnsupportedOpError, match=rf'^LSTM "Y" .* {LIMIT} nodes in 5000 steps'):
        onnxshap.check(proto)


def test_branches_of_different_shapes() -> None:
    then = body([node("ReduceSum", "x zero", "t", keepdims=1)], [], [unranked("t")])
    other = body([node("Sin", "x", "u")], [], [unranked("u")])
    choice = node("If", "flag", "b", then_branch=then, else_branch=other)
    nodes = [choice, node("Add", "b x", "y")]
    inputs = [X, value("flag", of=BOOL)]
    refused(model(nodes, inputs, [Y], {"zero": np.array([1])}), r'^If "b" .* different or unknown')


def test_what_is_off_the_path_stays() -> None:
    proto = classifier("LSTM")
    graph = proto.graph
    graph.input.append(value("z", "N", "T", 3))
    graph.node.extend(
        [
            node("Transpose", "z", "z_steps", perm=[1, 0, 2]),
            node("LSTM", "z_steps W R B", "- z_h", hidden_size=6),
            node("Squeeze", "z_h zero", "z_last"),
            node("Gemm", "z_last V", "beside", transB=1),
            node("Add", "logits beside", "sum"),
        ]
    )
    graph.output.append(value("sum", "N", 4))
    lowered = written_out(proto)
    assert operators(lowered).count("LSTM") == 1
    assert onnxshap.check(proto).ok  # the first output does not depend on z
    assert onnxshap.check(proto, output="sum", inputs="x").ok
    with pytest.raises(UnsupportedOpError, match=r'"z_steps", is not known'):
        onnxshap.check(proto, output="sum")


def test_lowering_is_not_in_the_way_of_other_models() -> None:
    proto = model([node("Sin", "x", "y")], [X], [Y])
    assert operators(written_out(proto)) == ["Sin"]


def test_a_branch_beside_the_path_is_run_on_both_sides() -> None:
    """It reads whole numbers that differ from sample to sample, which nothing flows back to."""
    read = [node("Gather", "table ids", "t"), node("Neg", "t", "u")]
    branches = [
        body([*nodes, node("Identity", end, f"{end}_")], [], [unranked(f"{end}_")])
        for nodes, end in ((read[:1], "t"), (read, "u"))
    ]
    nodes = [
        node("If", "flag", "row", then_branch=branches[0], else_branch=branches[1]),
        node("Mul", "row x", "y"),
    ]
    inputs = [X, value("ids", "N", of=INT), value("flag", of=BOOL)]
    table = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    proto = model(nodes, inputs, [Y], {"table": table})
    proto.graph.value_info.append(value("row", "N", 3))
    program = build_program(load(proto), named("deepshap"), inputs=["x"], varying=["x", "ids"])
    assert [n.op_type for n in program.model.graph].count("If") == 2
    onnx.checker.check_model(ir.serde.serialize_model(program.model), full_check=True)
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, 2, 3)).astype(np.float32)
    ids, others = np.array([0, 2]), np.array([1, 3])
    feeds = {"x": x, "ids": ids, "x/reference": r, "ids/reference": others}
    feeds |= {"seed": np.ones((1, 2, 3), np.float32), "flag": np.array(False)}
    found = session(ir.serde.serialize_model(program.model))(feeds)
    middle = -(table[ids][:, None] + table[others][None]) / 2
    expected = middle * (x[:, None] - r[None])
    np.testing.assert_allclose(found["x/contributions"][0], expected, atol=1e-6)
