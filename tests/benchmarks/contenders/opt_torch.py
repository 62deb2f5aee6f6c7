"""DeepSHAP in torch with cached references: what the ONNXExplainer paper calls OPT-PyTorch.

The same multipliers as onnxshap's, written by hand for torch: the explicand's forward run once,
the references' activations kept from the start, then one backward walk over all pairs and targets,
on channels-last tensors.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks.nets import Task
from tests.benchmarks.steps import Step
from tests.benchmarks.twin import Call, Padded, Twin

CHUNK = 10
"""References in one walk: more are no faster on a CPU, and take more memory."""
CHEAP = ("Relu", "Sigmoid", "Silu")
"""What these make is made again rather than kept."""
TINY = 1e-30


def prepare(task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    """Keep the references' activations; the result explains the first explicand, [K, *x]."""
    net = Twin(task.path).to(memory_format=torch.channels_last)
    x, background = _input(task.x), _input(task.background)
    kept = net.net.kept(NONLINEAR, CHEAP)
    with torch.inference_mode():
        chunks = [Side.of(net, part, kept) for part in background.split(CHUNK)]

    def call() -> np.ndarray:
        with torch.inference_mode():
            explicand = Side.of(net, x, kept)
            total = sum(_backward(net, explicand, chunk, targets) for chunk in chunks)
            return (total / len(background)).numpy()

    return call


