"""X-Gradient is Integrated Gradients from zero, and DeepSHAP of the zero reference: trained nets.

The nets of tests/fixtures/xdnn: each without biases (``x_...``) and its twin with them.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from matplotlib.text import Text

import onnxshap
from onnxshap import Explainer, Explanation, InputError
from onnxshap.methods import IntegratedGradients, XGradient
from tests.helpers import models
from tests.helpers.gradcheck import evaluator
from tests.helpers.precision import doubled

FIXTURES = Path(__file__).parents[1] / "fixtures" / "xdnn"
NETS = ["digits", "mnist", "residual", "mlp"]
BATCH = 16  # over which the paper averages


def net(name: str) -> onnx.ModelProto:
    return onnx.load(FIXTURES / f"{name}.onnx")


def samples(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Test samples of a net's data set as it takes them, and their classes."""
    data, scale = {"digits": ("digits", 16), "mlp": ("mlp", 1)}.get(name, ("mnist", 255))
    with np.load(FIXTURES / "samples.npz") as archive:
        x, y = archive[f"{data}_x"], archive[f"{data}_y"]
    return x.astype(np.float32) / np.float32(scale), y.astype(np.int64)


def of_own_class(explainer: Explainer, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Attributions of every explicand's own class, float64."""
    found = np.empty(x.shape)
    for label in np.unique(y):
        found[y == label] = explainer.with_target(int(label))(x[y == label]).attributions
    return found


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean absolute relative difference (arXiv 2111.07668, table 1), averaged over batches."""
    parts = [slice(k, k + BATCH) for k in range(0, len(found), BATCH)]
    gaps = [
        np.abs(found[p] - expected[p]).mean() / (np.abs(expected[p]).mean() + 1e-7) for p in parts
    ]
    return float(np.mean(gaps))


@pytest.mark.parametrize("name", NETS)
def test_three_methods_are_one_in_float64(name: str) -> None:
    model = doubled(net(f"x_{name}"))
    x, y = (a[:4] for a in samples(name))
    source, classes = model.graph.input[0].name, model.graph.output[0].type.tensor_type.shape
    seed = np.eye(classes.dim[1].dim_value)[None, y]
    feeds = {source: x.astype(np.float64), "seed": seed}
    found = {}
    for method in ("x_gradient", "integrated_gradients", "deepshap"):
        proto = onnxshap.build(model, method=method).proto
        own = {} if method == "x_gradient" else {f"{source}/reference": 0 * feeds[source][:1]}
        found[method] = evaluator(proto)(feeds | own)[f"{source}/contributions"]
    x_gradient = found.pop("x_gradient")
    assert np.abs(x_gradient).max() > 0.1
    for method, other in found.items():
        gap = np.abs(other[:, :, 0] - x_gradient).max() / np.abs(x_gradient).max()
        print(f"\n  {name}, {method}: {gap:.1e}", end="")
        assert gap < 1e-9


@pytest.mark.parametrize("name", NETS)
def test_three_methods_are_one_in_float32(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = samples(name)
    zero, model = np.zeros_like(x[:1]), net(f"x_{name}")
    x_gradient = of_own_class(Explainer(model, None, method="x_gradient"), x, y)
    largest = np.abs(x_gradient).reshape(len(x), -1).max(1)
    assert (largest > 1e-3).all()
    for method in ("integrated_gradients", "deepshap"):
        other = of_own_class(Explainer(model, zero, method=method), x, y)
        gaps = np.abs(other - x_gradient).reshape(len(x), -1).max(1) / largest
        share, difference = np.mean(gaps <= 1e-5), relative_difference(x_gradient, other)
        with capsys.disabled():
            print(
                f"\n  {name}, {method}: {share:.1%} of {len(x)} samples, {difference:.1e}", end=""
            )
        assert share >= 0.99
        assert difference < 1e-4


@pytest.mark.parametrize("name", NETS)
def test_with_biases_input_x_gradient_is_another_method(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The paper: 79 to 98 % for regular nets, 0 to 1.2 % for X-DNNs."""
    x, y = samples(name)
    model, zero = net(name), np.zeros_like(x[:1])
    product = of_own_class(Explainer(model, None, method="input_x_gradient"), x, y)
    integral = of_own_class(Explainer(model, zero, method="integrated_gradients"), x, y)
    difference = relative_difference(product, integral)
    with capsys.disabled():
        print(f"\n  {name}: {difference:.1%}", end="")
    assert difference >= 0.1


@pytest.mark.parametrize("name", NETS)
def test_scaling_the_input_scales_the_output(name: str) -> None:
    model, x = net(f"x_{name}"), samples(name)[0]
    key = model.graph.input[0].name
    plain = models.run(model, {key: x})["logits"]
    for a in np.geomspace(0.01, 100, 21, dtype=np.float32):
        scaled = models.run(model, {key: a * x})["logits"]
        assert np.abs(scaled - a * plain).max() < 1e-5 * a * np.abs(plain).max()


# Refusals, force, other degrees -------------------------------------------------------------------


def test_a_model_that_is_not_certified_is_refused(cnn: onnx.ModelProto) -> None:
    message = r"(?s)not certified.*2 node\(s\).*Conv adds a bias.*: conv0\n.*: fc\n.*strip_bias"
    with pytest.raises(InputError, match=message):
        Explainer(cnn, None, method="x_gradient")
    with pytest.raises(InputError, match=message):
        onnxshap.build(cnn, method="x_gradient")


def test_force_says_that_nothing_is_promised(
    cnn: onnx.ModelProto, x: np.ndarray, tmp_path: Path
) -> None:
    forced = Explainer(cnn, None, method=XGradient(force=True), target=1)(x)
    plain = Explainer(cnn, None, method="input_x_gradient", target=1)(x)
    np.testing.assert_array_equal(forced.attributions, plain.attributions)
    assert forced.residual is forced.base_values is None
    assert forced.note.startswith("completeness is not promised: 2 node(s) break")
    assert forced.note in forced.summary()
    assert Explanation.load(forced.save(tmp_path / "e.npz")).note == forced.note
    assert forced.note in forced.to_html(tmp_path / "e.html").read_text()
    written = [text.get_text() for text in forced.plot().findobj(Text)]
    assert any("Mind: completeness is not promised" in text for text in written)
    assert not plain.note


def test_force_changes_nothing_where_the_model_is_certified(x: np.ndarray) -> None:
    model = models.homogeneous()
    plain, forced = (
        Explainer(model, None, method=m, target=1)(x) for m in (XGradient(), XGradient(force=True))
    )
    np.testing.assert_array_equal(forced.attributions, plain.attributions)
    assert np.abs(forced.residual).max() < 1e-5
    assert not forced.note


def test_attributions_sum_to_the_output(x: np.ndarray) -> None:
    found = Explainer(models.homogeneous(), None, method="x_gradient", target=[0, 3])(x)
    sums = found.attributions.sum((2, 3, 4), dtype=np.float64)
    np.testing.assert_allclose(sums, found.outputs, rtol=1e-5)
    np.testing.assert_array_equal(found.base_values, np.zeros((3, 2)))
    np.testing.assert_allclose(found.residual, sums - found.outputs, atol=1e-6)


def test_a_product_of_two_activations_is_of_degree_two() -> None:
    held = models.weights(1, w0=(8, 6), w1=(8, 6), w2=(3, 8))
    nodes = [
        models.node("Gemm", ["x", "w0"], ["a"], "fc0", transB=1),
        models.node("Gemm", ["x", "w1"], ["b"], "fc1", transB=1),
        models.node("Relu", ["a"], ["ra"], "relu"),
        models.node("Mul", ["ra", "b"], ["ab"], "product"),
        models.node("Gemm", ["ab", "w2"], ["y"], "fc2", transB=1),
    ]
    ends = {"x": (np.float32, ["N", 6])}, {"y": (np.float32, ["N", 3])}
    model = models.graph(nodes, *ends, held)
    x = models.samples(model, 5)["x"]
    found = Explainer(model, None, method="x_gradient", target=[0, 2])(x)
    method = IntegratedGradients(steps=8)  # exact for polynomials
    integral = Explainer(model, np.zeros_like(x[:1]), method=method, target=[0, 2])(x)
    scale = np.abs(integral.attributions).max()
    np.testing.assert_allclose(found.attributions, integral.attributions, atol=1e-5 * scale)


def test_degree_zero_is_refused() -> None:
    nodes = [models.node("LpNormalization", ["x"], ["y"], "unit", axis=1, p=2)]
    ends = {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 4])}
    with pytest.raises(InputError, match="degree 0, scaling the input does not change"):
        Explainer(models.graph(nodes, *ends, {}), None, method="x_gradient")


