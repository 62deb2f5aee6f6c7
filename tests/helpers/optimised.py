"""Models as onnxruntime saves them when it has optimised them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto

from tests.helpers.architectures.net import Net
from tests.helpers.architectures.small import attention

F = np.float32
EXTENDED = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


def by_session(model: ModelProto, folder: Path, level: Any = EXTENDED) -> ModelProto:
    """Save what a session at this level runs."""
    options, path = ort.SessionOptions(), folder / "by_session.onnx"
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def by_transformers(
    model: ModelProto, folder: Path, kind: str, heads: int, width: int, **options: bool
) -> ModelProto:
    """Save what onnxruntime.transformers makes of it, without a session's help."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    chosen, path = FusionOptions(kind), folder / "by_transformers.onnx"
    for name, value in options.items():
        setattr(chosen, name, value)
    onnx.save(model, path)
    sizes = {"num_heads": heads, "hidden_size": width, "opt_level": 0}
    found = optimizer.optimize_model(str(path), kind, optimization_options=chosen, **sizes)
    found.save_model_to_file(str(path))
    return onnx.load(path)


def fused(model: ModelProto) -> set[str]:
    """Names of the vendor's operators in it."""
    return {n.op_type for n in model.graph.node if n.domain == "com.microsoft"}


def residual_net(size: int = 12, classes: int = 4, seed: int = 0) -> ModelProto:
    """A stem, two residual blocks, one of them half the size: [N, 3, 12, 12] -> [N, 4]."""
    net = Net(seed)
    net.channels["image"] = 3
    x = net("Relu", "stem.relu", net.norm("stem.norm", net.conv("stem", "image", 8, 3)))
    x = net("MaxPool", "pool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for k, (channels, stride) in enumerate(((8, 1), (12, 2))):
        y = net(
            "Relu", f"{k}.relu0", net.norm(f"{k}.norm0", net.conv(f"{k}.conv0", x, channels, 3))
        )
        y = net.norm(f"{k}.norm1", net.conv(f"{k}.conv1", y, channels, 3, stride))
        if stride > 1:
            x = net.norm(f"{k}.norm2", net.conv(f"{k}.conv2", x, channels, 1, stride))
        x = net("Relu", f"{k}.relu1", net("Add", f"{k}.add", y, x))
    x = net("Flatten", "flatten", net("GlobalAveragePool", "mean", x))
    hidden = net("Tanh", "tanh", net.linear("hidden", x, 10))
    logits = net.linear("fc", hidden, classes)
    inputs = {"image": (F, ["N", 3, size, size])}
    return net.model(inputs, {logits: (F, ["N", classes])})


def bert(
    tokens: int = 6, classes: int = 4, width: int = 24, depth: int = 2, seed: int = 0
) -> ModelProto:
    """Blocks as PyTorch exports them from BERT, with Erf in the GELU: what optimisers look for.

    ids, segments, mask int64 [N, 6] -> [N, 4]. What is explained is ``words`` [N, 6, 24].
    """
    net = Net(seed)
    x = net("Gather", "words", net.weight("words.table", 50, width, fan_in=8), "ids", axis=0)
    kinds = net.weight("kinds.table", 2, width, fan_in=8)
    x = net("Add", "sum0", x, net("Gather", "kinds", kinds, "segments", axis=0))
    rows = net.constant("rows", np.arange(tokens)[None])
    places = net("Gather", "places", net.weight("places.table", 32, width, fan_in=8), rows, axis=0)
    x = net("Add", "sum1", x, places)
    net.channels[x] = width
    x = net.layer_norm("norm", x)
    seen = net("Unsqueeze", "spread0", "mask", net.constant("1", [1]))
    seen = net("Unsqueeze", "spread1", seen, net.constant("2", [2]))
    unit = net.constant("unit", np.array(1, F))
    hidden = net("Sub", "hidden", unit, net("Cast", "seen", seen, to=1))
    mask = net("Mul", "large", hidden, net.constant("minus", np.array(-1e4, F)))
    for k in range(depth):
        y = net("Add", f"{k}.add0", attention(net, f"{k}.attention", x, mask, divided=True), x)
        x = net.layer_norm(f"{k}.norm0", y)
        wide = net.project(f"{k}.up", x, 2 * width)
        root = net.constant("root", np.array(2**0.5, F))
        erf = net("Erf", f"{k}.erf", net("Div", f"{k}.scaled", wide, root))
        gate = net("Mul", f"{k}.gate", wide, net("Add", f"{k}.above", erf, unit))
        gelu = net("Mul", f"{k}.gelu", gate, net.constant("half", np.array(0.5, F)))
        net.channels[gelu] = 2 * width
        y = net("Add", f"{k}.add1", net.project(f"{k}.down", gelu, width), x)
        x = net.layer_norm(f"{k}.norm1", y)
    first = net("Gather", "first", x, net.constant("zero", np.array(0)), axis=1)
    pooled = net("Tanh", "tanh", net.linear("pooler", first, width))
    logits = net.linear("classifier", pooled, classes)
    inputs = {name: (np.int64, ["N", tokens]) for name in ("ids", "segments", "mask")}
    return net.model(inputs, {logits: (F, ["N", classes])}, opset=17)
