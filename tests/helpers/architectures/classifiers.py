"""VGG-19, ResNet-50, DenseNet-201 and EfficientNet-B0: torchvision's layers, random weights.

Weights go by the names of torchvision's ``state_dict``; dropout and stochastic depth, which do
nothing outside training, are left out.
"""

import numpy as np
from onnx import ModelProto

from tests.helpers.architectures.net import Net


def vgg19(
    size: int = 224, classes: int = 1000, seed: int = 0, batch: str | int = "N"
) -> ModelProto:
    """Sixteen 3x3 convolutions in five stages, three wide linear layers."""
    if size % 224:
        raise ValueError("the pool to 7 x 7 has equal windows only at multiples of 224")
    net, x = _begun(seed)
    place = 0
    for channels, depth in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(depth):
            x = net.conv(f"features.{place}", x, channels, 3, bias=True)
            x = net("Relu", f"features.{place + 1}", x)
            place += 2
        x = net("MaxPool", f"features.{place}", x, kernel_shape=[2, 2], strides=[2, 2])
        place += 1
    window = [size // 224] * 2
    x = net("AveragePool", "avgpool", x, kernel_shape=window, strides=window)
    x = net("Flatten", "flatten", x)
    net.channels[x] *= 49
    x = net("Relu", "classifier.1", net.linear("classifier.0", x, 4096))
    x = net("Relu", "classifier.4", net.linear("classifier.3", x, 4096))
    return _ended(net, net.linear("classifier.6", x, classes), size, classes, batch)


def resnet50(
    size: int = 224, classes: int = 1000, seed: int = 0, batch: str | int = "N"
) -> ModelProto:
    """Bottleneck blocks, 3 + 4 + 6 + 3, the stride at the 3x3 convolution."""
    net, x = _begun(seed)
    x = net("Relu", "relu", net.norm("bn1", net.conv("conv1", x, 64, 7, 2)))
    x = net("MaxPool", "maxpool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stage, (width, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(depth):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _bottleneck(net, f"layer{stage}.{block}", x, width, stride)
    return _ended(net, net.linear("fc", _pooled(net, x), classes), size, classes, batch)


def _bottleneck(net: Net, at: str, x: str, width: int, stride: int) -> str:
    y = net.norm(f"{at}.bn1", net.conv(f"{at}.conv1", x, width))
    y = net("Relu", f"{at}.relu1", y)
    y = net.norm(f"{at}.bn2", net.conv(f"{at}.conv2", y, width, 3, stride))
    y = net("Relu", f"{at}.relu2", y)
    y = net.norm(f"{at}.bn3", net.conv(f"{at}.conv3", y, 4 * width))
    if stride > 1 or net.channels[x] != 4 * width:
        x = net.conv(f"{at}.downsample.0", x, 4 * width, 1, stride)
        x = net.norm(f"{at}.downsample.1", x)
    return net("Relu", f"{at}.relu3", net("Add", f"{at}.add", y, x))


def densenet201(
    size: int = 224, classes: int = 1000, seed: int = 0, batch: str | int = "N"
) -> ModelProto:
    """Four dense blocks, 6 + 12 + 48 + 32 layers, each reading all before it in its block."""
    net, x = _begun(seed)
    x = net.norm("features.norm0", net.conv("features.conv0", x, 64, 7, 2))
    x = net("Relu", "features.relu0", x)
    x = net("MaxPool", "features.pool0", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for block, depth in enumerate((6, 12, 48, 32), 1):
        parts = [x]
        for layer in range(1, depth + 1):
            parts.append(_dense_layer(net, f"features.denseblock{block}.denselayer{layer}", parts))
        x = net.concat(f"features.denseblock{block}", *parts)
        if block < 4:
            at = f"features.transition{block}"
            x = net("Relu", f"{at}.relu", net.norm(f"{at}.norm", x))
            x = net.conv(f"{at}.conv", x, net.channels[x] // 2)
            x = net("AveragePool", f"{at}.pool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net("Relu", "relu", net.norm("features.norm5", x))
    return _ended(net, net.linear("classifier", _pooled(net, x), classes), size, classes, batch)


def _dense_layer(net: Net, at: str, parts: list[str]) -> str:
    x = net.concat(f"{at}.concat", *parts) if len(parts) > 1 else parts[0]
    x = net("Relu", f"{at}.relu1", net.norm(f"{at}.norm1", x))
    x = net.norm(f"{at}.norm2", net.conv(f"{at}.conv1", x, 128))
    return net.conv(f"{at}.conv2", net("Relu", f"{at}.relu2", x), 32, 3)


def efficientnet_b0(
    size: int = 224, classes: int = 1000, seed: int = 0, batch: str | int = "N"
) -> ModelProto:
    """Inverted bottlenecks with SiLU, depthwise convolutions and a gate on the channels."""
    net, x = _begun(seed)
    x = _conv_norm_silu(net, "features.0", x, 32, 3, 2)
    stages = (
        # expansion, kernel, stride, channels, depth
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    )
    for stage, (expansion, kernel, stride, channels, depth) in enumerate(stages, 1):
        for block in range(depth):
            at, step = f"features.{stage}.{block}", stride if block == 0 else 1
            x = _inverted(net, at, x, expansion, kernel, step, channels)
    x = _conv_norm_silu(net, "features.8", x, 1280)
    return _ended(net, net.linear("classifier.1", _pooled(net, x), classes), size, classes, batch)


def _inverted(
    net: Net, at: str, x: str, expansion: int, kernel: int, stride: int, channels: int
) -> str:
    inputs = net.channels[x]
    wide, y, part = inputs * expansion, x, 0
    if expansion > 1:
        y, part = _conv_norm_silu(net, f"{at}.block.0", y, wide), 1
    y = _conv_norm_silu(net, f"{at}.block.{part}", y, wide, kernel, stride, group=wide)
    gate = net("GlobalAveragePool", f"{at}.block.{part + 1}.avgpool", y)
    gate = net.conv(f"{at}.block.{part + 1}.fc1", gate, max(1, inputs // 4), bias=True)
    gate = net.silu(f"{at}.block.{part + 1}.activation", gate)
    gate = net.conv(f"{at}.block.{part + 1}.fc2", gate, wide, bias=True)
    gate = net("Sigmoid", f"{at}.block.{part + 1}.scale", gate)
    y = net("Mul", f"{at}.block.{part + 1}", y, gate)
    y = net.conv(f"{at}.block.{part + 2}.0", y, channels)
    y = net.norm(f"{at}.block.{part + 2}.1", y)
    return net("Add", f"{at}.add", y, x) if stride == 1 and inputs == channels else y


def _conv_norm_silu(
    net: Net, at: str, x: str, channels: int, kernel: int = 1, stride: int = 1, *, group: int = 1
) -> str:
    x = net.conv(f"{at}.0", x, channels, kernel, stride, group=group)
    return net.silu(f"{at}.2", net.norm(f"{at}.1", x))


def _begun(seed: int) -> tuple[Net, str]:
    net = Net(seed)
    net.channels["input"] = 3
    return net, "input"


def _pooled(net: Net, x: str) -> str:
    return net("Flatten", "flatten", net("GlobalAveragePool", "avgpool", x))


def _ended(net: Net, logits: str, size: int, classes: int, batch: str | int) -> ModelProto:
    inputs = {"input": (np.float32, [batch, 3, size, size])}
    return net.model(inputs, {logits: (np.float32, [batch, classes])}, opset=18)
