"""What can be explained of a model: its outputs, the logits behind them, and the classes ranked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxshap.plot.panels import plain

Labels = Sequence[str] | Mapping[int, str] | None

_SHAPING = {"Identity", "Cast", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze"}
_SQUASHING = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}


@dataclass(frozen=True)
class Output:
    """A value that can be explained."""

    name: str
    title: str
    """What a list of outputs calls it."""
    probability: str = ""
    """What makes its values probabilities: "softmax", "sigmoid", "exp", "as they are"; "" if
    nothing does."""


@dataclass(frozen=True)
class Summed:
    """Target: the sum of one class over all places of a dense output."""

    index: int
    axis: int
    """Axis of the classes in one sample's output."""

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        """Ones where the class is, float64 of one sample's output ``shape``."""
        weights = np.zeros(shape)
        np.moveaxis(weights, self.axis, 0)[self.index] = 1
        return weights


@dataclass(frozen=True)
class Ranked:
    """One thing that can be the target, and what the model says of it."""

    target: int | tuple[int, ...] | Summed
    """What `Question.target` takes."""
    index: int
    """The class."""
    label: str
    score: float
    """Value of the target, in units of the output."""
    probability: float | None = None
    detail: str = ""


# --- outputs -------------------------------------------------------------------------------------


def candidates(graph: ir.Graph, labels: Labels) -> list[Output]:
    """Logits, then the float outputs, then scores a class is chosen from; each once."""
    logits, floats, scores = [], [], []
    for value in graph.outputs:
        name = str(value.name)
        node = _before_shaping(value).producer()
        operator = node.op_type if node is not None and node.domain == "" else ""
        source = node.inputs[0] if node is not None and node.inputs else None
        own = Output(name, name, _assumed(value, labels))
        if source is not None and operator in _SQUASHING:
            how = "sigmoid" if operator == "Sigmoid" else "softmax"
            logits.append(Output(str(source.name), f"logits of {name}", how))
            probability = "exp" if operator == "LogSoftmax" else "as they are"
            own = Output(name, f"{name} ({_SQUASHING[operator]})", probability)
        elif source is not None and operator in ("ArgMax", "TopK"):
            how = _assumed(source, labels)
            scores.append(Output(str(source.name), f"scores of {name}", how))
        if value.dtype is not None and value.dtype.is_floating_point():
            floats.append(own)
    inputs = {v.name for v in graph.inputs}
    found: dict[str, Output] = {}
    for output in (*logits, *floats, *scores):
        if output.name not in inputs:
            found.setdefault(output.name, output)
    return list(found.values())


def _assumed(value: ir.Value, labels: Labels) -> str:
    """Scores that are named logits, or have class labels, are taken for a softmax's logits."""
    named = "logit" in str(value.name).lower()
    return "softmax" if named or (labels is not None and len(labels) > 1) else ""


def _before_shaping(value: ir.Value) -> ir.Value:
    """Walk back over nodes that only name, cast or reshape."""
    node = value.producer()
    while node is not None and node.domain == "" and node.op_type in _SHAPING:
        source = node.inputs[0]
        if source is None:
            break
        value, node = source, source.producer()
    return value


# --- classes -------------------------------------------------------------------------------------


def label_of(labels: Labels, index: int, classes: int | None = None) -> str:
    """Name of a class; "class 17" where the labels have none.

    One number with two labels stands for the second of them, as from a Sigmoid.
    """
    if classes == 1 and labels is not None and len(labels) == 2:
        index = 1
    found: object = None
    if isinstance(labels, Mapping):
        found = labels.get(index)
    elif labels is not None and 0 <= index < len(labels):
        found = labels[index]
    return plain(found) if found is not None and plain(found) else f"class {index}"


def is_vector(shape: tuple[int, ...]) -> bool:
    """Whether one sample's output has at most one axis longer than 1: classes have indices."""
    return sum(size != 1 for size in shape) <= 1


def ranked(value: np.ndarray, output: Output, labels: Labels) -> list[Ranked]:
    """Rank what can be the target of one sample's output, best first.

    For a vector the classes. For a dense output the sum of each class over all places, by the
    number of places where it is the largest; then the largest element.
    """
    if is_vector(value.shape):
        return _ranked_vector(value.ravel(), output.probability, labels)
    return _ranked_dense(value, labels)


def _ranked_vector(scores: np.ndarray, how: str, labels: Labels) -> list[Ranked]:
    probabilities = _probabilities(scores, how)
    return [
        Ranked(
            int(i),
            int(i),
            label_of(labels, int(i), len(scores)),
            float(scores[i]),
            None if probabilities is None else float(probabilities[i]),
        )
        for i in np.argsort(-scores, kind="stable")
    ]


def _ranked_dense(value: np.ndarray, labels: Labels) -> list[Ranked]:
    axis = class_axis(value.shape, labels)
    classes = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)
    places = np.bincount(classes.argmax(axis=0), minlength=len(classes))
    sums = classes.sum(axis=1)
    found = [
        Ranked(
            Summed(int(i), axis),
            int(i),
            f"{label_of(labels, int(i), len(classes))}, sum over all places",
            float(sums[i]),
            detail=f"largest at {places[i]} of {classes.shape[1]} places",
        )
        for i in np.lexsort((-sums, -places))
    ]
    where = tuple(int(k) for k in np.unravel_index(int(value.argmax()), value.shape))
    index = where[axis]
    name = f"{label_of(labels, index, len(classes))}, largest element"
    place = f"at ({', '.join(map(str, where))})"
    return [*found, Ranked(where, index, name, float(value.max()), detail=place)]


def class_axis(shape: tuple[int, ...], labels: Labels) -> int:
    """Axis of the classes: as long as the labels; else last in [T, C], the shorter outer one."""
    last = len(shape) - 1
    if labels is not None:
        fitting = [a for a in (0, last) if shape[a] == len(labels)]
        if len(fitting) == 1:
            return fitting[0]
    if len(shape) == 2:
        return last
    return 0 if shape[0] <= shape[-1] else last


def _probabilities(scores: np.ndarray, how: str) -> np.ndarray | None:
    if how == "softmax" and len(scores) > 1:
        grown = np.exp(scores - scores.max())
        return np.asarray(grown / grown.sum())
    if how == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-np.clip(scores, -700, 700))))
    if how == "exp":
        return np.asarray(np.exp(np.minimum(scores, 0)))
    return scores if how == "as they are" else None
