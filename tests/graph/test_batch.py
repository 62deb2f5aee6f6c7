from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxshap import Explainer, UnknownShapeError
from onnxshap.graph import batch as batch_module
from onnxshap.graph.batch import Layouts, analyse, batched_inputs
from onnxshap.graph.model import load
from tests.helpers import models
from tests.helpers.models import node


def analysed(model: onnx.ModelProto) -> tuple[dict[str, ir.Value], Layouts]:
    graph = load(model).normalised.clone().graph
    layouts = analyse(graph, list(graph.inputs))
    values = [*graph.inputs, *(o for n in graph for o in n.outputs)]
    return {str(v.name): v for v in values}, layouts


def reshaped(shape: list[int], batch: str | int = "N") -> onnx.ModelProto:
    """[batch, 6, 2] through a Reshape to a constant ``shape``."""
    ends = (
        {"x": (np.float32, [batch, 6, 2])},
        {"y": (np.float32, [f"d{k}" for k in range(len(shape))])},
    )
    nodes = [
        node("Relu", ["x"], ["r"], "relu"),
        node("Reshape", ["r", "shape"], ["y"], "reshape"),
    ]
    return models.graph(nodes, *ends, {"shape": np.array(shape, np.int64)})


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (models.cnn, {"image": 0, "c0": 0, "p1": 0, "f": 0, "logits": 0}),
        (lambda: models.cnn(batch=1), {"image": 0, "f": 0, "logits": 0}),
        (models.batch_inside, {"x": 0, "turned": 1, "weighted": 1, "pooled": 0, "y": 0}),
        (models.attention, {"x": 0, "kt": 0, "scores": 0, "pooled": 0}),
        (models.side_input, {"ids": 0, "rows": 0, "mask": 0, "kept": 0, "y": 0}),
        (models.one_number, {"score": 0}),
    ],
)
def test_the_batch_axis_of_every_value(
    build: Callable[[], onnx.ModelProto], expected: dict[str, int]
) -> None:
    values, layouts = analysed(build())
    assert layouts.separable
    assert {name: layouts.batch_axis(values[name]) for name in expected} == expected
    for name, axis in expected.items():
        assert layouts[values[name]].batch == axis
        assert layouts[values[name]].dims[axis] is None


def test_weights_have_no_batch_axis() -> None:
    graph = load(models.cnn()).normalised.clone().graph
    layouts = analyse(graph, list(graph.inputs))
    weight = graph.initializers["w0"]
    assert layouts.batch_axis(weight) is None
    assert layouts[weight].dims == (6, 3, 3, 3)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (models.mixing("mean"), 'no axis of "centre" (ReduceMean "mix") moves one to one'),
        (models.no_batch(), "no input has a batch axis"),
        (reshaped([-1, 3]), 'no axis of "y"|axes [0] of "y" (Reshape "reshape") moves one to one'),
    ],
)
def test_models_that_are_not_separable_say_why(model: onnx.ModelProto, reason: str) -> None:
    values, layouts = analysed(model)
    assert not layouts.separable
    assert layouts.mixing is not None
    assert any(part in layouts.mixing for part in reason.split("|"))
    assert all(layouts[v].batch is None for v in values.values())


@pytest.mark.parametrize(
    ("op", "axis", "along"),
    [
        ("Softmax", -1, []),
        ("Softmax", 1, [1]),
        ("LogSoftmax", -3, [0]),
        ("Hardmax", 0, [0]),
        ("CumSum", 0, [0]),
        ("CumSum", -2, [1]),
        ("LayerNormalization", 2, []),
        ("LayerNormalization", 1, [1]),
        ("LayerNormalization", 0, [0, 1]),
    ],
)
@pytest.mark.parametrize("batch", [0, 1])
def test_an_axis_shows_mixing_along_the_batch(
    op: str, axis: int, along: list[int], batch: int
) -> None:
    """The batch is moved to where the operator sees it."""
    held = {"axis": np.array(axis), "one": np.ones(1, np.float32)}
    more = {"CumSum": ["axis"], "LayerNormalization": ["one"]}.get(op, [])
    settings = {} if op == "CumSum" else {"axis": axis}
    model = models.graph(
        [
            node("Transpose", ["x"], ["t"], "turn", perm=[0, 1, 2] if batch == 0 else [1, 0, 2]),
            node(op, ["t", *more], ["y"], "mix", **settings),
        ],
        {"x": (np.float32, ["N", 4, 3])},
        {"y": (np.float32, [None, None, None])},
        held,
    )
    mixing = analysed(model)[1].mixing
    expected = f'{op} "mix" runs along axis {batch} of "y", the batch' if batch in along else None
    assert mixing == expected


