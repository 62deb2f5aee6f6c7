"""What the walk makes of whole graphs: zeros, constants, sources, control flow, all offenders."""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import onnx_ir as ir
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnxshap.graph.model import load
from onnxshap.homogeneity import Offender, Proof, prove
from onnxshap.homogeneity.degrees import ANY, CONSTANT, largest, power, product, scales, spell
from onnxshap.methods.draft import Draft
from tests.helpers import models

node = models.node
X, Y = {"x": (np.float32, ["N", 3])}, {"y": (np.float32, ["a", "b"])}
ROW = np.array([1, 2, 3], np.float32)
ADDS = "adds a constant (degree 0) to a value of degree 1"


def chain(
    nodes: Sequence[NodeProto],
    inputs: dict[str, tuple[type, Sequence[str | int]]] = X,
    opset: int = 20,
    domains: Sequence[str] = (),
    **constants: np.ndarray,
) -> ir.Graph:
    """Graph of ``nodes`` from ``inputs`` to ``y``."""
    return load(models.graph(nodes, inputs, Y, constants, opset, domains)).normalised.graph


def proof(graph: ir.Graph, *sources: str, target: str = "y") -> Proof:
    """Proof from the named sources, by default "x"."""
    named = {v.name: v for v in (*graph.inputs, *(o for n in graph for o in n.outputs))}
    return prove(graph, [named[s] for s in sources or ("x",)], named[target])


def reasons(found: Proof) -> dict[str, str]:
    return {o.node: o.reason for o in found.offenders}


# Zeros ----------------------------------------------------------------------------------------

ZEROS = np.zeros(3, np.float32)
LONG = np.zeros((2000, 3), np.float32)  # more elements than inference looks into
LATE = LONG.copy()
LATE[-1, -1] = 1


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([], {"c": ZEROS}),
        ([], {"c": LONG}),
        ([node("Unsqueeze", ["z", "i"], ["c"])], {"z": ZEROS, "i": np.array([0])}),
        ([node("Unsqueeze", ["z", "i"], ["c"])], {"z": LONG, "i": np.array([0])}),
        ([node("Reshape", ["z", "i"], ["c"])], {"z": LONG, "i": np.array([-1, 3])}),
        ([node("Cast", ["z"], ["c"], to=TensorProto.FLOAT)], {"z": LONG.astype(np.float64)}),
        ([node("Cast", ["z"], ["c"], to=TensorProto.FLOAT)], {"z": LONG.astype(np.int64)}),
        ([node("Expand", ["z", "i"], ["c"])], {"z": ZEROS, "i": np.array([2000, 3])}),
        ([node("Concat", ["z", "z"], ["c"], axis=0)], {"z": LONG}),
        ([node("ConstantOfShape", ["i"], ["c"])], {"i": np.array([2000, 3])}),
        ([node("ConstantOfShape", ["i"], ["c"])], {"i": np.array([1, 3])}),
        ([node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["c"])], {}),
        ([node("Mul", ["z", "w"], ["c"])], {"z": LONG, "w": ROW}),
    ],
)
def test_a_sum_with_zeros_keeps_its_degree(
    nodes: list[NodeProto], constants: dict[str, np.ndarray]
) -> None:
    graph = chain([*nodes, node("Add", ["x", "c"], ["y"], "sum")], **constants)
    assert proof(graph) == Proof(Fraction(1), [])


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([], {"c": LATE}),
        ([node("Unsqueeze", ["z", "i"], ["c"])], {"z": LATE, "i": np.array([0])}),
        ([node("Cos", ["z"], ["c"])], {"z": LONG}),
        ([node("Sigmoid", ["z"], ["c"])], {"z": LONG}),
        ([node("Concat", ["z", "w"], ["c"], axis=0)], {"z": LONG, "w": LATE}),
        ([node("Pow", ["z", "w"], ["c"])], {"z": LONG, "w": np.array(0, np.float32)}),
        ([node("ReduceProd", ["e"], ["c"])], {"e": np.zeros((0, 3), np.float32)}),
        (
            [node("Not", ["z"], ["n"]), node("Cast", ["n"], ["c"], to=TensorProto.FLOAT)],
            {"z": np.zeros((2000, 3), bool)},
        ),
        (
            [
                node("Shape", ["x"], ["s"]),
                node(
                    "ConstantOfShape",
                    ["s"],
                    ["c"],
                    value=numpy_helper.from_array(np.array([0.5], np.float32)),
                ),
            ],
            {},
        ),
        ([node("Shape", ["x"], ["s"]), node("Expand", ["w", "s"], ["c"])], {"w": ROW}),
    ],
)
def test_a_sum_with_anything_else_has_none(
    nodes: list[NodeProto], constants: dict[str, np.ndarray]
) -> None:
    found = proof(chain([*nodes, node("Add", ["x", "c"], ["y"], "sum")], **constants))
    assert found.degree is None
    assert [o.node for o in found.offenders] == ["sum"]
    assert found.offenders[0].reason.startswith("adds a")


