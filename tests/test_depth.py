"""Cuts stand on every path, and attributions sum to the same at each of them."""

import time

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxshap
from onnxshap.depth import cuts, depth_profile
from onnxshap.errors import InputError
from onnxshap.graph.cuts import single_cuts
from onnxshap.graph.dependence import carries_numbers, reachable
from onnxshap.methods import XGradient
from tests.helpers import models

node = models.node


def residual() -> onnx.ModelProto:
    """Two residual blocks, the second with a 1x1 convolution on its shortcut."""
    held = models.weights(
        7, w0=(4, 3, 3, 3), w1=(4, 4, 3, 3), w2=(4, 4, 3, 3), w3=(6, 4, 3, 3), w4=(6, 4, 1, 1)
    )
    held |= models.weights(8, w5=(3, 6))
    nodes = [
        node("Conv", ["image", "w0"], ["stem"], "stem", pads=[1] * 4),
        node("Relu", ["stem"], ["in"], "relu_in"),
        node("Conv", ["in", "w1"], ["a"], "conv_a", pads=[1] * 4),
        node("Relu", ["a"], ["ar"], "relu_a"),
        node("Conv", ["ar", "w2"], ["b"], "conv_b", pads=[1] * 4),
        node("Add", ["b", "in"], ["first"], "add_first"),
        node("Relu", ["first"], ["middle"], "relu_middle"),
        node("Conv", ["middle", "w3"], ["c"], "conv_c", pads=[1] * 4),
        node("Conv", ["middle", "w4"], ["d"], "shortcut"),
        node("Add", ["c", "d"], ["second"], "add_second"),
        node("GlobalAveragePool", ["second"], ["mean"], "mean"),
        node("Flatten", ["mean"], ["flat"], "flatten"),
        node("Gemm", ["flat", "w5"], ["logits"], "fc", transB=1),
    ]
    ends = {"image": (np.float32, ["N", 3, 8, 8])}, {"logits": (np.float32, ["N", 3])}
    return models.graph(nodes, *ends, held)


