"""DeepSHAP in TensorFlow with cached references: what the ONNXExplainer paper calls OPT-TF.

The walk of `opt_torch`, as two compiled functions, channels last: a forward run that keeps what
rules read, and a backward run over the pairs of one explicand with some references.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tests.benchmarks.keras_twin import channels_first, channels_last
from tests.benchmarks.nets import Task
from tests.benchmarks.steps import Step, Steps, read

CHUNK = 10
"""References in one walk: more are no faster on a CPU, and take more memory."""
CHEAP = ("Relu", "Sigmoid", "Silu")
"""What these make is made again rather than kept."""
Values = dict[str, Any]


def prepare(task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    """Keep the references' activations; the result explains the first explicand, [K, *x]."""
    net = read(task.path)
    weights = {s.output: _weights(s) for s in net.steps}
    for step in net.steps:
        step.weights = []  # they live there now
    kept = net.kept(NONLINEAR, CHEAP)
    background = channels_last(task.background)
    x = tf.constant(channels_last(task.x))

    @tf.function(autograph=False)
    def forward(rows: Any) -> Values:
        return _forward(net, weights, rows, kept)

    @tf.function(autograph=False)
    def backward(explicand: Values, references: Values) -> Any:
        return _backward(net, weights, explicand, references, targets)

    parts = [background[k : k + CHUNK] for k in range(0, len(background), CHUNK)]
    chunks = [forward(tf.constant(part)) for part in parts]

    def call() -> np.ndarray:
        explicand = forward(x)
        total = sum(backward(explicand, chunk).numpy() for chunk in chunks)
        return channels_first(total / len(background))

    return call


def _weights(step: Step) -> list[Any]:
    """Constant inputs as TensorFlow has them."""
    first, *rest = step.weights or [np.empty(0, np.float32)]
    if step.op == "Conv":
        first = first.transpose(2, 3, 1, 0)
        if step.attributes.get("group", 1) > 1:  # one filter a channel
            first = first.transpose(0, 1, 3, 2)
    if step.op == "Gemm" and step.attributes.get("transB"):
        first = first.T
    return [tf.constant(np.ascontiguousarray(w)) for w in (first, *rest)]


def _forward(net: Steps, weights: dict[str, list[Any]], x: Any, kept: set[str]) -> Values:
    values, found = {net.source: x}, {net.source: x}
    for step in net.steps:
        out = _run(step, weights[step.output], [values[v] for v in step.inputs])
        values[step.output] = out
        if step.output in kept or step.op == "MaxPool":
            found[step.output] = out
    return found


def _run(step: Step, weights: list[Any], inputs: list[Any]) -> Any:
    """One step forward."""
    x = inputs[0]
    match step.op:
        case "Conv":
            strides, padding = _window(step)
            if _depthwise(step):
                out = tf.nn.depthwise_conv2d(tf.pad(x, padding), weights[0], strides, "VALID")
            else:
                out = tf.nn.conv2d(x, weights[0], strides, padding)
            return tf.nn.bias_add(out, weights[1]) if len(weights) > 1 else out
        case "Gemm":
            return x @ weights[0] + weights[1]
        case "BatchNormalization":
            return x * _scale(step, weights) + (weights[1] - weights[2] * _scale(step, weights))
        case "Relu":
            return tf.nn.relu(x)
        case "Clip":
            return tf.clip_by_value(x, *weights)
        case "Sigmoid":
            return tf.sigmoid(x)
        case "Silu":
            return x * tf.sigmoid(x)
        case "MaxPool":
            padded = tf.pad(x, _around(step))  # after a ReLU zeros do as well as minus infinity
            return tf.nn.max_pool2d(padded, *_sizes(step), "VALID")
        case "AveragePool":
            return tf.nn.avg_pool2d(x, *_sizes(step), "VALID")
        case "GlobalAveragePool" | "ReduceMean":
            return tf.reduce_mean(x, (1, 2), keepdims=True)
        case "Flatten" | "Reshape":
            return tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (-1, int(np.prod(x.shape[1:]))))
        case "Concat":
            return tf.concat(inputs, -1)
        case "Add":
            return inputs[0] + inputs[1]
        case "Mul":
            return inputs[0] * inputs[1]
    raise NotImplementedError(f"OPT-TF has no {step.op}")


def _depthwise(step: Step) -> bool:
    return bool(step.attributes.get("group", 1) > 1)


def _around(step: Step) -> list[tuple[int, int]]:
    top, left, bottom, right = step.pads
    return [(0, 0), (top, bottom), (left, right), (0, 0)]


def _window(step: Step) -> tuple[list[int], list[tuple[int, int]]]:
    return [1, *step.attributes.get("strides", (1, 1)), 1], _around(step)