def _input(array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


@dataclass
class Side:
    """Values of one forward run: of the explicand, or of some references."""

    again: dict[str, tuple[Step, Call]]
    values: dict[str, Tensor]
    pooled: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Values and indices of max pools."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, twin: Twin, x: Tensor, kept: set[str]) -> "Side":
        """Run forward, keeping the values named ``kept``."""
        net = twin.net
        calls = {s.output: (s, c) for s, c in zip(net.steps, twin.calls, strict=True)}
        side, values = cls(calls, {net.source: x}), {net.source: x}
        for step, call in calls.values():
            inputs = [values[v] for v in step.inputs]
            if step.op == "MaxPool":
                side.pooled[step.output] = _max_pool(call, inputs[0])
                values[step.output] = side.pooled[step.output][0]
            else:
                values[step.output] = call(*inputs)
            side.shapes |= {v: tuple(values[v].shape) for v in (*step.inputs, step.output)}
            if step.output in kept:
                side.values[step.output] = values[step.output]
            for name in step.last:
                del values[name]
        return side

    def __getitem__(self, name: str) -> Tensor:
        if name in self.values:
            return self.values[name]
        step, call = self.again[name]
        return call(*(self[v] for v in step.inputs))


def _max_pool(pool: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    window = pool.kernel_size, pool.stride, pool.padding
    return nn.functional.max_pool2d(x, *window, return_indices=True)  # type: ignore[return-value]


def _backward(twin: Twin, x: Side, r: Side, targets: list[int]) -> Tensor:
    """Sum over references of multiplier x (x - r), [K, *x]."""
    net = twin.net
    rows, classes = r.shapes[net.output]
    seed = torch.zeros(len(targets), rows, classes)
    seed[torch.arange(len(targets)), :, targets] = 1
    multipliers = {net.output: seed.flatten(0, 1)}
    for step, call in zip(reversed(net.steps), reversed(twin.calls), strict=True):
        parts = RULES[step.op](At(step, call, x, r), multipliers.pop(step.output))
        for name, part in zip(step.inputs, parts, strict=True):
            multipliers[name] = multipliers[name] + part if name in multipliers else part
    delta = x[net.source] - r[net.source]
    return (multipliers[net.source].unflatten(0, (len(targets), rows)) * delta).sum(1)


@dataclass(frozen=True)
class At:
    """Where a rule is applied: a step, its call, and both sides."""

    step: Step
    call: Any
    x: Side
    r: Side

    @property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """The first input on both sides."""
        return self.x[self.step.inputs[0]], self.r[self.step.inputs[0]]

    def shape(self, rows: int) -> tuple[int, ...]:
        """Of the first input for so many rows."""
        return (rows, *self.r.shapes[self.step.inputs[0]][1:])


def _times(m: Tensor, local: Tensor) -> Tensor:
    """Multiply [K * M, ...] by a local multiplier [M, ...], which may be overwritten."""
    targets = len(m) // len(local)
    if targets == 1:
        return local.mul_(m) if local.shape == m.shape else m * local
    return (m.unflatten(0, (targets, -1)) * local).flatten(0, 1)


# --- rules: multipliers of a step's inputs, given that of its output ------------------------------


def _relu(at: At, m: Tensor) -> list[Tensor]:
    return [_times(m, _relu_secant(*at.inputs))]


def _relu_secant(a: Tensor, b: Tensor) -> Tensor:
    """(relu(a) + relu(b)) / (|a| + |b|), the secant without cancellation."""
    size = b.abs().add_(a.abs().add_(TINY))
    return b.clamp_min(0).add_(a.clamp_min(0)).div_(size)


def _clip(at: At, m: Tensor) -> list[Tensor]:
    """(y - y0) / (x - r): inside the bounds y is x to the bit, so that nothing cancels."""
    a, b = at.inputs
    inside = (a == a.clamp(0, 6)).float().mul_(TINY)
    rise = b.clamp(0, 6).neg_().add_(a.clamp(0, 6).add_(inside))
    return [_times(m, rise.div_((a - b).add_(TINY)))]


def _sigmoid(at: At, m: Tensor) -> list[Tensor]:
    a, b = at.inputs
    return [_times(m, _sigmoid_secant(a, b, a.sigmoid(), b.sigmoid()))]


def _sigmoid_secant(a: Tensor, b: Tensor, y: Tensor, y_ref: Tensor) -> Tensor:
    """(y (1 - y0) + y0 (1 - y)) tanh(d/2) / d, as y - y0 cancels where d is small."""
    delta = (a - b).add_(TINY)
    spread = (y_ref * (1 - 2 * y)).add_(y)
    return (delta / 2).tanh_().div_(delta).mul_(spread)


def _silu(at: At, m: Tensor) -> list[Tensor]:
    """Of the product x sigmoid(x): half of (y + y0) + (x + r) times the sigmoid's secant."""
    a, b = at.inputs
    y, y_ref = a.sigmoid(), b.sigmoid()
    slope = _sigmoid_secant(a, b, y, y_ref)
    return [_times(m, slope.mul_(a + b).add_(y).add_(y_ref).mul_(0.5))]


def _mul(at: At, m: Tensor) -> list[Tensor]:
    found = []
    for own, other in (at.step.inputs, at.step.inputs[::-1]):
        part = _times(m, at.r[other].add(at.x[other]).mul_(0.5))
        single = at.r.shapes[own][2:] == (1, 1)
        found.append(part.sum((2, 3), keepdim=True) if single else part)
    return found


def _maxpool(at: At, m: Tensor) -> list[Tensor]:
    """Each window's difference goes to where the larger of the two maxima lies."""
    pool, name = at.call, at.step.output
    (y, place), (y_ref, place_ref) = at.x.pooled[name], at.r.pooled[name]
    indices = torch.where(y >= y_ref, place, place_ref)
    indices = indices.repeat(len(m) // len(indices), 1, 1, 1)
    window = pool.kernel_size, pool.stride, pool.padding, (1, 1), False
    placed = torch.ops.aten.max_pool2d_with_indices_backward(
        _times(m, y - y_ref), _like(at.shape(len(m))), *window, indices
    )
    a, b = at.inputs
    delta = a - b
    return [_times(placed, delta.reciprocal().masked_fill_(delta == 0, 0))]


def _like(shape: tuple[int, ...]) -> Tensor:
    """A tensor of which only shape and layout are read."""
    return torch.empty(shape, memory_format=torch.channels_last)


def _conv(at: At, m: Tensor) -> list[Tensor]:
    conv = at.call.conv if isinstance(at.call, Padded) else at.call
    shape, (top, left, bottom, right) = list(at.shape(len(m))), at.step.pads
    if isinstance(at.call, Padded):
        shape[2:] = shape[2] + top + bottom, shape[3] + left + right
    back, _, _ = torch.ops.aten.convolution_backward(
        m,
        _like(tuple(shape)),
        conv.weight,
        None,
        conv.stride,
        conv.padding,
        conv.dilation,
        False,
        (0, 0),
        conv.groups,
        (True, False, False),
    )
    if isinstance(at.call, Padded):
        back = back[:, :, top : shape[2] - bottom, left : shape[3] - right]
    return [back]


def _gemm(at: At, m: Tensor) -> list[Tensor]:
    return [m @ at.call.weight]


def _batchnorm(at: At, m: Tensor) -> list[Tensor]:
    norm = at.call
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return [m * scale[:, None, None]]


def _add(at: At, m: Tensor) -> list[Tensor]:
    return [m] * len(at.step.inputs)


def _concat(at: At, m: Tensor) -> list[Tensor]:
    return list(m.split([at.r.shapes[v][1] for v in at.step.inputs], dim=1))


def _flatten(at: At, m: Tensor) -> list[Tensor]:
    return [m.reshape(at.shape(len(m)))]


def _mean(at: At, m: Tensor) -> list[Tensor]:
    height, width = at.shape(1)[2:]
    return [(m / (height * width)).expand(-1, -1, height, width)]


def _averagepool(at: At, m: Tensor) -> list[Tensor]:
    pool, whole = at.call, m.contiguous(memory_format=torch.channels_last)
    window = pool.kernel_size, pool.stride, (0, 0), False, True, None
    like = _like(at.shape(len(m)))
    return [torch.ops.aten.avg_pool2d_backward(whole, like, *window)]


NONLINEAR = {
    "Relu": _relu,
    "Clip": _clip,
    "Sigmoid": _sigmoid,
    "Silu": _silu,
    "Mul": _mul,
    "MaxPool": _maxpool,
}
RULES: dict[str, Callable[[At, Tensor], list[Tensor]]] = {
    **NONLINEAR,
    "Conv": _conv,
    "Gemm": _gemm,
    "BatchNormalization": _batchnorm,
    "Add": _add,
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _flatten,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "AveragePool": _averagepool,
}
