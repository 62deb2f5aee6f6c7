"""certify: the verdict, the nodes at fault, and the runs that confirm it."""

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto

from onnxshap import InputError, Model
from onnxshap.graph.model import load
from onnxshap.homogeneity import Offender, prove, registry
from onnxshap.xdnn import Certificate, certify, strip_bias
from tests.helpers import light, models

node = models.node
BIAS = "adds a bias (degree 0) to a value of degree 1"
ADDS = "adds a constant (degree 0) to a value of degree 1"
HOSTILE = "<img src=x onerror=alert(1)>"


def net(nodes: list[NodeProto], opset: int = 20, **constants: np.ndarray) -> ModelProto:
    """Nodes from ``x`` [N, 4] to ``y`` [N, 4]."""
    ends = {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 4])}
    return models.graph(nodes, *ends, constants, opset)


def kinds(found: Certificate) -> Counter[tuple[str, str]]:
    """How many offenders there are by operator and reason."""
    return Counter((o.operator, o.reason) for o in found.offenders)


# Verdicts -------------------------------------------------------------------------------------


def test_a_net_without_biases() -> None:
    found = certify(models.homogeneous())
    assert found.ok
    assert (found.degree, found.offenders, found.unconfirmed) == (1, [], "")
    assert found.deviation is not None
    assert found.deviation < 1e-5
    assert (found.sources, found.output) == (["image"], "logits")
    assert str(found).split("\n") == [
        "image -> logits: certified, f(a x) = a f(x) for every a > 0, proven node by node",
        f"runs: largest deviation {found.deviation:.2g}",
    ]


def test_a_net_with_biases() -> None:
    found = certify(models.cnn())
    assert not found.ok
    assert found.degree is None
    assert found.deviation is None
    assert found.offenders == [Offender("conv0", "Conv", BIAS), Offender("fc", "Gemm", BIAS)]
    assert str(found).split("\n") == [
        "image -> logits: NOT certified: 2 node(s) break f(a x) = a^k f(x)",
        f"    1  Conv: {BIAS}",
        '       node "conv0"',
        f"    1  Gemm: {BIAS}",
        '       node "fc"',
    ]


