"""An ONNX net in torch: the same weights, every operator a call of its own, out of place.

Peers hook modules, so whatever is a layer is a module of its own; additions, products and
concatenations are functions. BatchNorm is folded where it is in the ONNX file.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.benchmarks.steps import Step, read

Call = Callable[..., Tensor]


class Twin(nn.Module):
    """The net of an ONNX file; ``forward`` maps [N, *x] to logits [N, classes]."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.net = read(path)
        self.calls: list[Call] = []
        for number, step in enumerate(self.net.steps):
            if step.op not in MAKERS:
                raise NotImplementedError(f"the torch twin has no {step.op}")
            call = MAKERS[step.op](step)
            if isinstance(call, nn.Module):
                self.add_module(f"{step.op.lower()}_{number}", call)
            self.calls.append(call)
            step.weights = []  # they live in the modules now
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        values = {self.net.source: x}
        for step, call in zip(self.net.steps, self.calls, strict=True):
            values[step.output] = call(*(values[v] for v in step.inputs))
            for name in step.last:
                del values[name]
        return values[self.net.output]


class Padded(nn.Module):
    """A convolution whose sides are padded unlike."""

    def __init__(self, conv: nn.Conv2d, pads: tuple[int, int, int, int]) -> None:
        super().__init__()
        top, left, bottom, right = pads
        self.conv, self.pads = conv, (left, right, top, bottom)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(nn.functional.pad(x, self.pads))  # type: ignore[no-any-return]


def _conv(step: Step) -> Call:
    weight, *bias = (torch.tensor(w) for w in step.weights)
    top, left, bottom, right = step.pads
    even = (top, left) == (bottom, right)
    groups = step.attributes.get("group", 1)
    conv = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=tuple(step.attributes.get("strides", (1, 1))),
        padding=(top, left) if even else 0,
        groups=groups,
        bias=bool(bias),
    )
    conv.weight.data = weight
    if conv.bias is not None:
        conv.bias.data = bias[0]
    return conv if even else Padded(conv, step.pads)


def _gemm(step: Step) -> Call:
    weight, bias = (torch.tensor(w) for w in step.weights)
    weight = weight if step.attributes.get("transB") else weight.T.contiguous()
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight.data, linear.bias.data = weight, bias
    return linear


def _batchnorm(step: Step) -> Call:
    scale, bias, mean, variance = (torch.tensor(w) for w in step.weights)
    norm = nn.BatchNorm2d(len(scale), eps=step.attributes.get("epsilon", 1e-5))
    norm.weight.data, norm.bias.data = scale, bias
    norm.running_mean, norm.running_var = mean, variance
    return norm


def _clip(step: Step) -> Call:
    low, high = (float(w) for w in step.weights)
    if (low, high) != (0.0, 6.0):
        raise NotImplementedError(f"the torch twin has no Clip to [{low}, {high}]")
    return nn.ReLU6()


def _maxpool(step: Step) -> Call:
    a = step.attributes
    return nn.MaxPool2d(tuple(a["kernel_shape"]), tuple(a["strides"]), step.pads[:2])


def _averagepool(step: Step) -> Call:
    return nn.AvgPool2d(tuple(step.attributes["kernel_shape"]), tuple(step.attributes["strides"]))


def _concat(step: Step) -> Call:
    return lambda *values: torch.cat(values, dim=1)


MAKERS: dict[str, Callable[[Step], Call]] = {
    "Add": lambda _: torch.add,
    "AveragePool": _averagepool,
    "BatchNormalization": _batchnorm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": lambda _: nn.Flatten(),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _: nn.AdaptiveAvgPool2d(1),
    "MaxPool": _maxpool,
    "Mul": lambda _: torch.mul,
    "ReduceMean": lambda _: nn.AdaptiveAvgPool2d(1),
    "Relu": lambda _: nn.ReLU(),
    "Reshape": lambda _: nn.Flatten(),
    "Sigmoid": lambda _: nn.Sigmoid(),
    "Silu": lambda _: nn.SiLU(),
}
