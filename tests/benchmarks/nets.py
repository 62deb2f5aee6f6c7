"""The nets of the benchmark: their ONNX files, explicands and references. Loads no torch.

The four large nets are torchvision's architectures with seeded random weights, exported once
into a cache folder by `stock`; Lite0 is the bundled classifier. Pictures are crops of the bundled
photos.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from PIL import Image

from onnxshap.demo import assets, centre, load_photo

CACHE = Path(os.environ.get("ONNXSHAP_BENCH_CACHE", "out/bench/models"))
LITE0 = "efficientnet-lite0"
MLP = "mlp"
FEATURES = 30
CHAIN = 16
"""Pixels a side of what chains of nodes read."""
STOCK = {
    "vgg19": "VGG-19",
    "resnet50": "ResNet-50",
    "densenet201": "DenseNet-201",
    "efficientnet_b0": "EfficientNet-B0",
}
TITLES = {**STOCK, LITE0: "EfficientNet-Lite0", MLP: "MLP, 30 features"}


@dataclass(frozen=True)
class Task:
    """One cell of a table: what is explained, compared with what."""

    net: str
    references: int
    targets: int = 1
    """How many of the likeliest classes are explained."""
    size: int = 224
    explicands: int = 1

    @property
    def path(self) -> Path:
        """The net's ONNX file."""
        return path(self.net, self.size)

    @cached_property
    def x(self) -> np.ndarray:
        """Explicands, float32 [N, *x]."""
        if self.net == MLP:
            drawn = np.random.default_rng(1).standard_normal((self.explicands, FEATURES))
            return drawn.astype(np.float32)
        first = _normalised(self.net, [_photo(self.size)])
        return np.concatenate([first, _crops(self.net, self.explicands - 1, self.size, 1)])

    @cached_property
    def background(self) -> np.ndarray:
        """References, float32 [M, *x]; the first of more are the same as of fewer."""
        if self.net == MLP:
            drawn = np.random.default_rng(2).standard_normal((self.references, FEATURES))
            return drawn.astype(np.float32)
        return _crops(self.net, self.references, self.size, 2)


def path(net: str, size: int = 224) -> Path:
    """Return the ONNX file of ``net``; torchvision's are made where they are missing."""
    if net == LITE0:
        return assets() / "efficientnet_lite0.onnx"
    file = CACHE / f"{net}.onnx"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: python -m tests.benchmarks.stock")
    return _resized(file, size) if net in STOCK and size != 224 else file


def _resized(file: Path, size: int) -> Path:
    """The same net for pictures of another size: it ends in a mean over them."""
    found = file.with_stem(f"{file.stem}_{size}")
    if not found.is_file():
        model = onnx.load(file)
        for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
            dim.dim_value = size
        del model.graph.value_info[:]
        onnx.save(model, found)
    return found


def chain(nodes: int) -> str:
    """Write a net of so many nodes, convolutions and ReLUs in turn, and return its name."""
    name, rng = f"chain_{nodes}", np.random.default_rng(nodes)
    file = CACHE / f"{name}.onnx"
    if file.is_file():
        return name
    file.parent.mkdir(parents=True, exist_ok=True)
    made, weights, last = [], {}, "input"
    for k in range(nodes - 2):
        if k % 2:
            made.append(helper.make_node("Relu", [last], [f"v{k}"]))
        else:
            inputs = 8 if k else 3
            weights[f"w{k}"] = rng.normal(0, (2 / (9 * inputs)) ** 0.5, (8, inputs, 3, 3))
            made.append(helper.make_node("Conv", [last, f"w{k}"], [f"v{k}"], pads=[1] * 4))
        last = f"v{k}"
    made.append(helper.make_node("GlobalAveragePool", [last], ["mean"]))
    made.append(helper.make_node("Flatten", ["mean"], ["logits"]))
    ends = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape)
        for n, shape in (("input", ["N", 3, CHAIN, CHAIN]), ("logits", ["N", 8]))
    ]
    tensors = [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()]
    graph = helper.make_graph(made, name, ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), file)
    return name


def crops(count: int, size: int, seed: int) -> Iterator[Image.Image]:
    """Random squares of the bundled photos, half of them mirrored, resized to ``size`` pixels."""
    rng = np.random.default_rng(seed)
    photos = [load_photo(assets() / name) for name in ("chelsea.png", "coffee.png")]
    for k in range(count):
        photo = photos[k % len(photos)]
        side = round(min(photo.size) * rng.uniform(0.4, 1))
        left, top = (int(rng.integers(0, extent - side + 1)) for extent in photo.size)
        cut = photo.crop((left, top, left + side, top + side))
        cut = cut.resize((size, size), Image.Resampling.BICUBIC)
        mirrored = rng.random() < 0.5
        yield cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else cut


def _photo(size: int) -> Image.Image:
    square = centre(load_photo(assets() / "chelsea.png"))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def _crops(net: str, count: int, size: int, seed: int) -> np.ndarray:
    if not count:
        return np.empty((0, 3, size, size), np.float32)
    return _normalised(net, crops(count, size, seed))


def _normalised(net: str, pictures: Iterator[Image.Image] | list[Image.Image]) -> np.ndarray:
    """Pictures as the net was trained to see them, float32 [N, 3, H, W]."""
    pixels = np.stack([np.asarray(p, dtype=np.float32) for p in pictures]).transpose(0, 3, 1, 2)
    if net == LITE0:
        return np.ascontiguousarray((pixels - 127) / 128)
    mean = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
    deviation = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
    return np.ascontiguousarray((pixels / 255 - mean) / deviation)