def _sizes(step: Step) -> tuple[list[int], list[int]]:
    return step.attributes["kernel_shape"], step.attributes["strides"]


def _scale(step: Step, weights: list[Any]) -> Any:
    return weights[0] * tf.math.rsqrt(weights[3] + step.attributes.get("epsilon", 1e-5))


class Side:
    """Values of one side: kept ones, and those made again from them."""

    def __init__(self, net: Steps, weights: dict[str, list[Any]], values: Values) -> None:
        self._net, self._weights, self._values = net, weights, dict(values)

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            step = self._net.made[name]
            inputs = [self[v] for v in step.inputs]
            self._values[name] = _run(step, self._weights[name], inputs)
        return self._values[name]


class At:
    """Where a rule is applied: a step with its weights, and both sides."""

    def __init__(self, step: Step, weights: list[Any], x: Side, r: Side) -> None:
        self.step, self.weights, self.x, self.r = step, weights, x, r

    @property
    def inputs(self) -> tuple[Any, Any]:
        """The first input on both sides."""
        return self.x[self.step.inputs[0]], self.r[self.step.inputs[0]]


def _backward(
    net: Steps, weights: dict[str, list[Any]], x: Values, r: Values, targets: list[int]
) -> Any:
    """Sum over references of multiplier x (x - r), [K, *x]."""
    shapes = _shapes(net, weights)
    explicand, references = Side(net, weights, x), Side(net, weights, r)
    rows = tf.shape(r[net.source])[0]
    classes = shapes[net.output][-1]
    seed = tf.repeat(tf.one_hot(targets, classes), rows, axis=0)
    multipliers = {net.output: seed}
    for step in reversed(net.steps):
        at = At(step, weights[step.output], explicand, references)
        sizes = [shapes[v] for v in step.inputs]
        parts = _rule(at, multipliers.pop(step.output), sizes)
        for name, part in zip(step.inputs, parts, strict=True):
            multipliers[name] = multipliers[name] + part if name in multipliers else part
    delta = explicand[net.source] - references[net.source]
    return tf.reduce_sum(_apart(multipliers[net.source], delta) * delta, 1)


def _shapes(net: Steps, weights: dict[str, list[Any]]) -> dict[str, tuple[int, ...]]:
    """Of one sample of every value."""
    last = (*net.shape[1:], net.shape[0]) if len(net.shape) == 3 else net.shape
    values = {net.source: tf.zeros((1, *last))}
    for step in net.steps:
        inputs = [values[v] for v in step.inputs]
        values[step.output] = _run(step, weights[step.output], inputs)
    return {name: tuple(value.shape[1:]) for name, value in values.items()}


def _apart(m: Any, local: Any) -> Any:
    """[K * M, ...] as [K, M, ...]."""
    return tf.reshape(m, tf.concat(([-1], tf.shape(local)[:1], tf.shape(m)[1:]), 0))


def _times(m: Any, local: Any) -> Any:
    """Multiply [K * M, ...] by a local multiplier [M, ...]."""
    return tf.reshape(_apart(m, local) * local, tf.shape(m))


def _rule(at: At, m: Any, sizes: list[tuple[int, ...]]) -> list[Any]:
    """Multipliers of a step's inputs, given that of its output."""
    step = at.step
    if step.op in NONLINEAR:
        return NONLINEAR[step.op](at, m)
    rows, size = tf.shape(m)[:1], sizes[0]
    match step.op:
        case "Conv":
            return [_conv(at, m, size)]
        case "Gemm":
            return [tf.linalg.matmul(m, at.weights[0], transpose_b=True)]
        case "BatchNormalization":
            return [m * _scale(step, at.weights)]
        case "AveragePool":
            kernel, strides = ([1, *s, 1] for s in _sizes(step))
            return [
                tf.raw_ops.AvgPoolGrad(
                    orig_input_shape=tf.concat((rows, size), 0),
                    grad=m,
                    ksize=kernel,
                    strides=strides,
                    padding="VALID",
                )
            ]
        case "GlobalAveragePool" | "ReduceMean":
            height, width, _ = size
            return [tf.tile(m / (height * width), (1, height, width, 1))]
        case "Flatten" | "Reshape":
            height, width, channels = size
            return [tf.transpose(tf.reshape(m, (-1, channels, height, width)), (0, 2, 3, 1))]
        case "Concat":
            return list(tf.split(m, [s[-1] for s in sizes], -1))
        case "Add":
            return [m] * len(step.inputs)
    raise NotImplementedError(f"OPT-TF has no rule for {step.op}")


