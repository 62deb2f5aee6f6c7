import re

import numpy as np
import pytest

from onnxshap import Explainer, InputError
from onnxshap.targets import Target
from tests.helpers import models

OUTPUTS = np.array([[0.1, 0.9, -3, 0.5], [2.0, 1.0, 7.0, 2.0]])


# Right ones ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "chosen", "single"),
    [
        (2, [2], True),
        (-1, [3], True),
        (np.int32(1), [1], True),
        ((2,), [2], True),
        ((-2,), [2], True),
        ([1, 3], [1, 3], False),
        ([0], [0], False),
        ([(1,), (3,)], [1, 3], False),
    ],
)
def test_indices_seed_one_element(spec: object, chosen: list[int], single: bool) -> None:
    target = Target(spec, (4,))  # type: ignore[arg-type]
    assert target.single == single
    np.testing.assert_array_equal(target.fixed, np.eye(4)[chosen])
    seeds = target.seeds(OUTPUTS)
    np.testing.assert_array_equal(seeds, np.eye(4)[chosen][:, None].repeat(2, 1))


@pytest.mark.parametrize(
    ("spec", "expected"), [("top1", [[1], [2]]), ("top3", [[1, 3, 0], [2, 0, 3]])]
)
def test_top_is_each_samples_own(spec: str, expected: list[list[int]]) -> None:
    target = Target(spec, (4,))
    np.testing.assert_array_equal(target.labels(OUTPUTS), expected)
    np.testing.assert_array_equal(target.seeds(OUTPUTS).argmax(-1), np.transpose(expected))
    assert (target.seeds(OUTPUTS).sum(-1) == 1).all()
    assert target.single == (spec == "top1")


@pytest.mark.parametrize("shape", [(4,), (4, 1), (1, 4, 1, 1)])
def test_unit_axes_do_not_count(shape: tuple[int, ...]) -> None:
    outputs = OUTPUTS.reshape(2, *shape)
    for spec, expected in ((3, [[3], [3]]), ("top2", [[1, 3], [2, 0]])):
        target = Target(spec, shape)  # type: ignore[arg-type]
        assert target.labels(outputs).reshape(2, -1).tolist() == expected
        picked = target.seeds(outputs).reshape(-1, 2, 4).argmax(-1)
        np.testing.assert_array_equal(picked, np.transpose(expected))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_single_number_has_one_class(shape: tuple[int, ...]) -> None:
    for spec in ("top1", 0, -1, (0,) * len(shape)):
        assert Target(spec, shape).seeds(np.ones((2, *shape))).shape == (1, 2, *shape)


def test_weights_are_taken_as_they_are() -> None:
    weights = np.arange(6, dtype=np.int32).reshape(2, 3)
    target = Target(weights, (2, 3))
    assert target.single
    np.testing.assert_array_equal(target.fixed[0], weights)
    np.testing.assert_array_equal(target.labels(np.zeros((5, 2, 3))), weights)
    mask = np.array([True, False])
    np.testing.assert_array_equal(Target(mask, (2,)).fixed, [[1, 0]])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float32])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_weights_of_any_dtype_are_no_class_indices(dtype: type, count: int) -> None:
    model = models.cnn()
    x = models.samples(model, count)["image"]
    weights = np.array([1, 0, 0, 1, 0])
    explained = Explainer(model, x[:2], target=weights.astype(dtype))(x)
    assert explained.targets.dtype == np.float64
    np.testing.assert_array_equal(explained.targets, weights)
    assert "target" not in explained.summary()
    expected = Explainer(model, x[:2], target=weights.astype(np.float64))(x)
    np.testing.assert_array_equal(explained.attributions, expected.attributions)


def test_integer_weights_are_joined_and_emptied_as_they_are() -> None:
    model = models.two_inputs()
    x = models.samples(model, 3)
    size = models.run(model, x)[model.graph.output[0].name].shape[1]
    weights = np.arange(size)
    explain = Explainer(model, {"a": x["a"]}, target=weights)  # held: explicands one by one
    np.testing.assert_array_equal(explain(x).targets, weights)
    none = {name: array[:0] for name, array in x.items()}
    np.testing.assert_array_equal(explain(none).targets, weights)


