"""An ONNX net in Keras on TensorFlow, channels last: the same weights, a layer an operator."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tests.benchmarks.steps import Step, read


def twin(path: Path) -> keras.Model:
    """Return the net of an ONNX file; it maps [N, H, W, C] or [N, features] to logits."""
    net = read(path)
    source = keras.Input(channels_last(np.empty((1, *net.shape), np.float32)).shape[1:])
    values: dict[str, Any] = {net.source: source}
    for step in net.steps:
        if step.op not in MAKERS:
            raise NotImplementedError(f"the Keras twin has no {step.op}")
        values[step.output] = MAKERS[step.op](step, *(values[v] for v in step.inputs))
    return keras.Model(source, values[net.output])


def channels_last(images: np.ndarray) -> np.ndarray:
    """Images [N, C, H, W] as [N, H, W, C]; rows of features as they are."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if images.ndim == 4 else images


def channels_first(images: np.ndarray) -> np.ndarray:
    """The way back."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if images.ndim == 4 else images


def _conv(step: Step, x: Any) -> Any:
    weight, *bias = step.weights
    weight = weight.transpose(2, 3, 1, 0)
    size = tuple(weight.shape[:2])
    own = {"strides": step.attributes.get("strides", [1, 1])[0], "use_bias": bool(bias)}
    if step.attributes.get("group", 1) > 1:  # one filter a channel
        layer, weight = layers.DepthwiseConv2D(size, **own), weight.transpose(0, 1, 3, 2)
    else:
        layer = layers.Conv2D(weight.shape[3], size, **own)
    return _filled(layer, [weight, *bias], _padded(step, x))


def _padded(step: Step, x: Any) -> Any:
    top, left, bottom, right = step.pads
    return layers.ZeroPadding2D(((top, bottom), (left, right)))(x) if any(step.pads) else x


def _gemm(step: Step, x: Any) -> Any:
    weight, bias = step.weights
    weight = weight.T if step.attributes.get("transB") else weight
    return _filled(layers.Dense(weight.shape[1]), [weight, bias], x)


def _batchnorm(step: Step, x: Any) -> Any:
    layer = layers.BatchNormalization(epsilon=step.attributes.get("epsilon", 1e-5))
    return _filled(layer, step.weights, x)


def _filled(layer: Any, weights: list[np.ndarray], x: Any) -> Any:
    found = layer(x)
    layer.set_weights(weights)
    return found


def _maxpool(step: Step, x: Any) -> Any:
    a = step.attributes
    # After a ReLU zeros around the picture do as well as minus infinity.
    return layers.MaxPooling2D(tuple(a["kernel_shape"]), tuple(a["strides"]))(_padded(step, x))


def _averagepool(step: Step, x: Any) -> Any:
    a = step.attributes
    return layers.AveragePooling2D(tuple(a["kernel_shape"]), tuple(a["strides"]))(x)


def _flatten(step: Step, x: Any) -> Any:
    if tuple(x.shape[1:3]) != (1, 1):
        x = layers.Permute((3, 1, 2))(x)  # in the order of channels first
    return layers.Flatten()(x)


def _mean(step: Step, x: Any) -> Any:
    return layers.GlobalAveragePooling2D(keepdims=True)(x)


MAKERS: dict[str, Callable[..., Any]] = {
    "Add": lambda _, *x: layers.Add()(list(x)),
    "AveragePool": _averagepool,
    "BatchNormalization": _batchnorm,
    "Clip": lambda step, x: layers.ReLU(max_value=float(step.weights[1]))(x),
    "Concat": lambda _, *x: layers.Concatenate()(list(x)) if len(x) > 1 else x[0],
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _mean,
    "MaxPool": _maxpool,
    "Mul": lambda _, *x: layers.Multiply()(list(x)),
    "ReduceMean": _mean,
    "Relu": lambda _, x: layers.ReLU()(x),
    "Reshape": _flatten,
    "Sigmoid": lambda _, x: layers.Activation("sigmoid")(x),
    "Silu": lambda _, x: layers.Multiply()([x, layers.Activation("sigmoid")(x)]),
}