def _conv(at: At, m: Any, size: tuple[int, ...]) -> Any:
    strides, padding = _window(at.step)
    own = {"strides": strides, "filter": at.weights[0], "out_backprop": m}
    rows = tf.shape(m)[:1]
    if not _depthwise(at.step):
        own |= {"padding": "EXPLICIT", "explicit_paddings": np.ravel(padding).tolist()}
        return tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.concat((rows, size), 0), **own)
    # Explicit pads end TensorFlow 2.21 here: a failed check while it plans memory.
    (top, bottom), (left, right) = padding[1:3]
    height, width, channels = size
    whole = (height + top + bottom, width + left + right, channels)
    back = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
        input_sizes=tf.concat((rows, whole), 0), padding="VALID", **own
    )
    return back[:, top : top + height, left : left + width]


def _relu(at: At, m: Any) -> list[Any]:
    """(relu(x) + relu(r)) / (|x| + |r|), the secant without cancellation."""
    a, b = at.inputs
    rise = tf.nn.relu(b) + tf.nn.relu(a)
    return [_times(m, tf.math.divide_no_nan(rise, tf.abs(b) + tf.abs(a)))]


def _clip(at: At, m: Any) -> list[Any]:
    """(y - y0) / (x - r): inside the bounds y is x to the bit, so that nothing cancels."""
    a, b = at.inputs
    y, y_ref = (tf.clip_by_value(v, *at.weights) for v in (a, b))
    return [_times(m, _over(y - y_ref, a - b, tf.cast(tf.equal(a, y), tf.float32)))]


def _sigmoid(at: At, m: Any) -> list[Any]:
    return [_times(m, _sigmoid_secant(*at.inputs))]


def _sigmoid_secant(a: Any, b: Any) -> Any:
    """(y (1 - y0) + y0 (1 - y)) tanh(d/2) / d, as y - y0 cancels where d is small."""
    y, y_ref, delta = tf.sigmoid(a), tf.sigmoid(b), a - b
    return (y + y_ref * (1 - 2 * y)) * _over(tf.tanh(delta / 2), delta, 0.5)


def _silu(at: At, m: Any) -> list[Any]:
    """Of the product x sigmoid(x): half of (y + y0) + (x + r) times the sigmoid's secant."""
    a, b = at.inputs
    moved = (a + b) * _sigmoid_secant(a, b)
    return [_times(m, (tf.sigmoid(a) + tf.sigmoid(b) + moved) / 2)]


def _over(rise: Any, delta: Any, slope: Any) -> Any:
    """rise / delta; ``slope`` where delta is 0: a tiny number added is moved where it is lost."""
    none = tf.equal(delta, 0.0)
    return tf.where(none, slope, rise / tf.where(none, 1.0, delta))


def _mul(at: At, m: Any) -> list[Any]:
    found = []
    for own, other in (at.step.inputs, at.step.inputs[::-1]):
        part = _times(m, (at.r[other] + at.x[other]) * 0.5)
        gate = at.r[own].shape[1:3] == (1, 1)
        found.append(tf.reduce_sum(part, (1, 2), keepdims=True) if gate else part)
    return found


def _maxpool(at: At, m: Any) -> list[Any]:
    """Each window's difference goes to where the larger of the two maxima lies."""
    a, b = (tf.pad(v, _around(at.step)) for v in at.inputs)
    y, y_ref = at.x[at.step.output], at.r[at.step.output]
    placed = 0
    for values, pooled, share in (
        (tf.repeat(a, tf.shape(b)[0], axis=0), y, tf.nn.relu(y - y_ref)),
        (b, y_ref, -tf.nn.relu(y_ref - y)),
    ):
        count = tf.shape(m)[:1] // tf.shape(b)[:1]
        many = tf.concat((count, [1, 1, 1]), 0)
        kernel, strides = ([1, *s, 1] for s in _sizes(at.step))
        placed += tf.raw_ops.MaxPoolGrad(
            orig_input=tf.tile(values, many),
            orig_output=tf.tile(tf.broadcast_to(pooled, tf.shape(share)), many),
            grad=_times(m, share),
            ksize=kernel,
            strides=strides,
            padding="VALID",
        )
    top, left, bottom, right = at.step.pads
    whole = tf.shape(placed)
    placed = placed[:, top : whole[1] - bottom, left : whole[2] - right]
    delta = at.inputs[0] - at.inputs[1]
    return [_times(placed, tf.math.divide_no_nan(1.0, delta))]


NONLINEAR: dict[str, Callable[[At, Any], list[Any]]] = {
    "Relu": _relu,
    "Clip": _clip,
    "Sigmoid": _sigmoid,
    "Silu": _silu,
    "Mul": _mul,
    "MaxPool": _maxpool,
}