def test_what_is_computed_from_zero_is_a_constant() -> None:
    nodes = [
        node("Mul", ["x", "z"], ["nothing"], "times_zero"),
        node("Sigmoid", ["nothing"], ["half"], "gate"),
        node("Mul", ["x", "half"], ["y"], "gated"),
    ]
    graph = chain(nodes, z=ZEROS)
    assert proof(graph) == Proof(Fraction(1), [])
    assert proof(graph, target="nothing") == Proof(Fraction(0), [])
    assert proof(graph, target="half") == Proof(Fraction(0), [])


# Degrees --------------------------------------------------------------------------------------


def test_degrees_are_exact() -> None:
    nodes = [
        node("Mul", ["x", "x"], ["x2"], "square"),
        node("Sqrt", ["x2"], ["a"], "root"),
        node("Sqrt", ["a"], ["quarter"], "root2"),
        node("Mul", ["quarter", "x2"], ["y"], "product"),
    ]
    graph = chain(nodes)
    assert proof(graph).degree == Fraction(5, 2)
    assert proof(graph, target="a").degree == 1
    assert proof(graph, target="x").degree == 1


def test_product_of_two_activations() -> None:
    held = models.weights(1, A=(3, 4), B=(3, 4))
    nodes = [
        node("MatMul", ["x", "A"], ["a"], "left"),
        node("MatMul", ["x", "B"], ["b"], "right"),
        node("Relu", ["a"], ["ra"], "relu"),
        node("Mul", ["ra", "b"], ["m"], "product"),
        node("Add", ["m", "b"], ["y"], "sum"),
    ]
    graph = chain(nodes, **held)
    assert proof(graph, target="m").degree == 2
    mixed = "adds a value of degree 2 to a value of degree 1"
    assert proof(graph).offenders == [Offender("sum", "Add", mixed)]


def test_arithmetic_of_degrees() -> None:
    one = Fraction(1)
    assert product() == 0
    assert product(one, Fraction(1, 2)) == Fraction(3, 2)
    assert product(one, ANY) is ANY
    assert power(ANY, 2) is ANY
    assert power(one, Fraction(1, 2)) == Fraction(1, 2)
    assert [scales(d) for d in (ANY, CONSTANT, one, -one)] == [False, False, True, True]
    assert largest([ANY, one, CONSTANT]) == 1
    assert largest([ANY]) is ANY
    assert [spell(d) for d in (one, Fraction(-1, 2), ANY)] == ["1", "-1/2", "any"]
    assert spell(Fraction(0.1)) == "0.1"
    assert repr(ANY) == "ANY"


# All offenders --------------------------------------------------------------------------------


def test_all_are_found_behind_one_another() -> None:
    held = models.weights(2, w0=(3, 3), b0=(3,), b1=(3,))
    nodes = [
        node("Gemm", ["x", "w0", "b0"], ["h"], "fc"),
        node("Sigmoid", ["h"], ["g"], "gate"),
        node("Mul", ["h", "g"], ["silu"], "silu"),
        node("Softplus", ["silu"], ["s"], "softplus"),
        node("Add", ["s", "b1"], ["a"], "bias"),
        node("Clip", ["a", "", "six"], ["c"], "clip"),
        node("LayerNormalization", ["c", "b1"], ["n"], "norm"),
        node("Mul", ["n", "c"], ["m"], "modulate"),
        node("Tanh", ["n"], ["t"], "tanh_of_bounded"),
        node("Mul", ["m", "t"], ["u"], "times"),
        node("Softmax", ["u"], ["y"], "softmax"),
    ]
    found = proof(chain(nodes, six=np.array(6, np.float32), **held))
    assert found.degree is None
    assert reasons(found) == {
        "fc": "adds a bias (degree 0) to a value of degree 1",
        "gate": "Sigmoid(a x) is no power of a times Sigmoid(x)",
        "softplus": "Softplus(a x) is no power of a times Softplus(x)",
        "bias": ADDS,
        "clip": "clips at 6",
        "norm": "adds epsilon 1e-05 to a mean square",
        "softmax": "Softmax(a x) is no power of a times Softmax(x)",
    }