def test_mixing_that_no_shape_and_no_axis_shows() -> None:
    """The explainer confirms by a run; see tests/test_batches.py."""
    ends = {"start": [-1], "end": [-(2**62)], "axis": [0], "step": [-1]}
    flip = models.graph(
        [node("Slice", ["x", *ends], ["y"], "flip")],
        {"x": (np.float32, ["N", 4])},
        {"y": (np.float32, ["N", 4])},
        {name: np.array(value) for name, value in ends.items()},
    )
    assert analysed(flip)[1].separable


@pytest.mark.parametrize(
    ("shape", "dims"),
    [
        ([1, 12], (None, 12)),
        ([1, -1], (None, 12)),
        ([1, 3, 4], (None, 3, 4)),
        ([1, 2, -1], (None, 2, 6)),
    ],
)
def test_reshapes_that_bake_a_batch_of_1_in_are_freed(
    shape: list[int], dims: tuple[int | None, ...]
) -> None:
    values, layouts = analysed(reshaped(shape, batch=1))
    assert layouts.separable
    assert layouts[values["y"]].dims == dims
    assert layouts[values["y"]].batch == 0


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_constants_joined_to_a_batch_of_1_are_repeated(axis: int) -> None:
    model = models.graph(
        [node("Concat", ["row", "x", "row"], ["y"], "join", axis=axis)],
        {"x": (np.float32, [1, 3, 3])},
        {"y": (np.float32, [1, None, None])},
        {"row": np.ones((1, 3, 3), np.float32)},
    )
    values, layouts = analysed(model)
    assert layouts.separable
    assert layouts[values["y"]].dims == ((None, 9, 3) if axis == 1 else (None, 3, 9))
    assert layouts.batch_axis(values["y"]) == 0


def test_samples_joined_along_the_batch_are_left_alone() -> None:
    model = models.graph(
        [node("Concat", ["row", "x"], ["y"], "join", axis=0)],
        {"x": (np.float32, [1, 3])},
        {"y": (np.float32, [None, 3])},
        {"row": np.ones((1, 3), np.float32)},
    )
    _, layouts = analysed(model)
    assert layouts.mixing is not None
    assert 'axes [0] of "y" (Concat "join") moves one to one' in layouts.mixing


def test_what_fits_a_batch_of_1_only_is_laid_out_for_one_sample() -> None:
    model = models.graph(
        [node("Squeeze", ["x", "axis"], ["row"], "drop"), node("Relu", ["row"], ["y"], "relu")],
        {"x": (np.float32, [1, 3])},
        {"y": (np.float32, [3])},
        {"axis": np.array([0])},
    )
    values, layouts = analysed(model)
    assert layouts.mixing is not None
    assert 'Squeeze "drop" fits a batch of 1 only' in layouts.mixing
    assert layouts[values["y"]].dims == (3,)


def test_reshapes_are_freed_in_one_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each can be freed only once the one before is: [1, 12] and [1, 6, -1] in turns."""
    count, sweeps = 20, []

    def counted(*given: Any) -> Any:
        sweeps.append(given)
        return batch_module_infer(*given)

    batch_module_infer = batch_module.infer
    monkeypatch.setattr(batch_module, "infer", counted)
    nodes = [
        node("Reshape", [f"r{k}", ("row", "grid")[k % 2]], [f"r{k + 1}"], f"reshape{k}")
        for k in range(count)
    ]
    model = models.graph(
        [node("Relu", ["x"], ["r0"]), *nodes],
        {"x": (np.float32, [1, 6, 2])},
        {f"r{count}": (np.float32, [1, 6, 2])},
        {"row": np.array([1, -1]), "grid": np.array([1, 6, -1])},
    )
    values, layouts = analysed(model)
    assert layouts.separable
    assert layouts[values[f"r{count}"]].dims == (None, 6, 2)
    assert len(sweeps) == 4  # to free, two to find the axis that moves, one for contents


def test_a_batch_without_a_name_is_named() -> None:
    """As sklearn's exporters write it: a dimension with neither value nor name."""
    model = models.graph(
        [node("Add", ["a", "b"], ["y"])],
        {"a": (np.float32, ["N", 4]), "b": (np.float32, ["N", 4])},
        {"y": (np.float32, ["N", 4])},
        {},
    )
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].ClearField("dim_param")
    values, layouts = analysed(model)
    assert layouts.separable, layouts.mixing
    for name in "aby":
        assert layouts[values[name]].dims == (None, 4)
        assert layouts.batch_axis(values[name]) == 0
    assert values["a"].shape == values["b"].shape == ir.Shape([batch_module.BATCH, 4])