def split(model: onnx.ModelProto) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One explicand, and three references for the float inputs."""
    drawn = models.samples(model, 4)
    floats = {name: a for name, a in drawn.items() if a.dtype.kind == "f"}
    return {n: a[:1] for n, a in drawn.items()}, {n: a[1:] for n, a in floats.items()}


# Cuts ---------------------------------------------------------------------------------------------


def test_a_residual_block_is_cut_before_and_after_it() -> None:
    outside = ["image", "stem", "in", "first", "middle", "second", "mean", "flat", "logits"]
    assert cuts(residual()) == outside
    assert cuts(residual(), output="b") == ["image", "stem", "in", "a", "ar", "b"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (models.cnn(), ["image", "c0", "r0", "p0", "c1", "r1", "p1", "f", "logits"]),
        (models.two_inputs(), ["gated", "y"]),
        (models.squeeze_excite(), ["image", "c0", "h0", "e0", "c1", "silu", "g", "f", "logits"]),
    ],
    ids=["chain", "two inputs", "gates"],
)
def test_cuts_of_small_models(model: onnx.ModelProto, expected: list[str]) -> None:
    assert cuts(model) == expected


def test_cuts_of_some_inputs_and_of_what_is_not_there() -> None:
    names = [i.name for i in models.two_inputs().graph.input]
    assert cuts(models.two_inputs(), inputs=names[0])[0] == names[0]
    with pytest.raises(InputError, match='no value "nothing"; its outputs are y'):
        cuts(models.two_inputs(), output="nothing")
    with pytest.raises(InputError, match='no input "nothing"; its inputs are'):
        cuts(models.two_inputs(), inputs=["nothing"])


def random_graph(seed: int) -> ir.Graph:
    """Up to 14 nodes that each read one to three of what came before, some only its shape."""
    rng = np.random.default_rng(seed)
    values = [ir.Value(name=f"x{k}") for k in range(rng.integers(1, 4))]
    inputs, nodes = list(values), []
    for k in range(rng.integers(1, 15)):
        near = [int(i) for i in len(values) - 1 - rng.integers(0, min(4, len(values)), 3)]
        operator = "Shape" if rng.random() < 0.1 else "Op"
        read = [values[i] for i in near[: 1 if operator == "Shape" else rng.integers(1, 4)]]
        made = ir.Node("", operator, read, num_outputs=int(rng.integers(1, 3)), name=f"n{k}")
        for i, output in enumerate(made.outputs):
            output.name = f"v{k}.{i}"
        nodes.append(made)
        values += made.outputs
    return ir.Graph(inputs, [nodes[-1].outputs[0]], nodes=nodes)


def test_cuts_are_what_trying_each_value_finds() -> None:
    found = 0
    for seed in range(300):
        graph = random_graph(seed)
        target = graph.outputs[0]

        def reaches(without: ir.Value | None, graph: ir.Graph = graph) -> bool:
            """Whether numbers run from an input to the output, past one value."""

            def carries(node: ir.Node, i: int) -> bool:
                return node.inputs[i] is not without and carries_numbers(node, i)

            starts = [v for v in graph.inputs if v is not without]
            found = reachable(graph, starts, carries)
            return graph.outputs[0] in found and graph.outputs[0] is not without

        every = [*graph.inputs, *(o for n in graph for o in n.outputs)]
        expected = [v for v in every if reaches(None) and not reaches(v)]
        assert single_cuts(graph, graph.inputs, target) == expected, seed
        found += len(expected)
    assert found > 300


# Profiles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [residual(), models.cnn(), models.densenet(), models.attention(), models.no_batch()],
    ids=["residual", "cnn", "densenet", "attention", "no batch"],
)
def test_deepshap_is_complete_at_every_cut(model: onnx.ModelProto) -> None:
    x, references = split(model)
    profile = depth_profile(model, x, references)
    assert profile.cuts == tuple(cuts(model))
    assert len(profile.cuts) >= 4
    explained = onnxshap.Explainer(model, references, target="top1")(x)
    assert profile.difference == pytest.approx(
        float(explained.outputs[0] - explained.base_values[0]), rel=1e-6
    )
    size = max(abs(profile.difference), np.abs(explained.attributions).sum())
    assert np.abs(profile.gaps).max() <= 1e-5 * size
    assert profile.complete.all()
    np.testing.assert_allclose(
        profile.maps[profile.cuts[0]], explained.attributions[0], atol=1e-5 * size
    )


def test_maps_are_those_of_an_explainer_of_that_value_alone() -> None:
    model = residual()
    x, references = split(model)
    profile = depth_profile(model, x, references, target=1, values=["a", "d"])
    assert set(profile.maps) == {*profile.cuts, "a", "d"}
    for name in ("first", "a", "d", "flat"):
        alone = onnxshap.Explainer(model, references, target=1, inputs=name)(x)
        np.testing.assert_allclose(profile.maps[name], alone.attributions[0], atol=1e-6)


def test_x_gradient_is_complete_at_every_cut_of_a_certified_model() -> None:
    model = models.homogeneous()
    x, _ = split(model)
    profile = depth_profile(model, x, method="x_gradient")
    assert profile.promise == "every sum is the output"
    assert profile.base_value is None
    assert profile.difference == profile.output
    assert np.abs(profile.gaps).max() <= 1e-5 * abs(profile.output)


def test_x_gradient_divides_by_the_degree_from_each_cut_on() -> None:
    """y = W (a * b), a and b linear in x: of degree 2 from the input, of 1 from the product on."""
    held = models.weights(9, wa=(5, 4), wb=(5, 4), wc=(3, 5))
    nodes = [
        node("Gemm", ["x", "wa"], ["a"], "a", transB=1),
        node("Gemm", ["x", "wb"], ["b"], "b", transB=1),
        node("Mul", ["a", "b"], ["ab"], "product"),
        node("Gemm", ["ab", "wc"], ["y"], "last", transB=1),
    ]
    ends = {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 3])}
    model = models.graph(nodes, *ends, held)
    profile = depth_profile(model, split(model)[0], method="x_gradient")
    assert profile.cuts == ("x", "ab", "y")
    np.testing.assert_allclose(profile.sums, profile.output, rtol=1e-5)
    plain = depth_profile(model, split(model)[0], method="input_x_gradient")
    np.testing.assert_allclose(plain.sums / plain.output, [2, 1, 1], rtol=1e-5)
    assert plain.complete.tolist() == [False, True, True]
    assert plain.promise == "2 of 3 sums are the output"


def test_what_x_gradient_does_not_promise() -> None:
    model = models.cnn()
    x, _ = split(model)
    with pytest.raises(InputError, match=r'not certified from "image" on: .*bias.*conv0.*strip_b'):
        depth_profile(model, x, method="x_gradient")
    forced = depth_profile(model, x, method=XGradient(force=True))
    assert forced.complete.tolist() == [False] * 8 + [True]
    assert abs(forced.gaps[0]) > 1e-3
    assert abs(forced.gaps[-1]) < 1e-5


def test_arguments_that_do_not_fit() -> None:
    model = models.cnn()
    image = models.samples(model, 3)["image"]
    with pytest.raises(InputError, match=r"'integrated_gradients' has no.*take 'deepshap', 'x_gr"):
        depth_profile(model, image[:1], image[1:], method="integrated_gradients")
    with pytest.raises(InputError, match="one explicand and one target; this call has 2 of them"):
        depth_profile(model, image[:2], image[1:])
    with pytest.raises(InputError, match="this call has 1 x 2 of them"):
        depth_profile(model, image[:1], image[1:], target="top2")


def test_summary() -> None:
    model = models.mlp()
    x, references = split(model)
    lines = depth_profile(model, x, references).summary().splitlines()
    assert lines[0].startswith("deepshap, every sum is output minus base value: ")
    assert len(lines) == 1 + 6
    assert lines[1].startswith("  x: ")


@pytest.mark.skipif(not models.LITE0.exists(), reason=f"{models.LITE0.name} is not there")
def test_lite0(capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 3, 8, 8)).astype(np.float32).repeat(28, 2).repeat(28, 3)
    start = time.perf_counter()
    profile = depth_profile(models.LITE0, images[:1], images[1:])
    took = time.perf_counter() - start
    gap = np.abs(profile.gaps).max() / abs(profile.difference)
    with capsys.disabled():
        print(f"\n  Lite0: {len(profile.cuts)} cuts in {took:.1f} s, gap {gap:.0e} of the whole")
    assert len(profile.cuts) == 50
    assert gap <= 1e-4
