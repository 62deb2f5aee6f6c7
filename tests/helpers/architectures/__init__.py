"""Architectures on ONNX itself, without a framework, with random weights.

`classifiers` has four large ones exactly as torchvision builds them, `small` one of each kind that
people bring.
"""

from tests.helpers.architectures.classifiers import densenet201, efficientnet_b0, resnet50, vgg19
from tests.helpers.architectures.net import parameters
from tests.helpers.architectures.small import (
    channels_last,
    encoder,
    mlp,
    two_inputs,
    unet,
    vit,
)

__all__ = [
    "channels_last",
    "densenet201",
    "efficientnet_b0",
    "encoder",
    "mlp",
    "parameters",
    "resnet50",
    "two_inputs",
    "unet",
    "vgg19",
    "vit",
]