def test_only_what_the_target_depends_on_is_judged() -> None:
    model = models.graph(
        [node("Relu", ["x"], ["y"]), node("ReduceMean", ["x", "axes"], ["side"], keepdims=0)],
        {"x": (np.float32, ["N", 4])},
        {"y": (np.float32, ["N", 4]), "side": (np.float32, [4])},
        {"axes": np.array([0])},
    )
    graph = load(model).normalised.clone().graph
    y, side = graph.outputs
    assert not analyse(graph, list(graph.inputs)).separable
    assert not analyse(graph, list(graph.inputs), target=side).separable
    layouts = analyse(graph, list(graph.inputs), target=y)
    assert layouts.separable
    assert layouts[y].dims == (None, 4)
    assert layouts[side].batch is None
    assert not analyse(graph, list(graph.inputs), separable=False, target=y).separable


def test_inputs_whose_first_axis_counts_samples() -> None:
    def names(model: onnx.ModelProto) -> list[str | None]:
        return [v.name for v in batched_inputs(load(model).normalised.graph)]

    assert names(models.cnn(batch=1)) == ["image"]
    assert names(models.two_inputs()) == ["a", "b"]
    assert names(models.no_batch()) == []
    assert names(models.cnn(batch=4)) == []
    assert names(models.cnn(batch="unk__7")) == ["image"]


@pytest.mark.parametrize(
    ("dims", "first"),
    [
        (["N", "T", 4], True),
        (["T", "N", 4], False),
        (["time", "batch_size", 4], False),
        (["batch", "N", 4], True),
        (["H", "W", 4], True),
        ([1, "N", 3], True),  # N points
        ([6, "N", 4], False),
        ([], False),
    ],
)
def test_a_later_axis_may_have_the_batchs_name(dims: list[str | int], first: bool) -> None:
    ends = {"x": (np.float32, dims)}, {"y": (np.float32, dims)}
    graph = load(models.graph([node("Relu", ["x"], ["y"])], *ends, {})).normalised.graph
    assert bool(batched_inputs(graph)) == first


def test_analysis_leaves_the_models_own_graph_alone() -> None:
    model = load(models.cnn(batch=1))
    analysed(model.proto)
    shape = model.normalised.graph.inputs[0].shape
    assert shape is not None
    assert list(shape) == [1, 3, 12, 12]


def test_unknown_ranks_name_value_and_producer() -> None:
    mystery = models.graph(
        [node("Mystery", ["x"], ["t"], "the odd", domain="com.acme"), node("Relu", ["t"], ["y"])],
        {"x": (np.float32, ["N", 4])},
        {"y": (np.float32, ["N", 4])},
        {},
        domains=["com.acme"],
    )
    values, layouts = analysed(mystery)
    with pytest.raises(
        UnknownShapeError, match=r'of "t" \(output of Mystery "the odd"\) cannot be'
    ):
        layouts[values["t"]]


def typed(length: str | int) -> onnx.ModelProto:
    """Words and a type beside each, of the shape that size arithmetic gives, as exporters write."""
    sizes = [
        node("Shape", ["ids"], ["shape"], "shape"),
        *(node("Gather", ["shape", f"i{k}"], [f"size{k}"], f"size{k}") for k in (0, 1)),
        *(node("Unsqueeze", [f"size{k}", "axis"], [f"of{k}"], f"of{k}") for k in (0, 1)),
        node("Concat", ["of0", "of1"], ["sizes"], "sizes", axis=0),
        node("Equal", ["sizes", "minus"], ["kept"], "kept"),
        node("Where", ["kept", "ones", "sizes"], ["wide"], "wide"),
    ]
    nodes = [
        *sizes,
        node("Slice", ["zeros", "axis", "of1", "one"], ["row"], "row"),
        node("Expand", ["row", "wide"], ["types"], "types"),
        node("Gather", ["table", "ids"], ["words"], "words"),
        node("Gather", ["table", "types"], ["kinds"], "kinds"),
        node("Add", ["words", "kinds"], ["both"], "both"),
        node("ReduceMean", ["both", "one"], ["y"], "mean", keepdims=0),
    ]
    held = models.weights(0, table=(7, 4)) | {"i0": np.array(0), "i1": np.array(1)}
    held |= {"axis": np.array([0]), "one": np.array([1]), "minus": np.array([-1, -1])}
    held |= {"ones": np.array([1, 1]), "zeros": np.zeros((1, 99), np.int64)}
    ends = {"ids": (np.int64, ["N", length])}, {"y": (np.float32, ["N", 4])}
    return models.graph(nodes, *ends, held)


@pytest.mark.parametrize("length", ["T", 6])
def test_a_batch_behind_a_size_that_nobody_knows(length: str | int) -> None:
    values, layouts = analysed(typed(length))
    assert layouts.separable, layouts.mixing
    assert {layouts[values[name]].batch for name in ("types", "words", "kinds", "y")} == {0}
    ids, others = np.array([[1, 2, 3, 0, 0, 5]] * 2), np.array([[4, 4, 1, 2, 2, 2]] * 3)
    found = Explainer(typed(length), {"ids": others}, target=1, inputs="words")({"ids": ids})
    assert found.attributions.shape == (2, 6, 4)
    assert np.abs(found.residual).max() < 1e-6
