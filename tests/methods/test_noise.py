"""SmoothGrad against a loop over noisy copies, and the random control."""

from itertools import pairwise

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import Explainer, InputError, UnknownShapeError
from onnxshap.methods import ExpectedGradients, Random, SmoothGrad
from tests.helpers import models
from tests.helpers.compare import close
from tests.helpers.models import Arrays

NAMES = ["cnn", "mlp", "one_number", "two_inputs", "attention", "batch_inside", "no_batch"]


def named(model: onnx.ModelProto, arrays: np.ndarray | Arrays) -> Arrays:
    """Arrays by input, also where there is one."""
    return arrays if isinstance(arrays, dict) else {model.graph.input[0].name: arrays}


@pytest.mark.parametrize("name", NAMES)
def test_smoothgrad_is_the_mean_gradient_of_noisy_copies(name: str) -> None:
    model = models.SUPPORTED[name]()
    x, target = models.samples(model, 2), 0 if name == "one_number" else 1
    gradients = []
    for step in range(4):
        noisy = {}
        for k, (source, a) in enumerate(x.items()):
            flat = a.reshape(len(a), -1)
            extent = (flat.max(1) - flat.min(1)).reshape(-1, *[1] * (a.ndim - 1))
            draw = np.random.default_rng([3, k, step]).standard_normal(a.shape[1:])
            noisy[source] = (a + 0.2 * extent * draw).astype(a.dtype)
        found = Explainer(model, None, method="gradient", target=target)(noisy)
        gradients.append(named(model, found.attributions))
    method = SmoothGrad(samples=4, noise=0.2, seed=3)
    found = Explainer(model, None, method=method, target=target)(x)
    assert found.residual is found.base_values is found.standard_error is None
    for source, array in named(model, found.attributions).items():
        close(array, np.mean([g[source] for g in gradients], 0), 2e-5)


