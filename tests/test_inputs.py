import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxshap import ExecutionError, Explainer, InputError, OnnxShapWarning
from onnxshap.inputs import release
from onnxshap.methods import DeepShap
from tests.helpers import models

STRING = onnx.TensorProto.STRING


@pytest.fixture(scope="module")
def explain(cnn: onnx.ModelProto, x: np.ndarray) -> Explainer:
    return Explainer(cnn, x[:2], target=1)


@pytest.fixture(scope="module")
def two() -> Explainer:
    model = models.two_inputs()
    return Explainer(model, models.samples(model, 2), target=0)


# Shapes -------------------------------------------------------------------------------------------

BAD_SHAPES = [
    ((3, 12, 12), "[3, 12, 12]"),
    ((1, 3, 12, 12, 1), "[1, 3, 12, 12, 1]"),
    ((2, 3, 12, 8), "[2, 3, 12, 8]"),
    ((2, 1, 12, 12), "[2, 1, 12, 12]"),
    ((), "[]"),
]


@pytest.mark.parametrize(("shape", "shown"), BAD_SHAPES)
def test_wrong_rank_or_size_says_what_was_expected_and_what_came(
    shape: tuple[int, ...], shown: str, explain: Explainer, cnn: onnx.ModelProto
) -> None:
    text = f'input "image" expects shape [N, 3, 12, 12], samples first; got {shown}'
    with pytest.raises(InputError, match="^x: " + re.escape(text)):
        explain(np.zeros(shape, np.float32))
    with pytest.raises(InputError, match="^x: " + re.escape(text)):
        explain.stream(np.zeros(shape, np.float32))
    with pytest.raises(InputError, match="^background: " + re.escape(text)):
        Explainer(cnn, np.zeros(shape, np.float32))
    with pytest.raises(InputError, match="^background: " + re.escape(text)):
        explain.with_background(np.zeros(shape, np.float32))


def test_a_model_without_a_batch_axis_takes_rows_of_samples() -> None:
    model = models.no_batch()
    explain = Explainer(model, models.samples(model, 2), target=0)
    assert explain(models.samples(model, 4)).attributions.shape == (4, 6)
    text = 'input "x" expects shape [N, 6], samples first; got [6]'
    with pytest.raises(InputError, match=re.escape(text)):
        explain(np.zeros(6, np.float32))


# Dtypes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.complex64])
def test_other_kinds_of_numbers_are_never_cast_silently(
    dtype: type, explain: Explainer, cnn: onnx.ModelProto
) -> None:
    array = np.zeros((1, 3, 12, 12), dtype)
    name = np.dtype(dtype).name
    text = f"expects float32, got {name}; convert it with .astype('float32')"
    with pytest.raises(InputError, match="^x: .*" + re.escape(text)):
        explain(array)
    with pytest.raises(InputError, match="^background: .*" + re.escape(text)):
        Explainer(cnn, array)


def test_a_float_for_an_integer_input() -> None:
    model = models.side_input()
    x = models.samples(model, 2)
    explain = Explainer(model, {"x": x["x"]}, target=0)
    with pytest.raises(InputError, match='input "ids" expects int64, got float32; convert it'):
        explain(x | {"ids": x["ids"].astype(np.float32)})
    with pytest.raises(InputError, match='input "ids" expects int64, got int32; convert it'):
        explain(x | {"ids": x["ids"].astype(np.int32)})


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_float_widths_are_cast_with_one_notice(
    dtype: type, cnn: onnx.ModelProto, x: np.ndarray
) -> None:
    explain = Explainer(cnn, x[:2].astype(dtype), target=1)
    text = f'input "image": {np.dtype(dtype).name} is cast to the model\'s float32'
    with pytest.warns(OnnxShapWarning, match=text) as told:
        explain(x.astype(dtype))
    assert len(told) == 1


def test_lists_are_not_arrays(explain: Explainer, x: np.ndarray) -> None:
    with pytest.raises(InputError, match=r'x: input "image" must be a numpy array, not .*list'):
        explain(x.tolist())


# Names --------------------------------------------------------------------------------------------