@pytest.mark.parametrize(
    ("spec", "shape", "row"),
    [
        (-1, (4,), [3]),
        (-1, (1, 4, 1), [3]),
        (-1, (), [0]),
        (np.int32(-4), (4,), [0]),
        ([-1, 1], (4,), [3, 1]),
        ((-2,), (4,), [2]),
        ([(-2,), (0,)], (4,), [2, 0]),
        ((-1, 0), (2, 3), [(1, 0)]),
        ([(-1, -1), (0, -3)], (2, 3), [(1, 2), (0, 0)]),
    ],
)
def test_negative_indices_are_reported_as_the_class_they_mean(
    spec: object, shape: tuple[int, ...], row: list[object]
) -> None:
    labels = Target(spec, shape).labels(np.zeros((2, *shape)))  # type: ignore[arg-type]
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, [row, row])


# Wrong ones ---------------------------------------------------------------------------------------

WRONG = [
    (4, (4,), "target 4: the output has 4 elements"),
    (-5, (4,), "target -5: the output has 4 elements"),
    ([0, 9], (4,), "target 9: the output has 4 elements"),
    ([], (4,), "target: the list of indices is empty"),
    ("top5", (4,), 'target "top5": the output has 4 elements'),
    ("top0", (4,), 'target \'top0\': a word can only be "top1", "top2", ...'),
    ("top", (4,), "target 'top': a word can only be"),
    ("top-1", (4,), "target 'top-1': a word can only be"),
    ("best", (4,), "target 'best': a word can only be"),
    ("", (4,), "target '': a word can only be"),
    ("top²", (4,), "target 'top²': a word can only be"),
    ((1, 2), (4,), "target (1, 2): not an index into an output of (4,)"),
    ((4,), (4,), "target (4,): not an index into an output of (4,)"),
    ((0, 3), (2, 3), "target (0, 3): not an index into an output of (2, 3)"),
    ((), (2, 3), "target (): not an index into an output of (2, 3)"),
    (1, (2, 3), "target 1 needs an output that is a vector; one sample's output has shape (2, 3)"),
    ("top1", (2, 3), 'target "top1" needs an output that is a vector'),
    (True, (4,), "target True: give an int, a tuple, a list of them, 'topK', or an array"),
    (1.5, (4,), "target 1.5: give an int, a tuple, a list of them"),
    (None, (4,), "target None: give an int"),
    ({0: 1}, (4,), "target {0: 1}: give an int"),
    (["top1"], (4,), "target 'top1': give an int"),
    ([[0, 1]], (4,), "target [0, 1]: give an int"),
    ((0.5,), (4,), "target (0.5,): not an index into an output of (4,)"),
    (("a",), (4,), "target ('a',): not an index into an output of (4,)"),
    ([1, (2,)], (4,), "target [1, (2,)]: the list mixes tuples with other indices; give all as"),
    ([(1,), 3], (4,), "target [(1,), 3]: the list mixes tuples with other indices"),
    (np.ones(3), (4,), "target weights have shape (3,); one sample's output has (4,)"),
    (np.ones((1, 4)), (4,), "target weights have shape (1, 4); one sample's output has (4,)"),
    (np.array([np.nan, 0, 0, 0]), (4,), "target weights must be finite"),
    (np.array(["a"]), (1,), "target array(['a'], dtype='<U1'): give an int"),
]


@pytest.mark.parametrize(
    ("spec", "shape", "text"), WRONG, ids=lambda v: re.sub(r"\W+", "_", str(v))[:30]
)
def test_wrong_targets_say_what_is_wrong(spec: object, shape: tuple[int, ...], text: str) -> None:
    with pytest.raises(InputError, match="^" + re.escape(text)):
        Target(spec, shape)  # type: ignore[arg-type]


def test_dense_outputs_say_what_to_give_instead() -> None:
    model = models.dense()
    x = models.samples(model, 2)
    for target in ("top1", "top3", 0, [0, 1]):
        text = "shape (4, 6, 6). Give a tuple index, or weights of that shape."
        with pytest.raises(InputError, match=re.escape(text)):
            Explainer(model, x, target=target)(x)  # type: ignore[arg-type]


def test_a_wrong_target_is_refused_before_references_are_run() -> None:
    model = models.cnn()
    x = models.samples(model, 2)
    explain = Explainer(model, x, target=7)
    with pytest.raises(InputError, match="target 7: the output has 5 elements"):
        explain(x)
    assert explain._engine.compiled.runs("reference") == 0