def test_a_net_whose_biases_are_zeros() -> None:
    proto = models.cnn()
    for tensor in proto.graph.initializer:
        if tensor.name.startswith("b"):
            zeros = np.zeros(tuple(tensor.dims), np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    assert certify(proto).ok


def test_lite0() -> None:
    found = certify(models.LITE0)
    assert kinds(found) == {("Clip", "clips at 6"): 33, ("Conv", BIAS): 49, ("Gemm", BIAS): 1}
    assert all(f'node "{o.node}"' in str(found) for o in found.offenders)
    bare = certify(strip_bias(models.LITE0))
    assert kinds(bare) == {("Clip", "clips at 6"): 33}


LAYER = {"g": np.full(4, 0.5, np.float32)}
SCALED = [
    node("LayerNormalization", ["x", "g"], ["n"], "norm", epsilon=0.0),
    node("Mul", ["n", "x"], ["y"], "times"),
]


@pytest.mark.parametrize(
    ("nodes", "degree", "reasons"),
    [
        ([node("Softmax", ["x"], ["y"], "s")], None, ["Softmax(a x) is no power of a"]),
        ([node("Sigmoid", ["x"], ["y"], "s")], None, ["Sigmoid(a x) is no power of a"]),
        ([node("LayerNormalization", ["x", "g"], ["y"], "n")], None, ["adds epsilon 1e-05"]),
        ([node("LayerNormalization", ["x", "g"], ["y"], "n", epsilon=0.0)], 0, []),
        (SCALED, 1, []),
        ([node("Mul", ["x", "x"], ["y"], "square")], 2, []),
        (
            [node("Mul", ["x", "x"], ["q"], "square"), node("Add", ["q", "x"], ["y"], "sum")],
            None,
            ["adds a value of degree 2 to a value of degree 1"],
        ),
        ([node("Abs", ["x"], ["a"]), node("Sqrt", ["a"], ["y"], "root")], Fraction(1, 2), []),
        ([node("Reciprocal", ["x"], ["y"], "r")], -1, []),
        ([node("Sign", ["x"], ["y"], "sign")], 0, []),
        ([node("Mul", ["x", "zero"], ["y"], "nothing")], 0, []),
    ],
)
def test_degrees(nodes: list[NodeProto], degree: Fraction | None, reasons: list[str]) -> None:
    found = certify(net(nodes, zero=np.zeros(4, np.float32), **LAYER))
    assert found.degree == degree
    assert len(found.offenders) == len(reasons)
    assert all(r in o.reason for r, o in zip(reasons, found.offenders, strict=True))
    assert found.ok == (degree is not None and degree >= 1)


@pytest.mark.parametrize(
    ("operator", "said"),
    [
        ("Sign", "NOT certified: degree 0, scaling the input does not change the output"),
        ("Sqrt", "NOT certified: degree 1/2 is below 1, the gradient grows without bound near x"),
        ("Reciprocal", "NOT certified: degree -1 is below 1, the gradient grows without bound"),
    ],
)
def test_why_a_proven_degree_is_not_enough(operator: str, said: str) -> None:
    found = certify(net([node(operator, ["x"], ["y"], "f")]))
    assert said in found.verdict
    assert said in str(found)
    assert not found.ok


def test_a_target_that_does_not_depend_on_the_input() -> None:
    found = certify(models.two_inputs(), inputs="b", output="aA")
    assert found.degree == 0
    assert "X-Gradient has nothing to share out" in str(found)


def test_part_of_a_model() -> None:
    proto = models.cnn(softmax=True)
    assert [o.node for o in certify(proto).offenders] == ["conv0", "fc", "softmax"]
    assert [o.node for o in certify(proto, output="logits").offenders] == ["conv0", "fc"]
    inner = certify(proto, output="f", inputs="p0")
    assert inner.ok
    assert inner.deviation is not None
    assert (inner.sources, inner.output) == (["p0"], "f")


def test_several_inputs_are_scaled_together_or_held() -> None:
    both = certify(models.two_inputs(), output="r")
    assert both.ok
    assert both.deviation is not None
    left = certify(models.two_inputs(), output="r", inputs=["a"])
    assert [o.node for o in left.offenders] == ["sum"]
    side = certify(models.side_input(), output="flat")
    assert side.ok
    assert side.deviation is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"output": "nothing"}, 'the model has no value "nothing" to take as output'),
        ({"inputs": "nothing"}, 'the model has no value "nothing" to take as input'),
        ({"samples": np.zeros((1, 3, 9, 9), np.float32)}, 'samples: input "image" expects shape'),
        ({"samples": {"photo": np.zeros(3)}}, 'samples: the model has no input "photo"'),
        ({"samples": np.zeros((0, 3, 12, 12), np.float32)}, "samples: there are none"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        certify(models.homogeneous(), **arguments)


# Runs -----------------------------------------------------------------------------------------


def test_samples_are_used() -> None:
    proto = models.homogeneous()
    zeros = np.zeros((2, 3, 12, 12), np.float32)
    found = certify(proto, samples=zeros)
    assert found.ok  # the proof stands
    assert found.unconfirmed == "the output is 0 at all samples; give others (samples=)"
    assert "not confirmed by runs: the output is 0 at all samples" in str(found)
    given = certify(proto, samples=models.samples(proto, 3))
    assert given.deviation is not None


def test_free_sizes_need_samples() -> None:
    proto = models.graph(
        [node("Relu", ["x"], ["y"], "relu")],
        {"x": (np.float32, ["N", "T"])},
        {"y": (np.float32, ["N", "T"])},
        {},
    )
    found = certify(proto)
    assert found.ok
    assert found.deviation is None
    assert found.unconfirmed == 'the sizes of "x" are free; give samples='
    assert certify(proto, samples=np.ones((2, 5), np.float32)).deviation is not None


@pytest.mark.parametrize("build", [models.no_batch, lambda: models.cnn(batch=1, bias=False)])
def test_models_without_a_free_batch(build: Any) -> None:
    found = certify(build())
    assert found.ok
    assert found.deviation is not None


@pytest.mark.parametrize(("dtype", "bound"), [(np.float16, 5e-3), (np.float64, 1e-13)])
def test_other_types(dtype: Any, bound: float) -> None:
    nodes = [node("MatMul", ["x", "w"], ["h"], "m"), node("Relu", ["h"], ["y"], "relu")]
    ends = {"x": (dtype, ["N", 8])}, {"y": (dtype, ["N", 4])}
    found = certify(models.graph(nodes, *ends, models.weights(0, dtype, w=(8, 4))))
    assert found.ok
    assert found.deviation is not None
    assert found.deviation < bound
    assert (found.tolerance > 1e-3) == (dtype == np.float16)


def test_what_is_not_finite_is_not_confirmed() -> None:
    root = certify(net([node("Sqrt", ["x"], ["r"], "root"), node("Mul", ["r", "r"], ["y"])]))
    assert root.ok
    assert "the output is not finite at the samples" in root.unconfirmed
    powers = [node("Mul", [f"p{i}", f"p{i}"], [f"p{i + 1}"], f"m{i}") for i in range(5)]
    powers[0].input[:], powers[-1].output[:] = ["x", "x"], ["y"]
    high = certify(net(powers))
    assert high.degree == 32
    assert high.unconfirmed == "the output is not finite for a = 17"


def test_what_the_runtime_cannot_run_is_not_confirmed() -> None:
    proto = models.graph(
        [node("Det", ["x"], ["y"], "det")],
        {"x": (np.float64, ["N", 2, 2])},
        {"y": (np.float64, ["N"])},
        {},
    )
    found = certify(proto)
    assert found.degree == 2
    assert "onnxruntime cannot load the part that is certified" in found.unconfirmed


def test_a_proof_that_runs_contradict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.RULES, "Tanh", lambda ctx: ctx.degree())
    found = certify(net([node("Tanh", ["x"], ["y"], "tanh")]))
    assert found.degree == 1
    assert found.contradicted
    assert not found.ok
    assert found.deviation is not None
    assert found.deviation > 0.1
    assert "NOT certified: f(a x) = a f(x) was proven, but runs deviate by" in str(found)


