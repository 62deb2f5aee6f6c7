"""Where samples stand in a model, case by case: many at once give what each gives alone.

What can be batched is; what cannot runs one pair of explicand and reference at a time, and `check`
says why.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import Explainer
from onnxshap.methods import IntegratedGradients, Method, named
from tests.helpers import architectures, models
from tests.helpers.compare import close
from tests.helpers.models import graph, node, weights

F = np.float32
METHODS: dict[str, Method] = {
    "deepshap": named("deepshap"),
    "gradient": named("gradient"),
    "integrated_gradients": IntegratedGradients(steps=6),
}
EXPLICANDS, REFERENCES = 5, 2
TOGETHER = "samples stay separate"
PAIRS = "one pair at a time: "


@dataclass(frozen=True)
class Case:
    """A model, the shape of one sample, and what `check` says of its batch."""

    build: Callable[[], onnx.ModelProto]
    sample: tuple[int, ...]
    says: str = TOGETHER
    target: int | tuple[int, ...] = 1
    pairs: bool | None = None
    """Whether pairs run one at a time; None: as `check` says."""

    @property
    def one_by_one(self) -> bool:
        return self.says.startswith(PAIRS) if self.pairs is None else self.pairs


Shape = list[str | int]


def net(x: Shape, y: Shape, *nodes: onnx.NodeProto, **integers: list[int]) -> onnx.ModelProto:
    """``nodes`` make "q" [.., 4] of "x"; then two matrices with a Tanh between, which give "y"."""
    held = weights(1, w0=(4, 5), w1=(5, 3), kernel=(4, 3, 3, 3), state=(1, 2))
    held |= weights(2, factors=(1, 4), places=(9, 4))
    tail = [
        node("MatMul", ["q", "w0"], ["h"], "first"),
        node("Tanh", ["h"], ["t"], "tanh"),
        node("MatMul", ["t", "w1"], ["y"], "second"),
    ]
    constants = held | {k: np.array(v, np.int64) for k, v in integers.items()}
    return graph([*nodes, *tail], {"x": (F, x)}, {"y": (F, y)}, constants)


def output_time_first() -> onnx.ModelProto:
    """[N, 6, 4] -> [6, N, 3], as recurrent nets leave it."""
    turn = node("Transpose", ["x"], ["q"], "turn", perm=[1, 0, 2])
    return net(["N", 6, 4], [6, "N", 3], turn)


def time_first(*x: str | int) -> onnx.ModelProto:
    """[6, N, 4] -> [N, 3]: the mean over time. One sample is [6, 1, 4]."""
    mean = node("ReduceMean", ["x", "time"], ["q"], "mean", keepdims=0)
    return net(list(x), [x[1], 3], mean, time=[0])


def reshaped(*sizes: int) -> onnx.ModelProto:
    """[1, 2, 2] -> Reshape to ``sizes`` -> [1, 3]."""
    reshape = node("Reshape", ["x", "sizes"], ["q"], "reshape")
    return net([1, 2, 2], [1, 3], reshape, sizes=list(sizes))


def shape_from_input() -> onnx.ModelProto:
    """[1, 2, 2]: the batch of the Reshape is read from the input, and folded."""
    nodes = [
        node("Shape", ["x"], ["shape"], "shape"),
        node("Gather", ["shape", "first"], ["count"], "count"),
        node("Concat", ["count", "rest"], ["sizes"], "sizes", axis=0),
        node("Reshape", ["x", "sizes"], ["q"], "reshape"),
    ]
    return net([1, 2, 2], [1, 3], *nodes, first=[0], rest=[-1])


def dropped(by: str) -> onnx.ModelProto:
    """[1, 4], the batch dropped on the way by Squeeze or Reshape, and put back: [4] -> [1, 4]."""
    nodes = [
        node(by, ["x", "axis" if by == "Squeeze" else "size"], ["row"], "drop"),
        node("Sigmoid", ["row"], ["s"], "sigmoid"),
        node("Unsqueeze", ["s", "axis"], ["q"], "unsqueeze"),
    ]
    return net([1, 4], [1, 3], *nodes, axis=[0], size=[4])


def state_joined(axis: int) -> onnx.ModelProto:
    """[1, 2] joined with a constant [1, 2], and with zeros [1, 0], as a first state is."""
    nodes = [
        node("ConstantOfShape", ["none"], ["empty"], "empty"),
        node("Concat", ["state", "x", "empty"], ["q"], "join", axis=axis),
    ]
    return net([1, 2], [1, 3], *nodes, none=[1, 0])


def token_joined() -> onnx.ModelProto:
    """The vision transformer exported for a batch of 1: its class token is joined as it is."""
    model = architectures.vit(size=16, width=16, depth=1)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    kept = [n for n in model.graph.node if n.name not in ("shape", "count", "repeat", "class")]
    next(n for n in kept if n.name == "with_class").input[0] = "token"
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.checker.check_model(model)
    return model


def gram() -> onnx.ModelProto:
    """x [N, 4] weighed by how samples resemble one another [N, N]."""
    nodes = [
        node("Transpose", ["x"], ["xt"], "turn"),
        node("MatMul", ["x", "xt"], ["alike"], "alike"),
        node("MatMul", ["alike", "x"], ["q"], "weigh"),
    ]
    return net(["N", 4], ["N", 3], *nodes)


def moment() -> onnx.ModelProto:
    """x [N, 4] times the features' second moment over the batch [4, 4]."""
    nodes = [
        node("Transpose", ["x"], ["xt"], "turn"),
        node("MatMul", ["xt", "x"], ["moment"], "moment"),
        node("MatMul", ["x", "moment"], ["q"], "weigh"),
    ]
    return net(["N", 4], ["N", 3], *nodes)