def test_only_nodes_on_the_way_count() -> None:
    nodes = [
        node("Tanh", ["x"], ["aside"], "aside"),
        node("Tanh", ["w"], ["t"], "of_a_constant"),
        node("Mul", ["x", "t"], ["y"], "scale"),
    ]
    model = models.graph(nodes, X, Y | {"aside": (np.float32, ["N", 3])}, {"w": ROW})
    graph = load(model).normalised.graph
    assert proof(graph) == Proof(Fraction(1), [])
    assert list(reasons(proof(graph, target="aside"))) == ["aside"]


def test_unknown_operators() -> None:
    found = proof(load(models.unsupported("one", "two")).normalised.graph, "x", target="v2")
    assert found == Proof(
        None, [Offender(n, "com.acme::Mystery", "no homogeneity rule") for n in ("one", "two")]
    )
    nodes = [
        node("Mystery", ["w"], ["secret"], "mystery", domain="com.acme"),
        node("Mul", ["x", "secret"], ["y"], "scale"),
    ]
    assert proof(chain(nodes, domains=["com.acme"], w=ROW)).degree == 1


def test_an_operator_of_another_domain_is_not_its_namesake() -> None:
    nodes = [node("Relu", ["x"], ["y"], "impostor", domain="com.acme")]
    found = proof(chain(nodes, domains=["com.acme"]))
    assert found.offenders == [Offender("impostor", "com.acme::Relu", "no homogeneity rule")]


def test_quantised_models_are_looked_through() -> None:
    scale, zero = np.array(0.1, np.float32), np.array(3, np.uint8)
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"], "quantize"),
        node("DequantizeLinear", ["q", "scale", "zero"], ["d"], "dequantize"),
        node("Add", ["d", "b"], ["y"], "bias"),
    ]
    found = proof(chain(nodes, scale=scale, zero=zero, b=ROW))
    assert list(reasons(found)) == ["quantize", "dequantize", "bias"]


# Sources --------------------------------------------------------------------------------------


def test_other_inputs_are_held() -> None:
    two = load(models.two_inputs()).normalised.graph
    assert proof(two, "a", "b", target="r").degree == 1
    assert reasons(proof(two, "a", target="r")) == {"sum": ADDS}
    assert proof(two, "a", target="aA").degree == 1
    side = load(models.side_input()).normalised.graph
    assert proof(side, target="flat").degree == 1


def test_inner_sources_cut_the_graph() -> None:
    graph = load(models.cnn()).normalised.graph
    assert reasons(proof(graph, "image", target="logits")).keys() == {"conv0", "fc"}
    assert reasons(proof(graph, "p0", target="logits")).keys() == {"fc"}
    assert proof(graph, "p0", target="f") == Proof(Fraction(1), [])
    # A residual that goes around the source comes from what is held.
    attention = load(models.attention()).normalised.graph
    assert reasons(proof(attention, "projected", target="r0")) == {"residual0": ADDS}
    # One source is computed from the other: each is an input of its own.
    assert proof(attention, "x", "projected", target="r0") == Proof(Fraction(1), [])


def test_a_target_that_does_not_depend_on_the_source() -> None:
    graph = load(models.two_inputs()).normalised.graph
    assert proof(graph, "b", target="aA") == Proof(Fraction(0), [])


def test_a_constant_that_is_explained_is_no_constant() -> None:
    nodes = [
        node("Sqrt", ["w"], ["c"], "explained"),
        node("Pow", ["x", "c"], ["p"], "power"),
        node("Add", ["p", "c"], ["y"], "sum"),
    ]
    graph = chain(nodes, w=np.array(4, np.float32))
    assert reasons(proof(graph)) == {"sum": "adds a constant (degree 0) to a value of degree 2"}
    assert "power" in reasons(proof(graph, "x", "c"))
    assert "power" in reasons(proof(graph, "c"))


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Cast", ["x"], ["y"], "reader", to=TensorProto.FLOAT)],
        [node("Mul", ["x", "two"], ["m"], "reader"), node("Identity", ["m"], ["y"])],
        [node("Gather", ["w", "x"], ["y"], "reader")],
        [node("DequantizeLinear", ["x", "s"], ["y"], "reader")],
    ],
)
def test_integers_are_not_scaled(nodes: list[NodeProto]) -> None:
    whole = np.int32
    output = {"y": (np.int32 if nodes[-1].op_type == "Identity" else np.float32, ["a", "b"])}
    held = {"two": np.array(2, whole), "w": ROW, "s": np.array(0.5, np.float32)}
    model = models.graph(nodes, {"x": (whole, ["N", 3])}, output, held, 20)
    found = proof(load(model).normalised.graph)
    assert reasons(found)["reader"] == "reads INT32, which cannot be scaled by every a"