def test_tests_of_the_verdict() -> None:
    def with_deviation(deviation: float | None) -> Certificate:
        return Certificate(["x"], "y", Fraction(1), [], deviation, "")

    assert with_deviation(9e-4).ok
    assert with_deviation(None).ok
    assert not with_deviation(2e-3).ok
    assert not with_deviation(float("nan")).ok


# Renderings -----------------------------------------------------------------------------------


def test_offenders_are_grouped_by_kind() -> None:
    nodes = [
        node("Add", ["x", "b"], ["h0"], "one"),
        node("Tanh", ["h0"], ["h1"], "two"),
        node("Mul", ["h0", "h1"], ["h2"], "product"),
        node("Add", ["h2", "b"], ["y"], "three"),
    ]
    lines = str(certify(net(nodes, b=np.ones(4, np.float32)))).split("\n")
    assert lines[1:] == [
        f"    2  Add: {ADDS}",
        '       node "one"',
        '       node "three"',
        "    1  Tanh: Tanh(a x) is no power of a times Tanh(x)",
        '       node "two"',
    ]


def test_html_escapes_every_name() -> None:
    nodes = [
        node("Tanh", [HOSTILE], [f"{HOSTILE}v"], HOSTILE),
        node(HOSTILE, [f"{HOSTILE}v"], [f"{HOSTILE}2"], f"{HOSTILE}1", domain=HOSTILE),
        node("Add", [f"{HOSTILE}2", HOSTILE], [f"{HOSTILE}3"], f"{HOSTILE}4"),
    ]
    ends = {HOSTILE: (np.float32, ["N", 4])}, {f"{HOSTILE}3": (np.float32, ["N", 4])}
    page = certify(models.graph(nodes, *ends, {}, domains=[HOSTILE]))._repr_html_()
    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 4
    assert "<table>" in page
    assert "<table>" not in certify(models.homogeneous())._repr_html_()


