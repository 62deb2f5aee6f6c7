"""strip_bias: what is removed, and that what is left computes the same but for the biases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, external_data_helper, numpy_helper

import onnxshap
from onnxshap import InputError, Model
from onnxshap.xdnn import Removed, Stripped, certify, strip_bias
from tests.helpers import light, models

node = models.node
BN = ["scale", "shift", "mean", "var"]


def bn(count: int) -> dict[str, np.ndarray]:
    """Parameters of a BatchNormalization over ``count`` channels."""
    rng = np.random.default_rng(count)
    drawn = {name: rng.uniform(0.5, 1.5, count).astype(np.float32) for name in BN}
    return drawn | {"shift": drawn["shift"] - 1}


def held(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return models.weights(4, **shapes)


def operators(model: Model) -> list[str]:
    return [n.op_type for n in model.normalised.graph]


def same(a: ModelProto, b: ModelProto, feeds: dict[str, np.ndarray], bound: float = 1e-5) -> None:
    """Fail unless all outputs agree, relative to the largest."""
    ours, theirs = models.run(a, feeds), models.run(b, feeds)
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=bound * np.abs(array).max())


IMAGE, ROWS = (2, 4, 5, 5), (2, 4)

# Nodes, input shape, weights; then operators left and what was removed. Biases are the constants
# called b..., shift and mean: with all of them zero, the model must be what is left of it.
CASES: dict[str, tuple[list[NodeProto], Any, dict[str, np.ndarray], list[str], list[str]]] = {
    "conv": (
        [node("Conv", ["x", "w", "b"], ["y"], "n")],
        IMAGE,
        held(w=(3, 4, 2, 2), b=(3,)),
        ["Conv"],
        ["bias"],
    ),
    "conv transpose": (
        [node("ConvTranspose", ["x", "w", "b"], ["y"], "n")],
        IMAGE,
        held(w=(4, 3, 2, 2), b=(3,)),
        ["ConvTranspose"],
        ["bias"],
    ),
    "gemm": (
        [node("Gemm", ["x", "w", "b"], ["y"], "n", beta=0.5)],
        ROWS,
        held(w=(4, 3), b=(3,)),
        ["Gemm"],
        ["bias"],
    ),
    "layer norm": (
        [node("LayerNormalization", ["x", "w", "b"], ["y"], "n")],
        ROWS,
        held(w=(4,), b=(4,)),
        ["LayerNormalization"],
        ["bias"],
    ),
    "instance norm": (
        [node("InstanceNormalization", ["x", "w", "b"], ["y"], "n")],
        IMAGE,
        held(w=(4,), b=(4,)),
        ["InstanceNormalization"],
        ["bias"],
    ),
    "conv, batch norm": (
        [
            node("Conv", ["x", "w", "b"], ["c"], "n", group=2),
            node("BatchNormalization", ["c", *BN], ["y"], "bn", epsilon=0.01),
        ],
        IMAGE,
        held(w=(6, 2, 2, 2), b=(6,)) | bn(6),
        ["Conv"],
        ['bias, and what BatchNormalization "bn" adds; its factor is in the weights now'],
    ),
    "conv, batch norm twice": (
        [
            node("Conv", ["x", "w"], ["c"], "n"),
            node("BatchNormalization", ["c", *BN], ["d"], "bn0"),
            node("BatchNormalization", ["d", *BN], ["y"], "bn1"),
        ],
        IMAGE,
        held(w=(6, 4, 2, 2)) | bn(6),
        ["Conv"],
        [
            'what BatchNormalization "bn0" adds; its factor is in the weights now',
            'what BatchNormalization "bn1" adds; its factor is in the weights now',
        ],
    ),
    "grouped conv transpose, batch norm": (
        [
            node("ConvTranspose", ["x", "w", "b"], ["c"], "n", group=2),
            node("BatchNormalization", ["c", *BN], ["y"], "bn"),
        ],
        IMAGE,
        held(w=(4, 3, 2, 2), b=(6,)) | bn(6),
        ["ConvTranspose"],
        ['bias, and what BatchNormalization "bn" adds; its factor is in the weights now'],
    ),
    "gemm, batch norm": (
        [
            node("Gemm", ["x", "w", "b"], ["c"], "n", alpha=2.0, beta=3.0),
            node("BatchNormalization", ["c", *BN], ["y"], "bn"),
        ],
        ROWS,
        held(w=(4, 3), b=(3,)) | bn(3),
        ["Gemm"],
        ['bias, and what BatchNormalization "bn" adds; its factor is in the weights now'],
    ),
    "gemm turned, batch norm": (
        [
            node("Gemm", ["x", "w"], ["c"], "n", transB=1),
            node("BatchNormalization", ["c", *BN], ["y"], "bn"),
        ],
        ROWS,
        held(w=(4, 4)) | bn(4),
        ["Gemm"],
        ['what BatchNormalization "bn" adds; its factor is in the weights now'],
    ),
    "matmul, batch norm": (
        [
            node("MatMul", ["x", "w"], ["c"], "n"),
            node("BatchNormalization", ["c", *BN], ["d"], "bn0"),
            node("BatchNormalization", ["d", *BN], ["y"], "bn1"),
        ],
        ROWS,
        held(w=(4, 4)) | bn(4),
        ["MatMul"],
        [
            'what BatchNormalization "bn0" adds; its factor is in the weights now',
            'what BatchNormalization "bn1" adds; its factor is in the weights now',
        ],
    ),
    "matmul whose columns are no channels": (
        [
            node("MatMul", ["x", "w"], ["c"], "n"),
            node("BatchNormalization", ["c", *BN], ["y"], "bn"),
        ],
        (2, 4, 4),
        held(w=(4, 4)) | bn(4),
        ["MatMul", "Mul"],
        ["mean and B"],
    ),
    "batch norm first": (
        [node("BatchNormalization", ["x", *BN], ["y"], "bn")],
        IMAGE,
        bn(4),
        ["Mul"],
        ["mean and B"],
    ),
    "conv that another node reads": (
        [
            node("Conv", ["x", "w", "b"], ["c"], "n"),
            node("BatchNormalization", ["c", *BN], ["d"], "bn"),
            node("Add", ["c", "d"], ["y"], "sum"),
        ],
        IMAGE,
        held(w=(6, 4, 2, 2), b=(6,)) | bn(6),
        ["Conv", "Mul", "Add"],
        ["bias", "mean and B"],
    ),
    "add": (
        [node("MatMul", ["x", "w"], ["h"], "m"), node("Add", ["h", "b"], ["y"], "n")],
        ROWS,
        held(w=(4, 3), b=(3,)),
        ["MatMul"],
        ["constant that is added"],
    ),
    "add to the input": (
        [node("Add", ["b", "x"], ["h"], "n"), node("Relu", ["h"], ["y"], "relu")],
        ROWS,
        held(b=(4,)),
        ["Relu"],
        ["constant that is added"],
    ),
    "add alone": (
        [node("Add", ["b", "x"], ["y"], "n")],
        ROWS,
        held(b=(4,)),
        ["Identity"],
        ["constant that is added"],
    ),
    "add, and another node reads the sum's operand": (
        [
            node("MatMul", ["x", "w"], ["h"], "m"),
            node("Add", ["h", "b"], ["s"], "n"),
            node("Mul", ["h", "s"], ["y"], "product"),
        ],
        ROWS,
        held(w=(4, 3), b=(3,)),
        ["MatMul", "Mul"],
        ["constant that is added"],
    ),
    "add what widens": (
        [node("Add", ["x", "b"], ["y"], "n")],
        (2, 1),
        held(b=(3,)),
        ["Add"],
        ["constant that is added"],
    ),
    "subtract": (
        [node("Sub", ["x", "b"], ["h"], "n"), node("Relu", ["h"], ["y"], "relu")],
        ROWS,
        held(b=(4,)),
        ["Relu"],
        ["constant that is subtracted"],
    ),
    "subtract from": (
        [node("Sub", ["b", "x"], ["y"], "n")],
        ROWS,
        held(b=(4,)),
        ["Neg"],
        ["constant it is subtracted from"],
    ),
    "sum": (
        [node("Relu", ["x"], ["r"], "relu"), node("Sum", ["x", "b", "r", "b1"], ["y"], "n")],
        ROWS,
        held(b=(4,), b1=(4,)),
        ["Relu", "Sum"],
        ["constant that is added"],
    ),
    "sum of one": (
        [node("Sum", ["x", "b", "b1"], ["s"], "n"), node("Relu", ["s"], ["y"], "relu")],
        ROWS,
        held(b=(4,), b1=(4,)),
        ["Relu"],
        ["constant that is added"],
    ),
    "bias made by other nodes": (
        [
            node("Unsqueeze", ["b", "axes"], ["u"], "unsqueeze"),
            node("Neg", ["u"], ["v"], "neg"),
            node("Conv", ["x", "w"], ["c"], "conv"),
            node("Add", ["c", "v"], ["y"], "n"),
        ],
        IMAGE,
        held(w=(3, 4, 2, 2), b=(3,)) | {"axes": np.array([1, 2])},
        ["Conv"],
        ["constant that is added"],
    ),
    "constants are left alone": (
        [
            node("Add", ["w0", "w1"], ["w"], "weights"),
            node("MatMul", ["x", "w"], ["y"], "n"),
        ],
        ROWS,
        held(w0=(4, 3), w1=(4, 3)),
        ["Add", "MatMul"],
        [],
    ),
    "computed terms are left alone": (
        [
            node("MatMul", ["x", "w"], ["h"], "m"),
            node("Gemm", ["x", "w", "h"], ["g"], "gemm"),
            node("Add", ["g", "h"], ["y"], "n"),
        ],
        ROWS,
        held(w=(4, 3)),
        ["MatMul", "Gemm", "Add"],
        [],
    ),
}


def without(proto: ModelProto, names: set[str] | None = None) -> ModelProto:
    """The model with its biases all zero."""
    zeroed = ModelProto()
    zeroed.CopyFrom(proto)
    for tensor in zeroed.graph.initializer:
        bias = tensor.name[0] == "b" or tensor.name in ("shift", "mean")
        if tensor.name in names if names is not None else bias:
            array = np.zeros_like(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return zeroed


@pytest.mark.parametrize("case", CASES)
def test_what_is_removed(case: str) -> None:
    nodes, shape, constants, left, what = CASES[case]
    sizes: list[str | int] = ["N", *shape[1:]]
    ends = {"x": (np.float32, sizes)}, {"y": (np.float32, ["N", *"abc"[: len(shape) - 1]])}
    proto = models.graph(nodes, *ends, constants)
    stripped = strip_bias(proto)
    onnx.checker.check_model(stripped.proto, full_check=True)
    assert operators(stripped) == left
    assert [r.what for r in stripped.removed] == what
    feeds = {"x": np.random.default_rng(6).normal(size=shape).astype(np.float32)}
    same(stripped.proto, without(proto), feeds)
    if what:  # and it is not the same as before
        with pytest.raises(AssertionError):
            same(stripped.proto, proto, feeds)


def test_a_constant_with_more_axes_keeps_them() -> None:
    nodes = [node("Add", ["x", "b"], ["y"], "n")]
    ends = {"x": (np.float32, ["N", 4])}, {"y": (np.float32, [1, "N", 4])}
    proto = models.graph(nodes, *ends, held(b=(1, 1, 4)))
    stripped = strip_bias(proto)
    onnx.checker.check_model(stripped.proto, full_check=True)
    assert [r.node for r in stripped.removed] == ["n"]
    same(stripped.proto, without(proto), {"x": np.ones(ROWS, np.float32)})


def test_the_record_of_a_bias() -> None:
    stripped = strip_bias(models.cnn())
    b0, b2 = (np.abs(models.weights(2, b0=(6,), b2=(5,))[b]).max() for b in ("b0", "b2"))
    assert stripped.removed == [
        Removed("conv0", "Conv", "bias", pytest.approx(b0)),
        Removed("fc", "Gemm", "bias", pytest.approx(b2)),
    ]
    assert stripped.report == str(stripped)
    assert str(stripped).split("\n") == [
        "removed 2 bias(es)",
        f'Conv "conv0": bias (up to {b0:.3g})',
        f'Gemm "fc": bias (up to {b2:.3g})',
    ]


def test_the_record_of_what_a_normalization_adds() -> None:
    nodes, _, constants, _, _ = CASES["gemm, batch norm"]
    proto = models.graph(
        nodes, {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 3])}, constants
    )
    c = {k: v.astype(np.float64) for k, v in constants.items()}
    factor = c["scale"] / np.sqrt(c["var"] + 1e-5)
    added = (3 * c["b"] - c["mean"]) * factor + c["shift"]
    assert strip_bias(proto).removed[0].largest == pytest.approx(np.abs(added).max())


def test_what_is_zero_already_is_not_recorded() -> None:
    nodes, _, constants, _, _ = CASES["conv, batch norm"]
    ends = {"x": (np.float32, ["N", 4, 5, 5])}, {"y": (np.float32, ["N", 6, 4, 4])}
    zero = without(models.graph(nodes, *ends, constants))
    stripped = strip_bias(zero)
    assert stripped.removed == []
    assert str(stripped) == "removed 0 bias(es)"
    x = np.random.default_rng(0).normal(size=IMAGE).astype(np.float32)
    same(stripped.proto, zero, {"x": x})
    homogeneous = strip_bias(models.homogeneous())
    assert homogeneous.removed == []
    assert operators(homogeneous) == [n.op_type for n in models.homogeneous().graph.node]


def test_names_of_values_survive() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["h"], "m"),
        node("Add", ["h", "b"], ["logits"], "bias"),
        node("Softmax", ["logits"], ["y"], "softmax"),
    ]
    ends = {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 3])}
    stripped = strip_bias(models.graph(nodes, *ends, held(w=(4, 3), b=(3,))))
    assert certify(stripped, output="logits").ok


def test_outputs_of_the_model_stay_outputs() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["h"], "m"),
        node("Add", ["h", "b"], ["first"], "one"),
        node("Sub", ["h", "b"], ["second"], "two"),
        node("BatchNormalization", ["h", *BN], ["third"], "bn"),
    ]
    ends = ["first", "h", "second", "third"]
    proto = models.graph(
        nodes,
        {"x": (np.float32, ["N", 4])},
        {end: (np.float32, ["N", 3]) for end in ends},
        held(w=(4, 3), b=(3,)) | bn(3),
    )
    stripped = strip_bias(proto)
    onnx.checker.check_model(stripped.proto, full_check=True)
    assert [o.name for o in stripped.proto.graph.output] == ends
    assert [i.name for i in stripped.proto.graph.input] == ["x"]
    same(stripped.proto, without(proto), {"x": np.ones((2, 4), np.float32)})


def test_integers_and_masks_are_left_alone() -> None:
    nodes = [
        node("Add", ["ids", "one_id"], ["next"], "shifted"),
        node("Gather", ["table", "next"], ["rows"], "look_up"),
        node("Cast", ["ids"], ["mask"], "cast", to=TensorProto.FLOAT),
        node("Sub", ["one", "mask"], ["dropped"], "inverted"),
        node("Mul", ["x", "rows"], ["scaled"], "scale"),
        node("Mul", ["scaled", "dropped"], ["masked"], "masked"),
        node("Add", ["masked", "one"], ["y"], "bias"),
    ]
    constants = {"one_id": np.array(1), "one": np.array(1, np.float32)}
    proto = models.graph(
        nodes,
        {"x": (np.float32, ["N", 3]), "ids": (np.int64, ["N", 3])},
        {"y": (np.float32, ["N", 3])},
        constants | {"table": np.arange(5, dtype=np.float32)},
    )
    stripped = strip_bias(proto)
    assert [(r.node, r.largest) for r in stripped.removed] == [("bias", 1.0)]
    assert operators(stripped) == ["Add", "Gather", "Cast", "Sub", "Mul", "Mul"]
    assert certify(stripped).degree == 1


def test_arithmetic_on_sizes_has_no_bias() -> None:
    """The unbiased variance divides by size - 1: that 1 was once taken for a bias."""
    nodes = [
        node("ReduceMean", ["x", "axis"], ["m"], "mean"),
        node("Sub", ["x", "m"], ["d"], "centre"),
        node("Mul", ["d", "d"], ["q"], "square"),
        node("ReduceSum", ["q", "axis"], ["s"], "sum"),
        node("Shape", ["x"], ["shape"], "shape", start=1),
        node("Cast", ["shape"], ["count"], "count", to=onnx.TensorProto.FLOAT),
        node("Sub", ["count", "one"], ["freedom"], "freedom"),
        node("Div", ["s", "freedom"], ["y"], "variance"),
    ]
    ends = {"x": (np.float32, ["N", "T"])}, {"y": (np.float32, ["N", 1])}
    held = {"axis": np.array([1]), "one": np.ones(1, np.float32)}
    model = models.graph(nodes, *ends, held)
    stripped = strip_bias(model)
    assert stripped.removed == []
    x = {"x": np.arange(5, dtype=np.float32)[None]}
    np.testing.assert_array_equal(models.run(stripped.proto, x)["y"], [[2.5]])


def test_random_numbers_are_no_bias() -> None:
    nodes = [
        node("RandomNormal", [], ["r"], "draw", shape=[1, 4]),
        node("Add", ["x", "r"], ["y"], "noise"),
    ]
    ends = {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 4])}
    assert strip_bias(models.graph(nodes, *ends, {})).removed == []


def test_a_model_of_integers_alone_has_biases_too() -> None:
    nodes = [
        node("Gather", ["table", "ids"], ["rows"], "look_up"),
        node("Add", ["rows", "b"], ["y"], "bias"),
    ]
    ends = {"ids": (np.int64, ["N", 3])}, {"y": (np.float32, ["N", 3])}
    stripped = strip_bias(models.graph(nodes, *ends, held(table=(5,), b=(3,))))
    assert [r.node for r in stripped.removed] == ["bias"]


def test_batch_norm_in_training_and_of_computed_parameters_is_left_alone() -> None:
    nodes = [
        node("ReduceMean", ["x", "axes"], ["m"], "mean", keepdims=0),
        node("BatchNormalization", ["x", "scale", "shift", "m", "var"], ["y"], "bn"),
    ]
    ends = {"x": (np.float32, [2, 4, 3])}, {"y": (np.float32, [2, 4, 3])}
    proto = models.graph(nodes, *ends, bn(4) | {"axes": np.array([0, 2])})
    assert operators(strip_bias(proto)) == ["ReduceMean", "BatchNormalization"]
    nodes = [
        node("BatchNormalization", ["x", *BN], ["y", "m", "v"], "bn", training_mode=1),
    ]
    assert operators(strip_bias(models.graph(nodes, *ends, bn(4)))) == ["BatchNormalization"]


def test_half_precision() -> None:
    for build in (models.cnn, models.mlp):
        proto = build(dtype=np.float16)
        stripped = strip_bias(proto)
        onnx.checker.check_model(stripped.proto, full_check=True)
        assert stripped.removed


@pytest.mark.parametrize("build", [models.cnn, models.densenet, models.batch_inside, models.mlp])
def test_the_model_given_is_not_touched(build: Callable[[], ModelProto]) -> None:
    proto = build()
    before = proto.SerializeToString()
    loaded = onnxshap.load(proto)
    normalised = str(loaded.normalised)
    stripped = strip_bias(loaded)
    assert proto.SerializeToString() == before
    assert str(loaded.normalised) == normalised
    assert stripped.hash != loaded.hash
    assert strip_bias(proto).hash == stripped.hash


def test_what_comes_back_is_a_model(tmp_path: Path) -> None:
    stripped = strip_bias(models.densenet())
    assert isinstance(stripped, Stripped)
    assert onnxshap.load(stripped) is stripped
    (path,) = stripped.save(tmp_path / "bare.onnx")
    assert onnxshap.load(path).hash == stripped.hash
    assert certify(path).ok
    assert strip_bias(stripped).removed == []
    assert onnxshap.check(stripped).ok


def test_input_times_gradient_is_complete_without_biases() -> None:
    proto = models.cnn()
    stripped, x = strip_bias(proto), models.samples(proto, 3)["image"]
    explained = onnxshap.Explainer(stripped, method="input_x_gradient", target=1)(x)
    assert isinstance(explained.attributions, np.ndarray)
    total = explained.attributions.sum((1, 2, 3))
    np.testing.assert_allclose(total, explained.outputs, rtol=1e-4)
    assert (np.abs(explained.outputs) > 0.1).all()


def test_weights_in_files_stay_there(tmp_path: Path) -> None:
    proto = models.cnn()
    external_data_helper.convert_model_to_external_data(proto, size_threshold=0, location="w")
    onnx.save(proto, tmp_path / "model.onnx")
    stripped = strip_bias(tmp_path / "model.onnx")
    assert certify(stripped).ok
    same(
        onnx.load(stripped.save(tmp_path / "bare.onnx")[0]),
        strip_bias(models.cnn()).proto,
        models.samples(models.cnn(), 2),
    )


# Accuracy -------------------------------------------------------------------------------------


def test_accuracy_before_and_after() -> None:
    proto = models.cnn(softmax=True)
    x = models.samples(proto, 40)
    labels = models.run(proto, x)["prob"].argmax(1)
    labels[:10] = (labels[:10] + 1) % 5
    bare = strip_bias(proto).proto
    after = float((models.run(bare, x)["prob"].argmax(1) == labels).mean())
    assert after not in (0.75, 0.0)
    stripped = strip_bias(proto, data=x["image"], labels=labels)
    assert stripped.accuracy == (0.75, after)
    assert f"top-1 accuracy: 0.75 before, {after:.4g} after" in stripped.report
    assert strip_bias(proto, data=x, labels=labels.tolist()).accuracy == (0.75, after)
    inner = strip_bias(proto, data=x, labels=labels, output="logits")
    assert inner.accuracy == (0.75, after)
    assert strip_bias(proto).accuracy is None


@pytest.mark.parametrize("build", [lambda: models.cnn(batch=1), models.no_batch])
def test_accuracy_one_sample_at_a_time(build: Callable[[], ModelProto]) -> None:
    proto = build()
    x = models.samples(proto, 7)
    labels = models.each(proto, x).argmax(1)
    accuracy = strip_bias(proto, data=x, labels=labels).accuracy
    assert accuracy is not None
    assert accuracy[0] == 1.0


X = np.zeros((3, 3, 12, 12), np.float32)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"data": X}, "accuracy takes data= and labels=; there are data but no labels"),
        ({"labels": [1]}, "accuracy takes data= and labels=; there are labels but no data"),
        ({"data": X, "labels": [1]}, r"labels: 3 sample\(s\) need int \[3\], .* got int64 \[1\]"),
        ({"data": X, "labels": [0.5] * 3}, r"labels: .* one class each; got float64 \[3\]"),
        ({"data": X, "labels": [1, 2, 5]}, r"labels: the output has 5 classes, .* is 5"),
        (
            {"data": X, "labels": [1, 2, -1]},
            r"labels: the output has 5 classes, .* is -1",
        ),
        ({"data": X[:, :1], "labels": [1] * 3}, r'data: input "image" expects shape'),
        ({"data": {"picture": X}, "labels": [1] * 3}, 'data: the model has no input "picture"'),
        ({"data": X[:0], "labels": np.zeros(0, int)}, "data: there are no samples"),
        ({"data": X, "labels": [1] * 3, "output": "nothing"}, 'has no value "nothing"'),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        strip_bias(models.cnn(), **arguments)


# Real architectures ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("squeezenet", 26),
        ("shufflenet", 50),
        ("inception_v1", 58),
        ("inception_v2", 139),
        ("densenet121", 243),
        pytest.param("resnet50", 54, marks=pytest.mark.full),
    ],
)
def test_light_nets_without_biases(name: str, count: int) -> None:
    net = light.drawn(name)
    stripped = strip_bias(net.model)
    onnx.checker.check_model(stripped.proto, full_check=True)
    assert len(stripped.removed) == count
    image = np.random.default_rng(1).normal(size=light.IMAGE).astype(np.float32)
    zero = without(net.model, set(net.biases))
    found, wanted = (
        models.run(p, {net.image: image}, output=net.logits)[net.logits]
        for p in (stripped.proto, zero)
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())
    assert wanted.std() > 0.01
