"""Inputs and outputs as models have them: several, of any rank, type, size and name."""

import shutil
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxshap
from onnxshap import (
    ExecutionError,
    Explainer,
    Explanation,
    ModelFileError,
    OnnxShapWarning,
    compiled,
)
from tests.helpers import models
from tests.helpers.compare import close
from tests.helpers.models import Arrays, node, weights


def complete(explained: Explanation, tolerance: float = 1e-5) -> None:
    """Compare the residual, as measured, with what is allowed."""
    found, lead = explained.attributions, explained.outputs.ndim
    several = list(found.values()) if isinstance(found, dict) else [found]
    total = sum(np.abs(a).sum(tuple(range(lead, a.ndim)), dtype=float) for a in several)
    assert explained.residual is not None
    assert explained.base_values is not None
    scale = np.maximum.reduce([np.abs(explained.outputs), np.abs(explained.base_values), total])
    assert (np.abs(explained.residual) <= tolerance * scale).all()


# Several inputs and outputs -----------------------------------------------------------------------


def many() -> onnx.ModelProto:
    """Numbers, an image, ids and a mask in; logits, a score for each sample and ids out."""
    held = weights(1, table=(5, 4), A=(4, 6), B=(8, 6), out=(6, 3))
    held |= {"last": np.array([2]), "tokens": np.array([1]), "nothing": np.zeros(1, "f")}
    nodes = [
        node("Gather", ["table", "ids"], ["rows"], "look_up", axis=0),
        node("Mul", ["x", "rows"], ["scaled"], "scale"),
        node("Unsqueeze", ["mask", "last"], ["wide"], "mask"),
        node("Where", ["wide", "scaled", "nothing"], ["kept"], "keep"),
        node("ReduceSum", ["kept", "tokens"], ["pooled"], "pool", keepdims=0),
        node("MatMul", ["pooled", "A"], ["left"], "left"),
        node("Flatten", ["image"], ["flat"], "flatten"),
        node("MatMul", ["flat", "B"], ["right"], "right"),
        node("Add", ["left", "right"], ["sum"], "sum"),
        node("Tanh", ["sum"], ["t"], "tanh"),
        node("MatMul", ["t", "out"], ["logits"], "out"),
        node("ReduceSum", ["t", "tokens"], ["score"], "score", keepdims=0),
        node("ArgMax", ["logits"], ["class"], "class", axis=1, keepdims=0),
    ]
    inputs: dict[str, tuple[Any, list[str | int]]] = {
        "x": (np.float32, ["N", 3, 4]),
        "ids": (np.int64, ["N", 3]),
        "mask": (np.bool_, ["N", 3]),
        "image": (np.float32, ["N", 1, 2, 4]),
    }
    outputs: dict[str, tuple[Any, list[str | int]]] = {
        "class": (np.int64, ["N"]),
        "logits": (np.float32, ["N", 3]),
        "score": (np.float32, ["N"]),
    }
    return models.graph(nodes, inputs, outputs, held)


def drawn(count: int, seed: int) -> Arrays:
    arrays = models.samples(many(), count, seed)
    return arrays | {"mask": arrays["mask"].astype(bool) | (np.arange(3) == 0)}