# Real architectures ---------------------------------------------------------------------------

SOFTMAX = ("Softmax", "Softmax(a x) is no power of a times Softmax(x)")
LRN1 = ("LRN", "adds bias 1 to a sum of squares")
LRN2 = ("LRN", "adds bias 2 to a sum of squares")
CONV, GEMM, ADD = ("Conv", BIAS), ("Gemm", BIAS), ("Add", ADDS)
BOTH = ("BatchNormalization", "its mean and B are not zero")
MEAN = ("BatchNormalization", "its mean is not zero")

OFFENDERS = {
    "bvlc_alexnet": {CONV: 5, LRN1: 2, GEMM: 3, SOFTMAX: 1},
    "densenet121": {BOTH: 119, MEAN: 2, ADD: 121, CONV: 1},
    "inception_v1": {CONV: 57, LRN1: 2, GEMM: 1, SOFTMAX: 1},
    "inception_v2": {BOTH: 56, MEAN: 13, ADD: 69, GEMM: 1, SOFTMAX: 1},
    "resnet50": {BOTH: 53, GEMM: 1, SOFTMAX: 1},
    "shufflenet": {CONV: 1, BOTH: 49, GEMM: 1, SOFTMAX: 1},
    "squeezenet": {CONV: 26, SOFTMAX: 1},
    "vgg19": {CONV: 16, GEMM: 3, SOFTMAX: 1},
    "zfnet512": {CONV: 5, LRN2: 2, GEMM: 3, SOFTMAX: 1},
}
LEFT = {"bvlc_alexnet": {LRN1: 2}, "inception_v1": {LRN1: 2}, "zfnet512": {LRN2: 2}}


def test_every_light_net_is_here() -> None:
    found = {p.stem.removeprefix("light_") for p in light.FOLDER.glob("*.onnx")}
    assert set(OFFENDERS) == set(light.NAMES) == found


@pytest.mark.parametrize("name", light.NAMES)
def test_light_nets_as_they_are(name: str) -> None:
    assert kinds(certify(light.as_it_is(name).model)) == OFFENDERS[name]


@pytest.mark.parametrize("name", light.NAMES)
def test_light_nets_without_biases_are_homogeneous_but_for_lrn(name: str) -> None:
    net = light.as_it_is(name)
    stripped = strip_bias(net.model)
    proof = proven(stripped, net.logits)
    left = LEFT.get(name, {})
    assert Counter((o.operator, o.reason) for o in proof.offenders) == left
    assert proof.degree == (None if left else 1)


def proven(model: Model, output: str) -> Any:
    """The proof alone: running them all takes long."""
    graph = load(model).normalised.graph
    target = next(o for n in graph for o in n.outputs if o.name == output)
    return prove(graph, graph.inputs, target)


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet",
        "shufflenet",
        "inception_v2",
        "densenet121",
        pytest.param("resnet50", marks=pytest.mark.full),
        pytest.param("vgg19", marks=pytest.mark.full),
    ],
)
def test_runs_confirm_light_nets_without_biases(name: str) -> None:
    net = light.drawn(name)
    found = certify(strip_bias(net.model), output=net.logits)
    assert found.ok
    assert found.deviation is not None
    assert found.deviation < 1e-5


def test_light_nets_have_logits_of_the_size_they_promise() -> None:
    net = light.drawn("shufflenet", seed=3)
    image = np.random.default_rng(9).normal(size=light.IMAGE).astype(np.float32)
    logits = models.run(net.model, {net.image: image}, output=net.logits)[net.logits]
    assert 1.5 < logits.std() < 2.5
    again = light.drawn("shufflenet", seed=3)
    assert again.model.SerializeToString() == net.model.SerializeToString()
