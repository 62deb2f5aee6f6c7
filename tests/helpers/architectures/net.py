"""A model in the making: nodes in order, weights by name, channels of every value.

Weights are He-scaled normal numbers. BatchNormalizations get the statistics of a forward run, so
that activations keep their size however deep the net is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper

from tests.helpers.models import Arrays, graph, node

STATISTICS = ("running_mean", "running_var")
"""Ends of the names of what a BatchNormalization remembers rather than learns."""

Ends = dict[str, tuple[Any, Sequence[str | int]]]


class Net:
    """Collects nodes; each call returns the name of the value it makes, which is the node's own."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.held: Arrays = {}
        self.channels: dict[str, int] = {}

    def __call__(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; its output has as many channels as its first input."""
        self.nodes.append(node(op, list(inputs), [name], name, **attributes))
        self.channels[name] = self.channels.get(inputs[0], 0)
        return name

    def constant(self, name: str, array: Any) -> str:
        """Hold an array; lists of integers are shapes and axes."""
        self.held[name] = np.asarray(array)
        return name

    def weight(self, name: str, *shape: int, fan_in: int | None = None) -> str:
        """Draw normal weights whose squares sum to 2 over the inputs: all axes but the first."""
        scale = np.sqrt(2 / (fan_in or np.prod(shape[1:])))
        drawn = self.rng.standard_normal(shape, np.float32)
        return self.constant(name, drawn * np.float32(scale))

    def small(self, name: str, *shape: int, around: float = 0.0) -> str:
        """Draw numbers of standard deviation 0.1, for biases and factors."""
        return self.constant(name, (around + 0.1 * self.rng.normal(size=shape)).astype(np.float32))

    # --- layers ------------------------------------------------------------------------------

    def conv(
        self,
        name: str,
        x: str,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        group: int = 1,
        bias: bool = False,
    ) -> str:
        """Convolution that keeps the size, divided by the stride."""
        shape = (channels, self.channels[x] // group, kernel, kernel)
        held = [self.weight(f"{name}.weight", *shape)]
        held += [self.small(f"{name}.bias", channels)] if bias else []
        settings = {"strides": [stride] * 2, "pads": [(kernel - 1) // 2] * 4, "group": group}
        self("Conv", name, x, *held, kernel_shape=[kernel] * 2, **settings)
        self.channels[name] = channels
        return name

    def norm(self, name: str, x: str) -> str:
        """Normalise each channel by statistics that `model` measures."""
        count = self.channels[x]
        held = [
            self.small(f"{name}.weight", count, around=1.0),
            self.small(f"{name}.bias", count),
            self.constant(f"{name}.{STATISTICS[0]}", np.zeros(count, np.float32)),
            self.constant(f"{name}.{STATISTICS[1]}", np.ones(count, np.float32)),
        ]
        return self("BatchNormalization", name, x, *held, epsilon=1e-5)

    def linear(self, name: str, x: str, features: int) -> str:
        """Gemm with a bias, weights [features, inputs]."""
        weight = self.weight(f"{name}.weight", features, self.channels[x])
        self("Gemm", name, x, weight, self.small(f"{name}.bias", features), transB=1)
        self.channels[name] = features
        return name

    def project(self, name: str, x: str, features: int) -> str:
        """MatMul and Add on the last axis, as exporters write a linear layer of sequences."""
        inputs = self.channels[x]
        weight = self.weight(f"{name}.weight", inputs, features, fan_in=2 * inputs)
        product = self("MatMul", f"{name}/MatMul", x, weight)
        self("Add", name, product, self.small(f"{name}.bias", features))
        self.channels[name] = features
        return name

    def layer_norm(self, name: str, x: str) -> str:
        """Normalise the last axis."""
        width = self.channels[x]
        scale = self.small(f"{name}.weight", width, around=1.0)
        bias = self.small(f"{name}.bias", width)
        return self("LayerNormalization", name, x, scale, bias, axis=-1)

    def concat(self, name: str, *parts: str, axis: int = 1) -> str:
        """Join values along an axis, by default the channels'."""
        self("Concat", name, *parts, axis=axis)
        if axis == 1:
            self.channels[name] = sum(self.channels[p] for p in parts)
        return name

    def silu(self, name: str, x: str) -> str:
        """Return x sigmoid(x), as exporters write it."""
        return self("Mul", name, x, self("Sigmoid", f"{name}/Sigmoid", x))

    # --- the whole ---------------------------------------------------------------------------

    def model(self, inputs: Ends, outputs: Ends, opset: int = 20) -> ModelProto:
        """Return the model, its BatchNormalizations calibrated on four random samples."""
        made = graph(self.nodes, inputs, outputs, self.held, opset)
        if any(n.op_type == "BatchNormalization" for n in self.nodes):
            self.held |= _statistics(made, self.rng)
            made = graph(self.nodes, inputs, outputs, self.held, opset)
        return made


def _statistics(model: ModelProto, rng: np.random.Generator) -> Arrays:
    """Mean and variance of every BatchNormalization's input, from one run in training mode."""
    training, measured = ModelProto(), {}
    training.CopyFrom(model)
    for n in training.graph.node:
        if n.op_type == "BatchNormalization":
            measured |= {f"{n.name}/{k}": n.input[k] for k in (3, 4)}
            n.output.extend(f"{n.name}/{k}" for k in (3, 4))
            n.attribute.append(helper.make_attribute("training_mode", 1))
            n.attribute.append(helper.make_attribute("momentum", 0.0))
    for name in measured:
        training.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]))
    feeds = {}
    for value in model.graph.input:
        sizes = [d.dim_value or 4 for d in value.type.tensor_type.shape.dim]
        feeds[value.name] = rng.normal(size=sizes).astype(np.float32)
    session = ort.InferenceSession(training.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(list(measured), feeds)
    return dict(zip(measured.values(), found, strict=True))


def parameters(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of what training would change, by name."""
    return {
        i.name: tuple(i.dims)
        for i in model.graph.initializer
        if i.data_type == TensorProto.FLOAT and not i.name.endswith(STATISTICS)
    }