def test_names(explain: Explainer, two: Explainer, x: np.ndarray) -> None:
    model = models.two_inputs()
    arrays = models.samples(model, 2)
    with pytest.raises(InputError, match='x: the model has no input "photo"; it has image'):
        explain({"photo": x})
    with pytest.raises(InputError, match='x: no array for input "b"'):
        two({"a": arrays["a"]})
    with pytest.raises(InputError, match='x: the model has no input "c"; it has a, b'):
        two(arrays | {"c": arrays["a"]})
    with pytest.raises(InputError, match="x: the model has the inputs a, b; give a dict of arrays"):
        two(arrays["a"])
    with pytest.raises(InputError, match="background: the model has the inputs a, b; give a dict"):
        Explainer(model, arrays["a"])
    with pytest.raises(InputError, match='background: the model has no input "c"'):
        Explainer(model, {"c": arrays["a"]})
    with pytest.raises(
        InputError, match=r'x: inputs differ in their number of samples: "a" 2, "b" 1'
    ):
        two(arrays | {"b": arrays["b"][:1]})
    with pytest.raises(InputError, match="background: this explainer compares a, b; give"):
        two.with_background({"a": arrays["a"]})


def test_unknown_ends(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    for ends, what in (({"output": "nowhere"}, "output"), ({"inputs": ["nowhere"]}, "input")):
        text = f'the model has no value "nowhere" to take as {what}. Its inputs and outputs are '
        with pytest.raises(InputError, match=re.escape(text) + "image, logits; inner values go by"):
            Explainer(cnn, x, **ends)  # type: ignore[arg-type]


def test_a_model_without_float_inputs() -> None:
    table = models.weights(1, table=(4, 3))
    model = models.graph(
        [models.node("Gather", ["table", "ids"], ["y"], "look_up")],
        {"ids": (np.int64, ["N"])},
        {"y": (np.float32, ["N", 3])},
        table,
    )
    with pytest.raises(InputError, match="no float input to explain; name one with inputs="):
        Explainer(model, None, method="gradient")


def test_a_dict_of_one_is_as_good_as_the_array(explain: Explainer, x: np.ndarray) -> None:
    np.testing.assert_array_equal(explain({"image": x}).attributions, explain(x).attributions)


# Values -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_values_that_are_not_finite_are_placed(
    value: float, kind: str, explain: Explainer, x: np.ndarray
) -> None:
    bad = x.copy()
    bad[1, 2, 3, 4] = bad[2, 0, 0, 0] = bad[2, 1, 0, 0] = value
    text = rf'input "image" has {kind} values in 2 row\(s\), the first is row 1; replace them'
    with pytest.raises(InputError, match="^x: " + text):
        explain(bad)
    with pytest.raises(InputError, match="^x: " + text):
        next(explain.stream(bad))
    with pytest.raises(InputError, match="^background: " + text):
        explain.with_background(bad)(x)