@pytest.mark.parametrize("explained", [["x"], ["image"], ["x", "image"]])
@pytest.mark.parametrize(("output", "target"), [("logits", 2), ("score", ()), ("sum", 4)])
def test_some_inputs_are_explained_and_the_others_held(
    explained: list[str], output: str, target: object
) -> None:
    model, x, references = many(), drawn(3, 0), drawn(2, 1)
    compared = {name: references[name] for name in explained}
    found = Explainer(model, compared, target=target, output=output)(x)  # type: ignore[arg-type]
    complete(found)
    maps = found.attributions if len(explained) > 1 else {explained[0]: found.attributions}
    assert {n: a.shape for n, a in maps.items()} == {n: x[n].shape for n in explained}
    pick = (..., target) if target != () else ...
    mixed = [
        np.mean(
            [
                models.run(model, _row(x | _all(a, 3), i), output=output)[output][0][pick]
                for a in _rows(compared)
            ]
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(found.base_values, mixed, rtol=1e-5, atol=1e-5)


def _rows(arrays: Arrays) -> list[Arrays]:
    count = len(next(iter(arrays.values())))
    return [{k: a[i : i + 1] for k, a in arrays.items()} for i in range(count)]


def _row(arrays: Arrays, i: int) -> Arrays:
    return {k: a[i : i + 1] for k, a in arrays.items()}


def _all(arrays: Arrays, count: int) -> Arrays:
    return {k: np.repeat(a, count, 0) for k, a in arrays.items()}


def test_masked_tokens_get_nothing() -> None:
    model, x, references = many(), drawn(4, 0), drawn(3, 1)
    compared = {name: references[name] for name in ("x", "image")}
    found = Explainer(model, compared, target=0, output="logits")(x)
    assert not np.abs(found.attributions["x"][~x["mask"]]).any()
    assert np.abs(found.attributions["x"][x["mask"]]).min() > 0


def test_references_may_bring_their_own_ids_and_masks() -> None:
    """What is masked on one side only is a difference: it is complete all the same."""
    model = many()
    found = Explainer(model, drawn(3, 1), target=[0, 2], output="logits")(drawn(2, 0))
    assert set(found.attributions) == {"x", "image"}
    assert found.attributions["image"].shape == (2, 2, 1, 2, 4)


def test_an_output_that_is_no_float_says_which_are() -> None:
    with pytest.raises(onnxshap.InputError, match="float outputs: logits, score"):
        Explainer(many(), drawn(1, 0))


# Rank ---------------------------------------------------------------------------------------------


def of_rank(rank: int, dtype: Any = np.float32) -> onnx.ModelProto:
    """A gate and a bend, elementwise, over samples of ``rank`` axes of size 2."""
    sizes = ["N", *[2] * rank]
    held = {"w": np.linspace(-1, 2, 2**rank).reshape([2] * rank).astype(dtype)}
    nodes = [
        node("Mul", ["x", "w"], ["h"], "scale"),
        node("Sigmoid", ["h"], ["gate"], "gate"),
        node("Mul", ["x", "gate"], ["y"], "gated"),
    ]
    return models.graph(nodes, {"x": (dtype, sizes)}, {"y": (dtype, sizes)}, held)


@pytest.mark.parametrize("rank", range(6))
@pytest.mark.parametrize("method", ["deepshap", "integrated_gradients", "gradient"])
def test_samples_of_any_rank(rank: int, method: str, tmp_path: Path) -> None:
    model = of_rank(rank)
    x, references = models.samples(model, 3), models.samples(model, 2, seed=1)
    index = tuple([1] * rank)
    explainer = Explainer(
        model, None if method == "gradient" else references, target=index, method=method
    )
    found = explainer(x)
    assert found.attributions.shape == x["x"].shape
    if method == "deepshap":
        complete(found)
    others = found.attributions.copy()
    others[(slice(None), *index)] = 0
    assert not others.any()
    (path,) = explainer.export(tmp_path / "explained.onnx")
    close(models.run(str(path), x)["x/attribution"], found.attributions, 1e-5)
    read = Explanation.load(found.save(tmp_path / "e.npz") or tmp_path / "e.npz")
    np.testing.assert_array_equal(read.attributions, found.attributions)


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_weights_of_any_rank(rank: int) -> None:
    model = of_rank(rank)
    x, references = models.samples(model, 3), models.samples(model, 2, seed=1)
    complete(Explainer(model, references, target=np.ones([2] * rank))(x))


# Names --------------------------------------------------------------------------------------------

NAMES = [
    "gpu_0/data_0",
    "serving_default.input:0",
    "Eingabe größe",
    "入力/画像 🙂",
    "../../etc/x",
    "a\\b",
    "C:\\data",
    "%s {0} $x_1$ <b>",
    "x|y*?",
    "'quoted' \"twice\"",
    "onnxshap/seed",
    "-",
    "con",
    "é" * 150,
]


def named(name: str) -> onnx.ModelProto:
    """Two inputs, an inner value and an output, all called after ``name``."""
    held = weights(2, **{f"{name} w": (4, 3)})
    nodes = [
        node("Add", [name, f"{name}/b"], [f"{name}/inner"], f"{name}/add"),
        node("MatMul", [f"{name}/inner", f"{name} w"], [f"{name}/h"], f"{name}/mm"),
        node("Tanh", [f"{name}/h"], [f"{name} out"], f"{name}/tanh"),
    ]
    ends = {n: (np.float32, ["N", 4]) for n in (name, f"{name}/b")}
    return models.graph(nodes, ends, {f"{name} out": (np.float32, ["N", 3])}, held)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_goes_through_everything(name: str, tmp_path: Path) -> None:
    model = named(name)
    x, references = models.samples(model, 3), models.samples(model, 2, seed=1)
    assert onnxshap.check(model).ok
    explainer = Explainer(model, references, target=1)
    found = explainer(x)
    complete(found)
    assert list(found.attributions) == [name, f"{name}/b"]

    (path,) = explainer.export(tmp_path / "explained.onnx")
    written = models.run(str(path), x)
    for source, array in found.attributions.items():
        close(written[f"{source}/attribution"], array, 1e-5)
    own = models.run(model, x)[f"{name} out"]
    np.testing.assert_allclose(written[f"{name} out"], own, rtol=1e-6)

    found.save(tmp_path / "e.npz")
    read = Explanation.load(tmp_path / "e.npz")
    assert read.attributions.keys() == found.attributions.keys()
    for source, array in found.attributions.items():
        np.testing.assert_array_equal(read.attributions[source], array)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.npz", "explained.onnx"]

    inner = Explainer(model, references, inputs=f"{name}/inner", output=f"{name}/h", target=1)
    assert found.data is not None
    complete(inner(x))
    assert name in found.summary() or "sum" in found.summary()


def test_files_go_by_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "größe 入力"
    folder.mkdir()
    model = models.mlp()
    source = folder / "mein modell.v1.onnx"
    onnx.save(model, source)
    x, references = models.samples(model, 2), models.samples(model, 2, seed=1)
    explainer = Explainer(source, references, target=0)
    (path,) = explainer.export(folder / "erklärt 🙂.onnx")
    close(models.run(str(path), x)["x/attribution"], explainer(x).attributions, 1e-5)


# External data, and models above 2 GB -------------------------------------------------------------


def outside(model: onnx.ModelProto, folder: Path) -> Path:
    """Save a model with all its weights in another file."""
    path = folder / "model.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save(copy, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


@pytest.mark.parametrize("method", ["deepshap", "integrated_gradients"])
@pytest.mark.parametrize("large", [compiled.LARGE, 1])
def test_weights_in_another_file(
    method: str,
    large: int,
    cnn: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The runtime looked for them in the current folder. From ``large`` on they stay there."""
    monkeypatch.setattr(compiled, "LARGE", large)
    (tmp_path / "model").mkdir()
    path = outside(cnn, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    x, references = models.samples(cnn, 2), models.samples(cnn, 3, seed=1)
    explainer = Explainer(path, references, target=1, method=method)
    found = explainer(x)
    expected = Explainer(cnn, references, target=1, method=method)(x)
    close(found.attributions, expected.attributions, 1e-6)
    written = explainer.export(tmp_path / "explained.onnx")
    assert [p.name for p in written] == ["explained.onnx", "explained.onnx.data"]
    close(models.run(str(written[0]), x)["image/attribution"], found.attributions, 1e-5)
    built = onnxshap.build(path, method="gradient").save(tmp_path / "gradient.onnx")
    assert built[1].stat().st_size > 0


def test_a_certificate_of_weights_in_another_file(tmp_path: Path) -> None:
    path = outside(models.homogeneous(), tmp_path)
    found = onnxshap.xdnn.certify(path)
    assert found.ok
    assert found.deviation is not None  # it ran


SIDE, LAYERS = 8192, 9  # 9 matrices of 268 MB


def huge(folder: Path) -> Path:
    """A model of 2.4 GB: some rows of numbers, in a file of holes that takes little of the disk."""
    rng, weights_file = np.random.default_rng(0), folder / "weights.bin"
    tensors, nodes, size = [], [], SIDE * SIDE * 4
    with open(weights_file, "wb") as file:
        for k in range(LAYERS):
            for row in range(0, SIDE, 512):
                file.seek(k * size + row * SIDE * 4)
                file.write((rng.normal(size=SIDE) / 4).astype(np.float32).tobytes())
            tensor = TensorProto(name=f"w{k}", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE])
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": weights_file.name, "offset": k * size, "length": size}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            nodes.append(node("MatMul", [f"r{k}", f"w{k}"], [f"h{k}"], f"fc{k}"))
            nodes.append(node("Relu", [f"h{k}"], [f"r{k + 1}"], f"relu{k}"))
        file.truncate(LAYERS * size)
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", SIDE])]
        for name in ("r0", f"r{LAYERS}")
    ]
    proto = helper.make_graph(nodes, "huge", *ends, tensors)
    path = folder / "huge.onnx"
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(proto, opset_imports=opsets, ir_version=9), path)
    return path


class Memory:
    """The most memory of its own that the process takes; mapped files can be given back."""

    def __enter__(self) -> "Memory":
        self._over, self._process = threading.Event(), psutil.Process()
        self._start, self.peak = self._now(), 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _now(self) -> int:
        found = self._process.memory_info()
        return int(found.rss - found.shared)

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, self._now() - self._start)


@pytest.mark.full
def test_a_model_above_two_gigabytes_stays_in_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of three sessions held a copy of the weights, and one of them turned around."""
    if shutil.disk_usage(tmp_path).free < 4e9:
        pytest.skip("needs 4 GB of disk where the file system has no holes")
    path = huge(tmp_path)
    weights_size = (tmp_path / "weights.bin").stat().st_size
    assert weights_size > 2**31
    x = np.random.default_rng(1).normal(size=(2, SIDE)).astype(np.float32)
    with Memory() as memory:
        explainer = Explainer(path, np.zeros((1, SIDE), np.float32), target=3)
        found = explainer(x)
    with capsys.disabled():
        share = memory.peak / weights_size
        print(f"\n  {weights_size / 1e9:.2f} GB explained in {share:.1%} of it", end=" ")
    complete(found)
    assert np.abs(found.attributions).max() > 0
    assert share < 0.25


# Types --------------------------------------------------------------------------------------------


def in_type(model: onnx.ModelProto, to: int, opset: int | None = None) -> onnx.ModelProto:
    """The float32 model in another float type: ends and weights."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    dtype = helper.tensor_dtype_to_np_dtype(to)
    for value in (*copy.graph.input, *copy.graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type == TensorProto.FLOAT:
            tensor.elem_type = to
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(dtype)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for entry in copy.opset_import:
        entry.version = opset or entry.version
    return copy


HALVES = {
    name: models.SUPPORTED[name]
    for name in (
        "cnn",
        "homogeneous",
        "squeeze_excite",
        "densenet",
        "mlp",
        "one_number",
        "two_inputs",
        "side_input",
        "attention",
        "no_batch",
        "mean over the batch",
    )
}


@pytest.mark.parametrize("name", HALVES)
def test_float16(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What flows back is float32: the model rounds, its explanation does not round once more."""
    wide = HALVES[name]()
    half = in_type(wide, TensorProto.FLOAT16)
    target = () if name == "one_number" else 1
    x, references = models.samples(half, 3), models.samples(half, 4, seed=1)
    references = {k: a for k, a in references.items() if a.dtype.kind == "f"}
    found = Explainer(half, references, target=target)(x)
    complete(found, 5e-3)
    as_wide = [
        {k: a.astype(np.float32) if a.dtype.kind == "f" else a for k, a in arrays.items()}
        for arrays in (x, references)
    ]
    expected = Explainer(wide, as_wide[1], target=target)(as_wide[0])
    several = (
        found.attributions if isinstance(found.attributions, dict) else {"": found.attributions}
    )
    for source, array in several.items():
        exact = expected.attributions[source] if source else expected.attributions
        assert array.dtype == np.float32
        # Where rounding makes another of a pool's values the largest, a few places differ by more.
        assert np.quantile(np.abs(array - exact), 0.95) <= 2e-2 * np.abs(exact).max()
    with capsys.disabled():
        gap = np.abs(found.residual).max() / np.abs(found.outputs).max()
        print(f"\n  {name}: {gap:.1e} of the output incomplete", end=" ")


@pytest.mark.parametrize("method", ["deepshap", "integrated_gradients", "input_x_gradient"])
@pytest.mark.parametrize("memory", [None, 1])
def test_a_float16_model_is_exported(method: str, memory: int | None, tmp_path: Path) -> None:
    """The runtime cannot add up float16 at places, as a max pool's derivative has to."""
    model = models.cnn(dtype=np.float16)
    x = models.samples(model, 2)
    references = None if method == "input_x_gradient" else models.samples(model, 4, seed=1)
    explainer = Explainer(model, references, target="top2", method=method, max_memory=memory)
    (path,) = explainer.export(tmp_path / "explained.onnx")
    written, found = models.run(str(path), x), explainer(x)
    assert written["logits"].dtype == np.float16
    assert written["image/attribution"].dtype == np.float32
    np.testing.assert_array_equal(written["target"], found.targets)
    close(written["image/attribution"], found.attributions, 2e-2)


@pytest.mark.parametrize("references", [300, 3])
def test_many_references_of_float16(references: int, tmp_path: Path) -> None:
    """M (M - 1) is infinite in float16 from 257 references on, and the standard error was 0."""
    model = models.mlp(np.float16)
    x = models.samples(model, 2)
    explainer = Explainer(model, models.samples(model, references, seed=1), target=0)
    (path,) = explainer.export(tmp_path / "explained.onnx")
    close(models.run(str(path), x)["standard_error"], explainer(x).standard_error, 2e-2)


def test_float16_inside_float32_is_judged_as_float16() -> None:
    """Models converted with float32 ends warned of gaps that are float16's own."""
    held = weights(3, np.float16, w=(16, 16), v=(16, 2))
    nodes = [
        node("Cast", ["x"], ["in"], "cast_in", to=TensorProto.FLOAT16),
        node("MatMul", ["in", "w"], ["h"], "fc0"),
        node("Relu", ["h"], ["r"], "relu"),
        node("MatMul", ["r", "v"], ["o"], "fc1"),
        node("Cast", ["o"], ["y"], "cast_out", to=TensorProto.FLOAT),
    ]
    ends = {"x": (np.float32, ["N", 16])}, {"y": (np.float32, ["N", 2])}
    model = models.graph(nodes, *ends, held)
    x, references = models.samples(model, 8), models.samples(model, 8, seed=1)
    complete(Explainer(model, references, target=1)(x), 5e-3)  # and no CompletenessWarning


@pytest.mark.parametrize("name", ["mlp", "two_inputs", "batch_inside", "side_input", "no_batch"])
def test_float64(name: str) -> None:
    model = in_type(models.SUPPORTED[name](), TensorProto.DOUBLE)
    x, references = models.samples(model, 3), models.samples(model, 4, seed=1)
    references = {k: a for k, a in references.items() if a.dtype.kind == "f"}
    found = Explainer(model, references, target=1)(x)
    complete(found, 1e-9)
    several = (
        found.attributions if isinstance(found.attributions, dict) else {"": found.attributions}
    )
    assert {a.dtype for a in several.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    ("name", "to", "shown"),
    [
        ("cnn", TensorProto.DOUBLE, r'Conv in float64 \(node "conv0"\)'),
        ("attention", TensorProto.DOUBLE, r"Erf in float64 \(a part of another operator\)"),
        ("mlp", TensorProto.BFLOAT16, r'Gemm in bfloat16 \(node "fc0"\)'),
        ("attention", TensorProto.BFLOAT16, r'MatMul in bfloat16 \(node "project_q"\)'),
    ],
)
def test_types_that_the_runtime_cannot_run_are_named_with_the_remedy(
    name: str, to: int, shown: str
) -> None:
    model = in_type(models.SUPPORTED[name](), to)
    x = models.samples(model, 2)
    assert onnxshap.check(model).ok  # there are rules: it is the runtime that cannot
    text = (
        rf"^onnxruntime has no kernel for {shown} on these providers\. Convert the model to float"
    )
    with pytest.raises(ExecutionError, match=text):
        Explainer(model, x, target=0, providers=["CPUExecutionProvider"])(x)


def test_types_that_the_opset_forbids_are_named() -> None:
    """onnx's own error reached the user."""
    model = in_type(models.cnn(), TensorProto.BFLOAT16)
    text = 'Conv "conv0": opset 18 does not allow what the model gives it.* newer opset'
    with pytest.raises(ModelFileError, match=text):
        onnxshap.check(model)
    assert onnxshap.check(in_type(models.cnn(), TensorProto.BFLOAT16, opset=22)).ok


@pytest.mark.parametrize("end", [TensorProto.FLOAT, TensorProto.BFLOAT16])
def test_bfloat16_around_float32(end: int) -> None:
    """Numpy has no such type: float32 arrays are cast to it, with a notice."""
    held = {
        "w": numpy_helper.to_array(in_type(models.mlp(), TensorProto.BFLOAT16).graph.initializer[0])
    }
    nodes = [
        node("Cast", ["x"], ["in"], "cast_in", to=TensorProto.FLOAT),
        node("Cast", ["w"], ["wide"], "cast_w", to=TensorProto.FLOAT),
        node("Gemm", ["in", "wide"], ["h"], "fc", transB=1),
        node("Relu", ["h"], ["r"], "relu"),
        node("Cast", ["r"], ["y"], "cast_out", to=end),
    ]
    dtype = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
    ends = {"x": (dtype, ["N", 30])}, {"y": (helper.tensor_dtype_to_np_dtype(end), ["N", 16])}
    model = models.graph(nodes, *ends, held)
    x = np.random.default_rng(0).normal(size=(3, 30))
    with pytest.warns(OnnxShapWarning, match="float64 is cast to the model's bfloat16"):
        found = Explainer(model, x[:1] * 0, target=1)(x)
    complete(found, 4e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Explainer(model, x[:1].astype(dtype) * dtype.type(0), target=1)(x.astype(dtype))
    np.testing.assert_array_equal(again.attributions, found.attributions)
