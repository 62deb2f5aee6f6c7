"""Every architecture: complete, by rules of its own, checked against the model itself."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest

import onnxshap
from tests.helpers import architectures, light
from tests.helpers.architectures import parameters
from tests.helpers.completeness import TOLERANCE, Gap, measure
from tests.helpers.models import Arrays, samples

Build = Callable[..., onnx.ModelProto]

LARGE: dict[str, tuple[Build, int]] = {
    # parameters as torchvision counts them
    "vgg19": (architectures.vgg19, 143_667_240),
    "resnet50": (architectures.resnet50, 25_557_032),
    "densenet201": (architectures.densenet201, 20_013_928),
    "efficientnet_b0": (architectures.efficientnet_b0, 5_288_548),
}


@cache
def large(name: str, size: int = 64) -> onnx.ModelProto:
    return LARGE[name][0](224 if name == "vgg19" else size)


QUICK = [name for name in LARGE if name != "vgg19"]
SMALL: dict[str, Build] = {
    "mlp": architectures.mlp,
    "two_inputs": architectures.two_inputs,
    "channels_last": architectures.channels_last,
    "vit": architectures.vit,
}
QUICK_LIGHT = ["shufflenet", "squeezenet"]


def photos(count: int, size: int, seed: int) -> np.ndarray:
    """Noise of three channels whose brightness differs from photo to photo."""
    rng = np.random.default_rng(seed)
    brightness = 0.7 * rng.normal(size=(count, 3, 1, 1))
    return (brightness + rng.normal(size=(count, 3, size, size))).astype(np.float32)


def require_own_rules(model: onnx.ModelProto, inputs: str | None = None) -> None:
    """Every node has a rule, none the universal one, and samples are batched."""
    report = onnxshap.check(model, inputs=inputs)
    assert report.ok
    assert report.named("fallback") == []
    assert "samples stay separate" in report.batch


def require_complete(name: str, gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n  {name}: {gap}", end=" ")
    assert gap.scaled <= TOLERANCE["float32"]
    assert gap.explanation.residual is not None


# Large classifiers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*QUICK, pytest.param("vgg19", marks=pytest.mark.full)])
def test_large_classifiers_have_torchvisions_parameters(name: str) -> None:
    shapes = parameters(large(name)).values()
    assert sum(math.prod(shape) for shape in shapes) == LARGE[name][1]


def test_parameters_go_by_torchvisions_names_and_shapes() -> None:
    found = parameters(large("resnet50"))
    assert len(found) == 161
    assert found["layer3.0.downsample.0.weight"] == (1024, 512, 1, 1)
    assert found["layer4.2.bn3.bias"] == (2048,)
    assert found["fc.weight"] == (1000, 2048)
    found = parameters(large("densenet201"))
    assert found["features.denseblock3.denselayer48.conv1.weight"] == (128, 1760, 1, 1)
    found = parameters(large("efficientnet_b0"))
    assert found["features.5.2.block.1.0.weight"] == (672, 1, 5, 5)
    assert found["features.5.2.block.2.fc1.weight"] == (28, 672, 1, 1)


def test_one_seed_gives_one_net() -> None:
    one, same, other = (architectures.mlp(seed=s) for s in (0, 0, 1))
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet50", 64),
        ("efficientnet_b0", 64),
        pytest.param("densenet201", 64, marks=pytest.mark.full),
        *(pytest.param(name, 224, marks=pytest.mark.full) for name in LARGE),
    ],
)
def test_large_classifiers_are_complete(
    name: str, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = large(name, size)
    require_own_rules(model)
    x, references = photos(1, size, 1), photos(2, size, 2)
    gap = measure(model, {"input": x}, {"input": references}, 7)
    require_complete(f"{name} at {size} px", gap, capsys)


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK_LIGHT else pytest.param(n, marks=pytest.mark.full) for n in light.NAMES],
)
def test_light_nets_are_complete(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Opset 9, a batch of 1 written into shapes, initializers as inputs, slashes in names."""
    net = light.drawn(name)
    require_own_rules(net.model)
    x, references = photos(2, 224, 1), photos(2, 224, 2)
    gap = measure(net.model, {net.image: x}, {net.image: references}, 7)
    require_complete(f"light_{name}", gap, capsys)
    assert gap.explanation.attributions.shape == x.shape


# Small ones ---------------------------------------------------------------------------------------


def drawn(model: onnx.ModelProto, count: int, seed: int) -> Arrays:
    """Samples that fit; photos differ in brightness."""
    found = samples(model, count, seed)
    rng = np.random.default_rng(seed + 100)
    return {
        name: a + 0.7 * rng.normal(size=(count, *[1] * (a.ndim - 1))).astype(np.float32)
        for name, a in found.items()
    }


@pytest.mark.parametrize("name", SMALL)
def test_small_nets_are_complete(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = SMALL[name]()
    require_own_rules(model)
    gap = measure(model, drawn(model, 3, 1), drawn(model, 4, 2), 1)
    require_complete(name, gap, capsys)


def test_an_encoder_is_complete_at_its_embeddings(capsys: pytest.CaptureFixture[str]) -> None:
    """Words of the references, under each explicand's own mask."""
    model, rng = architectures.encoder(), np.random.default_rng(0)
    require_own_rules(model, inputs="embeddings")
    x = {"ids": rng.integers(0, 50, (3, 9)), "mask": np.ones((3, 9), np.int64)}
    x["mask"][1, 6:] = x["mask"][2, 3:] = 0
    references = {"ids": rng.integers(0, 50, (4, 9))}
    gap = measure(model, x, references, 1, inputs="embeddings")
    require_complete("encoder", gap, capsys)
    words = np.abs(gap.explanation.attributions).sum(2)
    assert words.shape == (3, 9)
    seen = x["mask"] == 1
    assert (words[seen] > 0).all()
    assert words[~seen].max() <= 1e-6 * words.max()


def test_a_unet_is_complete_for_weighted_pixels(capsys: pytest.CaptureFixture[str]) -> None:
    model = architectures.unet()
    require_own_rules(model)
    weights = np.zeros((3, 32, 32), np.float32)
    weights[1, 8:20, 10:24] = 1 / (12 * 14)  # class 1, mean over a region
    gap = measure(model, drawn(model, 2, 1), drawn(model, 3, 2), weights)
    require_complete("unet", gap, capsys)