def test_rows_are_counted_across_chunks(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    references = models.samples(cnn, 40)["image"]
    references[33] = np.nan
    with pytest.raises(InputError, match=r"background: .*the first is row 33"):
        Explainer(cnn, references, target=0, max_memory=2**19)(x)


def test_float64_beyond_float32_is_infinite_to_the_model(explain: Explainer, x: np.ndarray) -> None:
    large = x.astype(np.float64)
    large[2, 0, 0, 0] = 1e300
    with pytest.warns(OnnxShapWarning, match="cast"), pytest.raises(InputError, match="row 2"):
        explain(large)


def test_an_output_that_is_not_finite_names_the_node_where_it_began() -> None:
    model = models.not_finite()
    good = np.full((2, 4), 3, np.float32)
    explain = Explainer(model, good, target=0)
    bad = good.copy()
    bad[1] = 0
    text = (
        r"the model's output is not finite for explicand\(s\) \[1\]; the first node with a "
        r'non-finite output is Sqrt "the_root" \(output "root"\)'
    )
    with pytest.raises(ExecutionError, match=text):
        explain(bad)
    assert explain(good).complete


def test_a_reference_whose_output_is_not_finite_is_an_error_too() -> None:
    model = models.not_finite()
    good = np.full((3, 4), 3, np.float32)
    bad = good.copy()
    bad[2] = 0
    text = r"not finite for reference\(s\) \[2\]; .* Sqrt .*the_root"
    with pytest.raises(ExecutionError, match=text):
        Explainer(model, bad, target=0)(good)


# Counts -------------------------------------------------------------------------------------------


def test_an_empty_background_is_an_error(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    text = "background: it is empty; give at least one reference"
    with pytest.raises(InputError, match=text):
        Explainer(cnn, x[:0])
    with pytest.raises(InputError, match=text):
        Explainer(cnn, {})
    with pytest.raises(InputError, match=text):
        Explainer(cnn, x).with_background(x[:0])


@pytest.mark.parametrize("name", models.SUPPORTED)
def test_no_explicands_give_empty_arrays_of_the_right_shape(name: str) -> None:
    model = models.SUPPORTED[name]()
    drawn = models.samples(model, 2)
    references = {k: a for k, a in drawn.items() if a.dtype.kind == "f"}
    target = {"dense": [(0, 1, 1)], "one_number": [0]}.get(name, [0, 1])
    explain = Explainer(model, references, target=target)
    none = explain({k: a[:0] for k, a in drawn.items()}, per_reference=True)
    some = explain(drawn, per_reference=True)
    for field in ("attributions", "standard_error", "per_reference"):
        empty, full = getattr(none, field), getattr(some, field)
        for source in full if isinstance(full, dict) else [...]:
            assert empty[source].shape == (0, *full[source].shape[1:])
            assert empty[source].dtype == full[source].dtype
    for field in ("outputs", "base_values", "residual", "targets"):
        assert getattr(none, field).shape == (0, *getattr(some, field).shape[1:])
        assert getattr(none, field).dtype == getattr(some, field).dtype
    assert none.complete


@pytest.mark.parametrize("target", ["top1", "top2", 3, (3,), np.ones(5)])
def test_no_explicands_for_every_form_of_target(
    target: object, cnn: onnx.ModelProto, x: np.ndarray
) -> None:
    explain = Explainer(cnn, x, target=target)
    wide = (2,) if isinstance(target, str) and target == "top2" else ()
    assert explain(x[:0]).attributions.shape == (0, *wide, 3, 12, 12)
    assert explain(x[:0]).outputs.shape == (0, *wide)
    assert [e.complete for e in explain.stream(x[:0])] == [True]


def test_one_reference_is_enough(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    one = Explainer(cnn, x[:1], target=1)(x)
    assert one.references == 1
    assert np.abs(one.attributions[1:]).max() > 0


# Forms of arrays ----------------------------------------------------------------------------------


def test_strides_and_byte_order_do_not_matter(
    explain: Explainer, x: np.ndarray, tmp_path: Path
) -> None:
    expected = explain(x).attributions
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not turned.flags.c_contiguous
    np.testing.assert_array_equal(explain(turned).attributions, expected)
    np.testing.assert_array_equal(explain(x[::-1]).attributions[::-1].shape, expected.shape)
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(explain(frozen).attributions, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OnnxShapWarning)
        swapped = explain(x.astype(x.dtype.newbyteorder())).attributions
    np.testing.assert_array_equal(swapped, expected)


def test_explaining_changes_no_array_of_the_caller(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    mine, references = x.copy(), x[:2].copy()
    before = cnn.SerializeToString(deterministic=True)
    explained = Explainer(cnn, references, target=[0, 1])(mine)
    explained.attributions[:] = 0
    np.testing.assert_array_equal(mine, x)
    np.testing.assert_array_equal(references, x[:2])
    assert cnn.SerializeToString(deterministic=True) == before


def test_masked_arrays_are_refused(explain: Explainer, cnn: onnx.ModelProto, x: np.ndarray) -> None:
    masked = np.ma.masked_greater(x, 0.5)
    text = 'input "image" is a masked array; say what masked values are worth with .filled(value)'
    with pytest.raises(InputError, match="^x: " + re.escape(text)):
        explain(masked)
    with pytest.raises(InputError, match="^background: " + re.escape(text)):
        Explainer(cnn, masked)


# Arguments and types ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [3, None, ["deepshap"], DeepShap])
def test_a_method_that_is_none_is_refused(
    method: object, cnn: onnx.ModelProto, x: np.ndarray
) -> None:
    names = "deepshap, expected_gradients, gradient, input_x_gradient, integrated_gradients, "
    names += "random, smoothgrad, x_gradient"
    text = f"method {method!r}: give a name ({names}) or an object"
    with pytest.raises(InputError, match="^" + re.escape(text)):
        Explainer(cnn, x, method=method)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("used", "remedy"),
    [(True, "Cut the model after the nodes that read it"), (False, "Nothing reads it: remove it")],
)
def test_strings_cannot_be_fed(used: bool, remedy: str) -> None:
    model = models.mlp()
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("words", STRING, ["N"]))
    if used:
        model.graph.node.append(helper.make_node("Identity", ["words"], ["same"]))
        model.graph.output.add().CopyFrom(helper.make_tensor_value_info("same", STRING, ["N"]))
    text = f'input "words" is of type STRING; strings cannot be fed. {remedy}'
    with pytest.raises(InputError, match="^" + re.escape(text)):
        Explainer(model, method="gradient")


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_released_maps_keep_their_contents(tmp_path, mode: str) -> None:
    np.save(tmp_path / "rows.npy", np.arange(3000, dtype=np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode=mode)
    if mode != "r":
        mapped[:5] = -1  # a page that holds what the file does not
    before = np.array(mapped)
    release([mapped, mapped[10:20], np.zeros(3)])
    np.testing.assert_array_equal(mapped, before)