def along(op: str, **attributes: int) -> onnx.ModelProto:
    """An operator on [N, 4] whose axes hold the batch."""
    more = {"LayerNormalization": ["factors"], "CumSum": ["axis"]}.get(op, [])
    mix = node(op, ["x", *more], ["q"], "along", **attributes)
    return net(["N", 4], ["N", 3], mix, axis=[0])


def flipped() -> onnx.ModelProto:
    """Samples in reverse order: no shape shows that, nor an axis."""
    flip = node("Slice", ["x", "start", "end", "axis", "step"], ["q"], "flip")
    return net(["N", 4], ["N", 3], flip, start=[-1], end=[-(2**62)], axis=[0], step=[-1])


def placed() -> onnx.ModelProto:
    """[N, T, 4]: words are told their places by the first T rows of a table, then averaged."""
    nodes = [
        node("Shape", ["x"], ["shape"], "shape"),
        node("Gather", ["shape", "axis"], ["length"], "length"),
        node("Slice", ["places", "first", "length", "first"], ["place"], "place"),
        node("Add", ["x", "place"], ["words"], "add"),
        node("Relu", ["words"], ["r"], "relu"),
        node("ReduceMean", ["r", "axis"], ["q"], "mean", keepdims=0),
    ]
    return net(["N", "T", 4], ["N", 3], *nodes, first=[0], axis=[1])


def counted() -> onnx.ModelProto:
    """x [N, 4] times the number of samples."""
    nodes = [
        node("Shape", ["x"], ["count"], "count", end=1),
        node("Cast", ["count"], ["number"], "cast", to=onnx.TensorProto.FLOAT),
        node("Mul", ["x", "number"], ["q"], "times"),
    ]
    return net(["N", 4], ["N", 3], *nodes)


def pooled(*x: str | int, batched: bool = True) -> onnx.ModelProto:
    """Conv-Relu-GlobalAveragePool of an image; where it has no batch axis, one is put in front."""
    nodes = [
        *([] if batched else [node("Unsqueeze", ["x", "axis"], ["image"], "unsqueeze")]),
        node("Conv", ["x" if batched else "image", "kernel"], ["c"], "conv", pads=[1] * 4),
        node("Relu", ["c"], ["r"], "relu"),
        node("GlobalAveragePool", ["r"], ["p"], "pool"),
        node("Flatten", ["p"], ["q"], "flatten"),
    ]
    return net(list(x), [x[0] if batched else 1, 3], *nodes, axis=[0])


