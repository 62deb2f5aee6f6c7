"""Small nets of the kinds people bring: transformers, a U-Net, several inputs, channels last."""

import numpy as np
from onnx import ModelProto

from tests.helpers.architectures.net import Net

F = np.float32


def mlp(features: int = 30, classes: int = 3, seed: int = 0, batch: str | int = "N") -> ModelProto:
    """Gemm-BatchNormalization-Relu twice, then Gemm: [N, 30] -> [N, 3]."""
    net = Net(seed)
    net.channels["x"] = features
    x = "x"
    for k, width in enumerate((64, 32)):
        x = net.norm(f"norm{k}", net.linear(f"fc{k}", x, width))
        x = net("Relu", f"relu{k}", x)
    logits = net.linear("fc2", x, classes)
    return net.model({"x": (F, [batch, features])}, {logits: (F, [batch, classes])})


def two_inputs(size: int = 16, classes: int = 4, seed: int = 0) -> ModelProto:
    """A photo and a row of ten numbers, joined, and gated by the row."""
    net = Net(seed)
    net.channels |= {"photo": 3, "row": 10}
    x = net("Relu", "relu0", net.norm("norm0", net.conv("conv0", "photo", 8, 3, 2)))
    x = net("MaxPool", "pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    x = net("Relu", "relu1", net.norm("norm1", net.conv("conv1", x, 12, 3)))
    x = net("Flatten", "flatten", net("GlobalAveragePool", "mean", x))
    row = net("Tanh", "tanh", net.linear("row_in", "row", 8))
    joined = net.concat("join", x, row)
    gate = net("Sigmoid", "gate", net.linear("row_gate", "row", net.channels[joined]))
    logits = net.linear("fc", net("Mul", "gated", joined, gate), classes)
    inputs = {"photo": (F, ["N", 3, size, size]), "row": (F, ["N", 10])}
    return net.model(inputs, {logits: (F, ["N", classes])})


def unet(size: int = 32, classes: int = 3, seed: int = 0) -> ModelProto:
    """Down twice by MaxPool, up by Resize and by ConvTranspose, a skip at each size.

    [N, 3, 32, 32] -> [N, 3, 32, 32], a logit for each class and pixel.
    """
    net = Net(seed)
    net.channels["image"] = 3
    skips, x = [], "image"
    for k, channels in enumerate((8, 16)):
        skips.append(_double_conv(net, f"down{k}", x, channels))
        x = net("MaxPool", f"pool{k}", skips[-1], kernel_shape=[2, 2], strides=[2, 2])
    x = _double_conv(net, "bottom", x, 24)
    scales = net.constant("scales", np.array([1, 1, 2, 2], F))
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    x = net("Resize", "resize", x, "", scales, **how)
    x = _double_conv(net, "up1", net.concat("skip1", x, skips[1]), 16)
    kernel = net.weight("transpose.weight", 16, 8, 2, 2, fan_in=16)
    bias = net.small("transpose.bias", 8)
    x = net("ConvTranspose", "transpose", x, kernel, bias, kernel_shape=[2, 2], strides=[2, 2])
    net.channels[x] = 8
    x = _double_conv(net, "up0", net.concat("skip0", x, skips[0]), 8)
    pixels = net.conv("classes", x, classes, bias=True)
    inputs = {"image": (F, ["N", 3, size, size])}
    return net.model(inputs, {pixels: (F, ["N", classes, size, size])})


def _double_conv(net: Net, at: str, x: str, channels: int) -> str:
    for k in range(2):
        x = net.norm(f"{at}.norm{k}", net.conv(f"{at}.conv{k}", x, channels, 3))
        x = net("Relu", f"{at}.relu{k}", x)
    return x


def channels_last(size: int = 16, classes: int = 5, seed: int = 0) -> ModelProto:
    """[N, 16, 16, 3], turned before and back after each layer, as converters from Keras write."""
    net = Net(seed)
    net.channels["image"] = 3
    x = "image"
    for k, channels in enumerate((8, 12)):
        x = net("Transpose", f"to_nchw{k}", x, perm=[0, 3, 1, 2])
        x = net.conv(f"conv{k}", x, channels, 3)
        x = net("MaxPool", f"pool{k}", x, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
        x = net("Transpose", f"to_nhwc{k}", x, perm=[0, 2, 3, 1])
        x = net("Add", f"bias{k}", x, net.small(f"bias{k}.value", channels))
        x = net("Relu", f"relu{k}", x)
    x = net("ReduceMean", "mean", x, net.constant("spatial", [1, 2]), keepdims=0)
    prob = net("Softmax", "prob", net.project("dense", x, classes), axis=-1)
    return net.model({"image": (F, ["N", size, size, 3])}, {prob: (F, ["N", classes])})


# Transformers -------------------------------------------------------------------------------------


def vit(
    size: int = 32, classes: int = 6, width: int = 32, depth: int = 2, seed: int = 0
) -> ModelProto:
    """Patches of 8 x 8, a class token, pre-norm blocks: [N, 3, 32, 32] -> [N, 6]."""
    net, patch = Net(seed), 8
    net.channels["image"] = 3
    weight = net.weight("patch.weight", width, 3, patch, patch)
    bias, steps = net.small("patch.bias", width), [patch, patch]
    x = net("Conv", "patch", "image", weight, bias, kernel_shape=steps, strides=steps)
    x = net("Reshape", "rows", x, net.constant("rows.shape", [0, width, -1]))
    x = net("Transpose", "tokens", x, perm=[0, 2, 1])
    net.channels[x] = width
    first = net.constant("first", [0])
    count = net("Gather", "count", net("Shape", "shape", "image"), first, axis=0)
    repeat = net("Concat", "repeat", count, net.constant("token.shape", [1, width]), axis=0)
    token = net("Expand", "class", net.weight("token", 1, 1, width, fan_in=2), repeat)
    x = net("Concat", "with_class", token, x, axis=1)
    net.channels[x] = width
    tokens = 1 + (size // patch) ** 2
    x = net("Add", "placed", x, net.weight("position", 1, tokens, width, fan_in=8))
    for k in range(depth):
        y = net.layer_norm(f"{k}.norm0", x)
        x = net("Add", f"{k}.add0", x, attention(net, f"{k}.attention", y))
        y = net.layer_norm(f"{k}.norm1", x)
        x = net("Add", f"{k}.add1", x, _feed_forward(net, f"{k}.mlp", y))
    x = net.layer_norm("norm", x)
    x = net("Gather", "head_in", x, net.constant("zero", np.array(0)), axis=1)
    logits = net.linear("head", x, classes)
    inputs = {"image": (F, ["N", 3, size, size])}
    return net.model(inputs, {logits: (F, ["N", classes])})


def encoder(classes: int = 4, width: int = 24, depth: int = 2, seed: int = 0) -> ModelProto:
    """Post-norm blocks on words looked up by ``ids``, some of them masked; any length up to 32.

    ids, mask int64 [N, T] -> [N, 4]. What is explained is ``embeddings`` [N, T, 24].
    """
    net = Net(seed)
    table = net.weight("words", 50, width, fan_in=8)
    x = net("Gather", "embeddings", table, "ids", axis=0)
    net.channels[x] = width
    length = net("Shape", "length", "ids", start=1, end=2)
    places = net.weight("places", 1, 32, width, fan_in=8)
    one = net.constant("one", [1])
    placed = net("Slice", "place", places, net.constant("first", [0]), length, one)
    x = net.layer_norm("norm", net("Add", "placed", x, placed))
    seen = net("Cast", "seen", net("Unsqueeze", "spread", "mask", net.constant("12", [1, 2])), to=1)
    hidden = net("Sub", "hidden", net.constant("unit", np.array(1, F)), seen)
    mask = net("Mul", "large", hidden, net.constant("minus", np.array(-1e4, F)))
    for k in range(depth):
        y = net("Add", f"{k}.add0", x, attention(net, f"{k}.attention", x, mask))
        x = net.layer_norm(f"{k}.norm0", y)
        y = net("Add", f"{k}.add1", x, _feed_forward(net, f"{k}.mlp", x))
        x = net.layer_norm(f"{k}.norm1", y)
    x = net("Gather", "pool", x, net.constant("zero", np.array(0)), axis=1)
    x = net("Tanh", "tanh", net.linear("pooler", x, width))
    logits = net.linear("classifier", x, classes)
    inputs = {"ids": (np.int64, ["N", "T"]), "mask": (np.int64, ["N", "T"])}
    return net.model(inputs, {logits: (F, ["N", classes])})


def attention(
    net: Net, at: str, x: str, mask: str | None = None, heads: int = 4, divided: bool = False
) -> str:
    """Multi-head attention of [N, T, width], as exporters unroll it.

    ``divided``: scale the scores by a Div, as BERT does, instead of the query by a Mul.
    """
    width = net.channels[x]
    split = net.constant(f"{at}.split", [0, 0, heads, width // heads])
    turns = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
    sides = {}
    for side, perm in turns.items():
        wide = net.project(f"{at}.{side}", x, width)
        apart = net("Reshape", f"{at}.{side}/heads", wide, split)
        sides[side] = net("Transpose", f"{at}.{side}/turned", apart, perm=perm)
    if divided:
        root = net.constant(f"{at}.root", np.array((width // heads) ** 0.5, F))
        scores = net("MatMul", f"{at}.scores", sides["q"], sides["k"])
        scores = net("Div", f"{at}.scaled", scores, root)
    else:
        scale = net.constant(f"{at}.scale", np.array((width // heads) ** -0.5, F))
        query = net("Mul", f"{at}.scaled", sides["q"], scale)
        scores = net("MatMul", f"{at}.scores", query, sides["k"])
    if mask is not None:
        scores = net("Add", f"{at}.masked", scores, mask)
    shares = net("Softmax", f"{at}.softmax", scores, axis=-1)
    mixed = net("MatMul", f"{at}.mixed", shares, sides["v"])
    mixed = net("Transpose", f"{at}.together", mixed, perm=[0, 2, 1, 3])
    mixed = net("Reshape", f"{at}.joined", mixed, net.constant(f"{at}.join", [0, 0, width]))
    net.channels[mixed] = width
    return net.project(f"{at}.out", mixed, width)


def _feed_forward(net: Net, at: str, x: str) -> str:
    width = net.channels[x]
    wide = net("Gelu", f"{at}.gelu", net.project(f"{at}.up", x, 2 * width))
    return net.project(f"{at}.down", wide, width)