# Control flow ---------------------------------------------------------------------------------


def branches(reads: str) -> NodeProto:
    """An If whose branches return twice and thrice a value from outside."""
    bodies = {}
    for name, count in (("then_branch", 2), ("else_branch", 3)):
        body = node("Sum", [reads] * count, ["inside"], "times")
        output = helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)
        bodies[name] = helper.make_graph([body], name, [], [output])
    return helper.make_node("If", ["flag"], ["chosen"], "branch", **bodies)


def test_control_flow_on_constants_is_a_factor() -> None:
    nodes = [branches("w"), node("Mul", ["x", "chosen"], ["y"], "scale")]
    inputs = X | {"flag": (bool, []), "w": (np.float32, [3])}
    assert proof(chain(nodes, inputs)) == Proof(Fraction(1), [])
    held = proof(chain(nodes, inputs), "w")
    assert reasons(held) == {"branch": "control flow that values of a degree other than 0 enter"}


def test_control_flow_that_reads_the_source_is_an_offence() -> None:
    nodes = [branches("x"), node("Add", ["chosen", "w"], ["y"], "bias")]
    found = proof(chain(nodes, X | {"flag": (bool, [])}, w=ROW))
    assert [(o.node, o.operator) for o in found.offenders] == [("branch", "If"), ("bias", "Add")]


@pytest.mark.parametrize("operator", ["Loop", "Scan"])
def test_loops_over_the_source_are_an_offence(operator: str) -> None:
    state = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("s", "t")]
    step = node("Add", ["s", "s"], ["t"], "double")
    if operator == "Scan":
        row = helper.make_tensor_value_info("row", TensorProto.FLOAT, None)
        step = node("Add", ["s", "row"], ["t"], "add")
        body = helper.make_graph([step], "body", [state[0], row], [state[1]])
        loop = helper.make_node("Scan", ["w", "x"], ["y"], "loop", body=body, num_scan_inputs=1)
    else:
        count = helper.make_tensor_value_info("k", TensorProto.INT64, [])
        going = [helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("c", "d")]
        keep = node("Identity", ["c"], ["d"], "keep")
        body = helper.make_graph(
            [keep, step], "body", [count, going[0], state[0]], [going[1], state[1]]
        )
        loop = helper.make_node("Loop", ["three", "", "x"], ["y"], "loop", body=body)
    found = proof(chain([loop], three=np.array(3), w=ROW))
    assert [(o.node, o.operator) for o in found.offenders] == [("loop", operator)]


# Other ----------------------------------------------------------------------------------------


def test_a_random_choice_of_the_source_is_an_offence() -> None:
    nodes = [
        node("Multinomial", ["x"], ["n"], "draw", sample_size=2),
        node("Cast", ["n"], ["y"], "cast", to=TensorProto.FLOAT),
    ]
    assert reasons(proof(chain(nodes))) == {"draw": "draws random numbers"}


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("RandomNormal", [], ["r"], "draw", shape=[1, 3])], "draws random numbers"),
        ([node("RandomUniform", [], ["r"], "draw", shape=[1, 3])], "draws random numbers"),
        ([node("Bernoulli", ["w"], ["r"], "draw")], "draws random numbers"),
        ([node("Dropout", ["w", "half", "on"], ["r"], "draw")], "is in training mode, or may be"),
    ],
)
def test_numbers_drawn_without_the_source_are_an_offence_too(
    nodes: list[NodeProto], reason: str
) -> None:
    """A factor that is another each time is no coefficient: y is no function of x."""
    held = {"w": ROW, "half": np.array(0.5, np.float32), "on": np.array(True)}
    graph = chain([*nodes, node("Mul", ["x", "r"], ["y"], "product")], **held)
    assert reasons(proof(graph)) == {"draw": reason}
    assert proof(graph, target="x").degree == 1  # off the path it is no matter


def test_the_graph_is_left_as_it_is() -> None:
    model = load(models.cnn()).normalised
    before = ir.serde.serialize_model(model).SerializeToString()
    proof(model.graph, "image", target="logits")
    assert ir.serde.serialize_model(model).SerializeToString() == before


@pytest.mark.parametrize("build", [models.homogeneous, models.cnn])
def test_a_draft_is_proven_like_its_model(build: Callable[[], ModelProto]) -> None:
    model = load(build())
    draft = Draft(model, None, None)
    graph = model.normalised.graph
    assert prove(draft.graph, draft.sources, draft.target) == prove(
        graph, graph.inputs, graph.outputs[0]
    )