def test_a_held_input_leaves_the_residual() -> None:
    """The proof holds it too: what it is worth is a coefficient."""
    nodes = [
        models.node("MatMul", ["a", "w"], ["h"], "fc"),
        models.node("Relu", ["h"], ["r"], "relu"),
        models.node("Mul", ["r", "b"], ["y"], "gate"),
    ]
    ends = {"a": (np.float32, ["N", 4]), "b": (np.float32, ["N", 3])}, {"y": (np.float32, ["N", 3])}
    model = models.graph(nodes, *ends, models.weights(1, w=(4, 3)))
    x = models.samples(model, 3)
    found = Explainer(model, None, method="x_gradient", inputs="a", target=1)(x)
    assert found.residual is not None
    assert np.abs(found.residual).max() < 1e-6
    both = Explainer(model, None, method="x_gradient", target=1)(x)  # degree 2
    assert np.abs(both.residual).max() < 1e-6


def test_x_gradient_of_an_inner_value_and_another_output(x: np.ndarray) -> None:
    """A Softmax behind the logits is no matter, biases in front of the inner value neither."""
    model = models.cnn(softmax=True)
    with pytest.raises(InputError, match=r"(?s)Softmax"):
        Explainer(model, None, method="x_gradient", inputs="p1")
    with pytest.raises(InputError, match=r"(?s)1 node\(s\).*Gemm adds a bias.*: fc"):
        Explainer(model, None, method="x_gradient", inputs="p1", output="logits")
    found = Explainer(model, None, method="x_gradient", inputs="p0", output="c1", target=(2, 1, 3))(
        x
    )
    assert np.abs(found.residual).max() < 1e-5