CASES: dict[str, Case] = {
    "first": Case(models.mlp, (30,)),
    # another axis than 0
    "inside in axis 1": Case(models.batch_inside, (6, 4)),
    "output in axis 1": Case(output_time_first, (6, 4), target=(2, 1)),
    "input in axis 1": Case(
        lambda: time_first(6, "N", 4), (6, 1, 4), PAIRS + "no input has a batch axis in front"
    ),
    "input in axis 1, free time": Case(
        lambda: time_first("time", "batch", 4), (6, 1, 4), PAIRS + "no input has a batch axis"
    ),
    # a batch of 1 baked in
    "fixed 1": Case(lambda: models.cnn(batch=1), (3, 12, 12)),
    "Reshape [1, K]": Case(lambda: reshaped(1, 4), (2, 2)),
    "Reshape [1, -1]": Case(lambda: reshaped(1, -1), (2, 2)),
    "Reshape by shape arithmetic": Case(shape_from_input, (2, 2)),
    "Concat with a constant": Case(lambda: state_joined(1), (2,)),
    "Concat with a constant, axis -1": Case(lambda: state_joined(-1), (2,)),
    "Concat with a class token": Case(token_joined, (3, 16, 16)),
    "Reshape [K]": Case(
        lambda: dropped("Reshape"), (4,), PAIRS + 'no axis of "row" (Reshape "drop") moves'
    ),
    "Squeeze": Case(
        lambda: dropped("Squeeze"), (4,), PAIRS + 'Squeeze "drop" fits a batch of 1 only'
    ),
    # samples mix, as shapes show
    "two moving axes": Case(gram, (4,), PAIRS + 'axes [0, 1] of "alike" (MatMul "alike") moves'),
    "no moving axis": Case(moment, (4,), PAIRS + 'no axis of "moment" (MatMul "moment") moves'),
    "mean of the batch": Case(lambda: models.mixing("mean"), (4,), PAIRS + 'no axis of "centre"'),
    "number of samples": Case(counted, (4,), PAIRS + 'no axis of "number" (Cast "cast") moves'),
    # samples mix, as an operator's axis shows
    "Softmax": Case(
        lambda: along("Softmax", axis=0), (4,), PAIRS + 'Softmax "along" runs along axis 0 of "q"'
    ),
    "LogSoftmax": Case(lambda: along("LogSoftmax", axis=-2), (4,), PAIRS + 'LogSoftmax "along"'),
    "CumSum": Case(lambda: along("CumSum"), (4,), PAIRS + 'CumSum "along" runs along axis 0'),
    "LayerNormalization": Case(
        lambda: along("LayerNormalization", axis=0), (4,), PAIRS + 'LayerNormalization "along"'
    ),
    # samples mix, as only a run shows
    "samples reversed": Case(flipped, (4,), pairs=True),
    # axes of free size
    "free height and width": Case(lambda: pooled("N", 3, "H", "W"), (3, 7, 5)),
    "free height and width, fixed 1": Case(lambda: pooled(1, 3, "H", "W"), (3, 7, 5)),
    "free length, and places": Case(placed, (6, 4)),
    # no batch axis
    "a vector": Case(models.no_batch, (6,), PAIRS + "no input has a batch axis"),
    "an image": Case(
        lambda: pooled(3, 6, 6, batched=False), (3, 6, 6), PAIRS + "no input has a batch axis"
    ),
    "an image of free size": Case(
        lambda: pooled(3, "H", "W", batched=False), (3, 7, 5), PAIRS + "no input has a batch axis"
    ),
}


def drawn(case: Case, count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *case.sample)).astype(F)


@pytest.mark.parametrize("name", CASES)
def test_check_says_how_samples_are_batched(name: str) -> None:
    assert f"batch: {CASES[name].says}" in str(onnxshap.check(CASES[name].build()))


@pytest.mark.filterwarnings("ignore:.*raise steps=:onnxshap.CompletenessWarning")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_together_equal_one_by_one(name: str, method: str) -> None:
    case = CASES[name]
    model, x = case.build(), drawn(case, EXPLICANDS, 0)
    background = drawn(case, REFERENCES, 1) if METHODS[method].needs_background else None
    explain = Explainer(model, background, method=METHODS[method], target=case.target)
    together = explain(x)
    assert together.attributions.shape == x.shape
    expected_runs = EXPLICANDS * (1 if background is None else REFERENCES) * _steps(method)
    assert explain._engine.compiled.runs("pair") == (expected_runs if case.one_by_one else 1)
    each = [explain(x[i : i + 1]) for i in range(EXPLICANDS)]
    close(together.attributions, np.concatenate([e.attributions for e in each]))
    close(together.outputs, np.concatenate([e.outputs for e in each]))
    if background is not None:  # nor do references see one another
        pairs = [explain.with_background(background[j : j + 1])(x) for j in range(REFERENCES)]
        close(together.attributions, np.mean([p.attributions for p in pairs], 0))


def _steps(method: str) -> int:
    """Points of a pair, which run one at a time where pairs do."""
    return getattr(METHODS[method], "steps", 1)


def test_a_class_token_baked_in_changes_no_number() -> None:
    free, fixed = architectures.vit(size=16, width=16, depth=1), token_joined()
    x, references = (drawn(CASES["Concat with a class token"], n, n) for n in (3, 4))
    found, expected = (Explainer(m, references, target=2)(x) for m in (fixed, free))
    close(found.attributions, expected.attributions)