def test_smoothgrad_without_noise_is_the_gradient(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    plain = Explainer(cnn, None, method="gradient", target=[1, 2])(x)
    smooth = Explainer(cnn, None, method=SmoothGrad(samples=3, noise=0.0), target=[1, 2])(x)
    close(smooth.attributions, plain.attributions, 1e-6)


@pytest.mark.parametrize("memory", [1, 2**18])
def test_smoothgrad_in_chunks(memory: int, cnn: onnx.ModelProto, x: np.ndarray) -> None:
    plain = Explainer(cnn, None, method="smoothgrad", target="top2")(x)
    chunked = Explainer(cnn, None, method="smoothgrad", target="top2", max_memory=memory)
    partials = list(chunked.stream(x))
    assert len(partials) > 1
    close(partials[-1].attributions, plain.attributions, 2e-6)
    gaps = [np.linalg.norm(p.attributions - plain.attributions) for p in partials]
    assert gaps[-1] < gaps[len(gaps) // 2] < gaps[0]


def test_smoothgrad_of_an_inner_value(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    found = Explainer(cnn, None, method="smoothgrad", inputs="p0", target=1)(x)
    assert found.attributions.shape == (3, 6, 6, 6)
    plain = Explainer(cnn, None, method="gradient", inputs="p0", target=1)(x).attributions
    correlation = np.corrcoef(found.attributions.ravel(), plain.ravel())[0, 1]
    assert correlation > 0.5


def test_noise_needs_sizes() -> None:
    model = models.cnn()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    x = models.samples(models.cnn(), 1)["image"]
    assert Explainer(model, None, method="smoothgrad", output="c1", target=(0, 0, 0))(x).complete
    inner = Explainer(model, None, method="smoothgrad", inputs="p0", output="c1", target=(0, 0, 0))
    with pytest.raises(UnknownShapeError, match=r'shaped like "p0", whose sizes \[6, None, 6\]'):
        inner(x)


def test_a_sample_that_is_one_number_has_no_range() -> None:
    """Reducing over no axes reduced over all, the batch included: samples met."""
    nodes = [
        models.node("Unsqueeze", ["x", "one"], ["column"], "column"),
        models.node("MatMul", ["column", "w"], ["h"], "fc0"),
        models.node("Tanh", ["h"], ["t"], "tanh"),
        models.node("MatMul", ["t", "v"], ["y"], "fc1"),
    ]
    held = models.weights(1, w=(1, 5), v=(5, 3)) | {"one": np.array([1])}
    model = models.graph(nodes, {"x": (np.float32, ["N"])}, {"y": (np.float32, ["N", 3])}, held)
    x = np.array([0.5, 3, -2], np.float32)
    smooth = Explainer(model, None, method="smoothgrad", target=1)(x)
    plain = Explainer(model, None, method="gradient", target=1)(x)
    close(smooth.attributions, plain.attributions, 1e-6)


def test_explained_values_must_not_feed_one_another() -> None:
    model = models.batch_inside()
    inner = model.graph.node[0].output[0]
    explained = [model.graph.input[0].name, inner]
    with pytest.raises(InputError, match=r"moves every explained value by itself.*one at a time"):
        Explainer(model, None, method="smoothgrad", inputs=explained)


@pytest.mark.parametrize("wrong", [-0.1, np.inf, np.nan, "0.1", True])
def test_noise_must_be_a_number(wrong: object) -> None:
    with pytest.raises(InputError, match=r"SmoothGrad: noise=.* must be a number, 0 or above"):
        SmoothGrad(noise=wrong)  # type: ignore[arg-type]


# Random -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_random_maps_are_uniform_and_each_explicands_own(name: str) -> None:
    model = models.SUPPORTED[name]()
    x = models.samples(model, 5)
    explainer = Explainer(model, None, method="random", target=0)
    found = named(model, explainer(x).attributions)
    for source, array in found.items():
        assert array.shape == x[source].shape
        assert -0.5 <= array.min() < array.max() <= 0.5
        assert all(np.abs(a - b).max() > 1e-3 for a, b in pairwise(array))
    for i in range(5):
        alone = named(model, explainer({k: a[i : i + 1] for k, a in x.items()}).attributions)
        for source, array in alone.items():
            np.testing.assert_array_equal(array[0], found[source][i])


def test_random_is_uniform_noise_by_its_seed(cnn: onnx.ModelProto) -> None:
    x = models.samples(cnn, 100)["image"]
    found = Explainer(cnn, None, method="random")(x)
    assert found.residual is found.base_values is found.standard_error is None
    values = np.sort(found.attributions.ravel())
    expected = np.linspace(-0.5, 0.5, values.size)
    assert np.abs(values - expected).max() < 1.95 / np.sqrt(values.size)  # Kolmogorov, 0.1 %
    other = Explainer(cnn, None, method=Random(seed=1))(x)
    assert abs(np.corrcoef(found.attributions.ravel(), other.attributions.ravel())[0, 1]) < 0.02
    several = Explainer(cnn, None, method="random", target=[0, 3])(x)
    np.testing.assert_array_equal(several.attributions[:, 0], found.attributions)


@pytest.mark.parametrize(
    ("method", "inputs"),
    [
        ("smoothgrad", {"image", "seed"}),
        ("integrated_gradients", {"image", "image/reference", "seed"}),
        ("expected_gradients", {"image", "image/reference", "seed", "position"}),
        ("random", {"image", "image/noise", "seed"}),
    ],
)
def test_graphs_alone_hold_what_the_method_fixes(
    method: str, inputs: set[str], cnn: onnx.ModelProto
) -> None:
    proto = onnxshap.build(cnn, method=method).proto
    onnx.checker.check_model(proto, full_check=True)
    assert {i.name for i in proto.graph.input} == inputs


def test_the_order_of_inputs_in_a_dict_does_not_matter() -> None:
    model = models.two_inputs()
    x = models.samples(model, 2)
    explainer = Explainer(model, None, method="random")
    one, other = explainer(x).attributions, explainer(dict(reversed(x.items()))).attributions
    for source in x:
        np.testing.assert_array_equal(one[source], other[source])


@pytest.mark.parametrize("wrong", [-1, 1.5, "a", True])
def test_seeds_must_be_whole(wrong: object) -> None:
    for method in (SmoothGrad, Random, ExpectedGradients):
        with pytest.raises(InputError, match=r"seed=.* must be a whole number, 0 or above"):
            method(seed=wrong)
