import hashlib
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxshap import CompletenessWarning, Explainer, Explanation, InputError, methods
from onnxshap.graph.normalize import NEWEST_IR, OPSETS
from tests.helpers import models
from tests.helpers.models import Arrays

ROOT = Path(__file__).parents[1]
NAMES = ["attribution", "base_value", "residual", "standard_error", "target"]
MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    name: models.SUPPORTED[name]
    for name in (
        "cnn",
        "cnn of batch 1",
        "cnn with softmax",
        "homogeneous",
        "squeeze_excite",
        "densenet",
        "mlp",
        "one_number",
        "attention",
        "batch_inside",
        "two_inputs",
    )
} | {"cnn of opset 11": lambda: models.cnn(opset=11)}

# Runs a file where nothing of ours can be imported, as its receiver will.
ALONE = """
import sys
sys.modules["onnxshap"] = None
try:
    import onnxshap
except ImportError:
    pass
else:
    raise SystemExit("onnxshap can be imported: this proves nothing")
import numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
feeds = dict(np.load(sys.argv[2]))
names = [o.name for o in session.get_outputs()]
found = dict(zip(names, session.run(None, feeds)))
np.savez(sys.argv[3], **{k.replace("/", "|"): v for k, v in found.items()})
assert not [m for m in sys.modules if m.startswith("onnxshap.")]
"""


def exported(explainer: Explainer, folder: Path, background: str = "embed") -> Path:
    (path,) = explainer.export(folder / f"{background}.onnx", background=background)  # type: ignore[arg-type]
    onnx.checker.check_model(path, full_check=True)
    return path


def same(found: Arrays, explained: Explanation) -> None:
    """Compare what a file gave with an explanation, to 1e-5 of the largest attribution."""
    single = not isinstance(explained.attributions, dict)
    arrays = {"": explained.attributions} if single else explained.attributions
    largest = max(np.abs(a).max() for a in arrays.values())

    def equal(actual: np.ndarray, expected: np.ndarray, scale: float) -> None:
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * scale)

    outputs = max(largest, np.abs(explained.outputs).max())
    for source, array in arrays.items():
        name = next(n for n in found if n.endswith("/attribution") and n.startswith(source))
        equal(found[name], array, largest)
        if explained.standard_error is not None:
            error = explained.standard_error if single else explained.standard_error[source]
            equal(found["standard_error" if single else f"{source}/standard_error"], error, largest)
    if explained.base_values is not None:
        equal(found["base_value"], explained.base_values, outputs)
    if explained.residual is not None:
        equal(found["residual"], explained.residual, max(outputs, largest * 10))
    if explained.targets.dtype.kind == "i":
        np.testing.assert_array_equal(found["target"], explained.targets)


@pytest.fixture(scope="module")
def background(cnn: onnx.ModelProto) -> np.ndarray:
    return models.samples(cnn, 4, seed=1)["image"]


# The file alone -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_file_gives_the_explainers_arrays(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    x, references = models.samples(model, 3), models.samples(model, 4, seed=1)
    explainer = Explainer(model, references, target="top1")
    path = exported(explainer, tmp_path)
    proto = onnx.load(path)
    assert {n.domain for n in proto.graph.node} <= {"", "ai.onnx"}
    assert [o.domain for o in proto.opset_import] == [""]
    assert proto.opset_import[0].version <= OPSETS[-1] == 26
    assert proto.ir_version <= NEWEST_IR == 13
    assert [i.name for i in proto.graph.input] == [i.name for i in model.graph.input]
    own = [o.name for o in model.graph.output]
    assert [o.name for o in proto.graph.output][: len(own)] == own
    same(models.run(str(path), x), explainer(x))


@pytest.mark.parametrize("name", MODELS)
def test_the_models_own_outputs_do_not_change(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    x, references = models.samples(model, 1), models.samples(model, 2, seed=1)
    path = str(exported(Explainer(model, references), tmp_path))
    for optimised in (False, True):
        plain, whole = models.run(model, x, optimised), models.run(path, x, optimised)
        for output, expected in plain.items():
            if optimised:
                np.testing.assert_allclose(whole[output], expected, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(whole[output], expected)


@pytest.mark.parametrize("name", ["cnn", "two_inputs"])
def test_file_needs_nothing_but_a_runtime(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    x = models.samples(model, 2)
    explainer = Explainer(model, models.samples(model, 3, seed=1), target="top1")
    path = exported(explainer, tmp_path)
    np.savez(tmp_path / "x.npz", **x)
    command = [sys.executable, "-c", ALONE, str(path), "x.npz", "found.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "found.npz") as archive:
        found = {k.replace("|", "/"): archive[k] for k in archive.files}
    same(found, explainer(x))


@pytest.mark.parametrize("target", ["top1", "top3", 2, -1, (2,), [3, 0], [(1,), (4,)]])
def test_targets(
    target: object, cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    explainer = Explainer(cnn, background, target=target)
    found = models.run(str(exported(explainer, tmp_path)), {"image": x})
    assert set(found) == {"logits", "image/attribution", *NAMES[1:]}
    same(found, explainer(x))
    wide = isinstance(target, list) or target == "top3"
    assert found["image/attribution"].ndim == 4 + wide
    assert found["target"].dtype == np.int64


@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_integer_weights_are_no_class_indices(
    dtype: type, cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    explainer = Explainer(cnn, background, target=np.array([1, 0, 0, 1, 0], dtype))
    found = models.run(str(exported(explainer, tmp_path)), {"image": x})
    assert "target" not in found
    same(found, explainer(x))


@pytest.mark.parametrize(("target", "row"), [(-1, 4), ((-2,), 3), ([-1, 0], [4, 0])])
def test_negative_targets_are_written_as_the_class_they_mean(
    target: object,
    row: object,
    cnn: onnx.ModelProto,
    x: np.ndarray,
    background: np.ndarray,
    tmp_path: Path,
) -> None:
    path = exported(Explainer(cnn, background, target=target), tmp_path)  # type: ignore[arg-type]
    found = models.run(str(path), {"image": x})["target"]
    np.testing.assert_array_equal(found, [row] * len(x))


def test_weights_as_target(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    weights = np.array([0.5, -1, 0, 0, 2])
    explainer = Explainer(cnn, background, target=weights)
    found = models.run(str(exported(explainer, tmp_path)), {"image": x})
    assert "target" not in found
    same(found, explainer(x))


def test_dense_output(tmp_path: Path) -> None:
    model = models.dense()
    x, references = models.samples(model, 2), models.samples(model, 3, seed=1)
    for target in ([(2, 1, 4), (0, 0, 0)], (1, 5, 5), np.full((4, 6, 6), 0.1)):
        explainer = Explainer(model, references, target=target)
        same(models.run(str(exported(explainer, tmp_path)), x), explainer(x))


@pytest.mark.parametrize("name", ["cnn", "cnn of batch 1", "attention", "batch_inside"])
def test_one_file_takes_batches_of_any_size(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    explainer = Explainer(model, models.samples(model, 3, seed=1), target="top2")
    path = exported(explainer, tmp_path)
    for size in (1, 2, 7):
        x = models.samples(model, size, seed=size)
        found = models.run(str(path), x)
        assert len(found["base_value"]) == size
        same(found, explainer(x))


@pytest.mark.parametrize("name", ["cnn", "two_inputs"])
def test_references_as_an_input_equal_embedded_ones(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    x, references = models.samples(model, 2), models.samples(model, 4, seed=1)
    explainer = Explainer(model, references, target="top1")
    path = exported(explainer, tmp_path, "input")
    extra = {f"{k}/reference": a for k, a in references.items()}
    own = [i.name for i in model.graph.input]
    assert [i.name for i in onnx.load(path).graph.input] == [*own, *extra]
    same(models.run(str(path), x | extra), explainer(x))
    fewer = {k: a[:2] for k, a in references.items()}
    extra = {f"{k}/reference": a for k, a in fewer.items()}
    same(models.run(str(path), x | extra), explainer.with_background(fewer)(x))


def test_one_embedded_reference_has_no_standard_error(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    explainer = Explainer(cnn, background[:1], target=2)
    found = models.run(str(exported(explainer, tmp_path)), {"image": x})
    assert "standard_error" not in found
    same(found, explainer(x))


def test_the_standard_error_of_one_reference_fed_is_undefined(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    path = exported(Explainer(cnn, background, target=2), tmp_path, "input")
    found = models.run(str(path), {"image": x, "image/reference": background[:1]})
    assert np.isnan(found["standard_error"]).all()
    assert np.isfinite(found["image/attribution"]).all()


def test_an_initializer_may_be_an_output(tmp_path: Path) -> None:
    model = models.mlp()
    weight = model.graph.initializer[0]
    info = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
    model.graph.output.append(info)
    x = models.samples(model, 2)
    explainer = Explainer(model, models.samples(model, 3, seed=1), target=0)
    found = models.run(str(exported(explainer, tmp_path)), x)
    np.testing.assert_array_equal(found[weight.name], onnx.numpy_helper.to_array(weight))
    same(found, explainer(x))


def test_references_too_many_to_fold_run_in_chunks(
    cnn: onnx.ModelProto, x: np.ndarray, tmp_path: Path
) -> None:
    many = models.samples(cnn, 12, seed=1)["image"]
    explainer = Explainer(cnn, many, target="top2", max_memory=2**18)
    path = exported(explainer, tmp_path)
    notes = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert re.fullmatch(r"scanned, \d+ references at a time", notes["onnxshap.reference_side"])
    same(models.run(str(path), {"image": x}), explainer(x))


@pytest.mark.parametrize("method", ["gradient", "input_x_gradient"])
@pytest.mark.parametrize("target", ["top1", [0, 3]])
def test_methods_without_references(
    method: str, target: object, cnn: onnx.ModelProto, x: np.ndarray, tmp_path: Path
) -> None:
    explainer = Explainer(cnn, None, method=method, target=target)
    found = models.run(str(exported(explainer, tmp_path)), {"image": x})
    assert set(found) == {"logits", "image/attribution", "target"}
    same(found, explainer(x))


STEPPED = {
    "integrated_gradients": methods.IntegratedGradients(steps=37),
    "expected_gradients": methods.ExpectedGradients(samples=5),
    "smoothgrad": methods.SmoothGrad(samples=9),
}


def operators(graph: onnx.GraphProto) -> list[str]:
    """Names of the Scans of a graph, those inside others behind them."""
    found = []
    for node in (n for n in graph.node if n.op_type == "Scan"):
        (body,) = (a.g for a in node.attribute if a.name == "body")
        found += [node.name, *(f"{node.name} > {inner}" for inner in operators(body))]
    return found


@pytest.mark.parametrize(
    ("memory", "scans"),
    [
        (None, ([], [], [])),
        (2**19, (["steps"], ["steps"], ["steps"])),
        (
            1,
            (
                ["references", "references > steps"],
                ["references", "references > steps"],
                ["steps"],
            ),
        ),
    ],
    ids=["all", "512 KiB", "1 B"],
)
@pytest.mark.parametrize("name", STEPPED)
def test_methods_with_steps(
    name: str,
    memory: int | None,
    scans: tuple[list[str], ...],
    cnn: onnx.ModelProto,
    x: np.ndarray,
    background: np.ndarray,
    tmp_path: Path,
) -> None:
    method = STEPPED[name]
    references = background if method.needs_background else None
    explainer = Explainer(cnn, references, method=method, target="top2", max_memory=memory)
    path = exported(explainer, tmp_path)
    proto = onnx.load(path)
    assert operators(proto.graph) == scans[list(STEPPED).index(name)]
    notes = {p.key: p.value for p in proto.metadata_props}
    assert notes["onnxshap.steps"].endswith("all at a time") == (memory is None)
    plain = Explainer(cnn, references, method=method, target="top2")
    same(models.run(str(path), {"image": x}), plain(x))


@pytest.mark.parametrize("memory", [None, 1])
@pytest.mark.parametrize("name", ["two_inputs", "batch_inside", "attention", "one_number"])
def test_steps_of_other_models(name: str, memory: int | None, tmp_path: Path) -> None:
    model = MODELS[name]()
    x, references = models.samples(model, 3), models.samples(model, 4, seed=1)
    method = methods.IntegratedGradients(steps=64)
    explainer = Explainer(model, references, method=method, target="top1", max_memory=memory)
    path = exported(explainer, tmp_path)
    same(models.run(str(path), x), Explainer(model, references, method=method)(x))


@pytest.mark.parametrize("name", ["steps", "references"])
def test_names_of_the_users_own_do_not_clash(name: str, tmp_path: Path) -> None:
    ends = {"x": (np.float32, ["N", 4])}, {"y": (np.float32, ["N", 3])}
    nodes = [
        models.node("MatMul", ["x", "w"], [f"{name}/final_0"], name),
        models.node("Tanh", [f"{name}/final_0"], ["x/noise/chunks"], "tanh"),
        models.node("Relu", ["x/noise/chunks"], ["weight/chunks"], "relu"),
        models.node("Neg", ["weight/chunks"], ["y"], "neg"),
    ]
    model = models.graph(nodes, *ends, models.weights(1, w=(4, 3)))
    x = models.samples(model, 3)
    for method in ("smoothgrad", "integrated_gradients"):
        references = x["x"][:2] if method != "smoothgrad" else None
        explainer = Explainer(model, references, method=method, target=1, max_memory=1)
        found = models.run(str(exported(explainer, tmp_path)), x)
        same(found, Explainer(model, references, method=method, target=1)(x))


@pytest.mark.parametrize("method", ["x_gradient", "deepshap", "integrated_gradients"])
@pytest.mark.parametrize("memory", [None, 1])
def test_output_of_another_type_than_the_input(
    method: str, memory: int | None, tmp_path: Path
) -> None:
    """Differences of both types were written, and the runtime refused the file."""
    nodes = [
        models.node("MatMul", ["x", "w"], ["h"], "fc"),
        models.node("Relu", ["h"], ["r"], "relu"),
        models.node("Cast", ["r"], ["y"], "cast", to=onnx.TensorProto.DOUBLE),
    ]
    ends = {"x": (np.float32, ["N", 4])}, {"y": (np.float64, ["N", 3])}
    model = models.graph(nodes, *ends, models.weights(1, w=(4, 3)))
    x = models.samples(model, 3)
    references = None if method == "x_gradient" else models.samples(model, 4, seed=1)
    explainer = Explainer(model, references, method=method, target=1, max_memory=memory)
    with warnings.catch_warnings():  # sums of float32 beside float64's tolerance
        warnings.simplefilter("ignore", CompletenessWarning)
        same(models.run(str(exported(explainer, tmp_path)), x), explainer(x))


def test_steps_of_references_that_are_an_input(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    explainer = Explainer(cnn, background, method=STEPPED["integrated_gradients"], target=1)
    path = exported(explainer, tmp_path, "input")
    same(models.run(str(path), {"image": x, "image/reference": background}), explainer(x))


def test_x_gradient_has_base_value_zero_and_a_residual(x: np.ndarray, tmp_path: Path) -> None:
    explainer = Explainer(models.homogeneous(), None, method="x_gradient", target="top2")
    found = models.run(str(exported(explainer, tmp_path)), {"image": x})
    assert set(found) == {"logits", "image/attribution", "base_value", "residual", "target"}
    assert not found["base_value"].any()
    same(found, explainer(x))


def test_a_forced_x_gradient_says_so_in_the_file(
    cnn: onnx.ModelProto, x: np.ndarray, tmp_path: Path
) -> None:
    explainer = Explainer(cnn, None, method=methods.XGradient(force=True), target=0)
    path = exported(explainer, tmp_path)
    assert "residual" not in models.run(str(path), {"image": x})
    notes = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert notes["onnxshap.note"].startswith("completeness is not promised: 2 node(s)")


def test_methods_that_draw_for_what_is_not_known_cannot_be_files(
    cnn: onnx.ModelProto, background: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="'random' draws new numbers for each explicand"):
        Explainer(cnn, None, method="random").export(tmp_path / "r.onnx")
    drawn = Explainer(cnn, background, method="expected_gradients")
    with pytest.raises(InputError, match="'expected_gradients' draws a point for each reference"):
        drawn.export(tmp_path / "e.onnx", background="input")


def test_an_inner_value_and_another_output(
    x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    model = models.cnn(softmax=True)
    explainer = Explainer(model, background, output="logits", inputs="p0", target=1)
    found = models.run(str(exported(explainer, tmp_path)), {"image": x})
    assert {"prob", "p0/attribution"} <= set(found)
    same(found, explainer(x))


def test_control_flow_off_the_path_is_no_matter(
    cnn: onnx.ModelProto, x: np.ndarray, tmp_path: Path
) -> None:
    """A file with a Scan behind the model's own output can itself be explained."""
    many = models.samples(cnn, 12, seed=1)["image"]
    path = exported(Explainer(cnn, many, target=1, max_memory=2**18), tmp_path)
    assert operators(onnx.load(path).graph)
    for method, references in (("deepshap", many[:3]), ("smoothgrad", None)):
        found = Explainer(path, references, method=method, output="logits", target=2)(x)
        expected = Explainer(cnn, references, method=method, target=2)(x)
        np.testing.assert_allclose(
            found.attributions,
            expected.attributions,
            rtol=0,
            atol=1e-5 * np.abs(expected.attributions).max(),
        )


# What is written in it ----------------------------------------------------------------------------


def test_every_node_says_what_it_is_for(
    cnn: onnx.ModelProto, background: np.ndarray, tmp_path: Path
) -> None:
    proto = onnx.load(exported(Explainer(cnn, background), tmp_path))
    notes = {n.name: {p.key: p.value for p in n.metadata_props} for n in proto.graph.node}
    assert len(notes) == len(proto.graph.node), "names of nodes are unique"
    sides = {name: note.get("onnxshap.side") for name, note in notes.items()}
    assert set(sides.values()) == {"forward", "reference", "seed", "backward"}
    assert {n for n, s in sides.items() if s == "forward"} == {n.name for n in cnn.graph.node}
    assert {n for n, s in sides.items() if s == "reference"} <= {
        f"reference/{n.name}" for n in cnn.graph.node
    }
    rules = {}
    for name, note in notes.items():
        if name.startswith("multiplier/") and "onnxshap.of" in note:
            rules[note["onnxshap.of"]] = note["onnxshap.rule"]
            assert name.startswith(f"multiplier/{note['onnxshap.of']}/")
    assert rules == {
        "conv0": "exact-linear",
        "relu0": "rescale",
        "pool0": "max",
        "conv1": "exact-linear",
        "relu1": "rescale",
        "pool1": "exact-linear",
        "flatten": "exact-linear",
        "fc": "exact-linear",
    }


def test_metadata_names_what_went_in_and_nothing_of_the_machine(
    cnn: onnx.ModelProto, background: np.ndarray, tmp_path: Path
) -> None:
    def notes(model: onnx.ModelProto, references: np.ndarray) -> dict[str, str]:
        path = exported(Explainer(model, references), tmp_path)
        assert str(tmp_path).encode() not in path.read_bytes()
        return {p.key: p.value for p in onnx.load(path).metadata_props}

    first = notes(cnn, background)
    assert first["onnxshap.method"] == "deepshap"
    assert first["onnxshap.target"] == "top1"
    for key in ("onnxshap.model", "onnxshap.rules", "onnxshap.references"):
        assert re.fullmatch("[0-9a-f]{64}", first[key])
    assert not any(re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d", v) for v in first.values())
    other = notes(cnn, background[:3])
    assert {k for k in first if first[k] != other[k]} == {"onnxshap.references"}
    biasless = notes(models.cnn(bias=False), background)
    assert {k for k in first if first[k] != biasless[k]} == {"onnxshap.model"}


@pytest.mark.parametrize(
    ("one", "other", "written"),
    [
        (2, np.int64(2), "2"),
        ((2,), (np.int32(2),), "(2,)"),
        ([2, 3], [np.int64(2), np.uint8(3)], "[2, 3]"),
        ([(2,)], [(np.int64(2),)], "[(2,)]"),
        (np.array([1, 0, 0, 0, 0]), np.array([1.0, 0, 0, 0, 0], ">f4"), "'weights (5,)"),
    ],
)
def test_a_targets_dtype_does_not_change_the_file(
    one: object,
    other: object,
    written: str,
    cnn: onnx.ModelProto,
    background: np.ndarray,
    tmp_path: Path,
) -> None:
    files = []
    for target in (one, other):
        path = exported(Explainer(cnn, background, target=target), tmp_path)  # type: ignore[arg-type]
        files.append(path.read_bytes())
    assert files[0] == files[1]
    notes = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert notes["onnxshap.target"].startswith(written)


BUILD = """
import hashlib, sys, tempfile
from pathlib import Path
from onnxshap import Explainer
from tests.helpers import models
for name in ("cnn", "two_inputs", "attention", "squeeze_excite"):
    model = models.SUPPORTED[name]()
    explainer = Explainer(model, models.samples(model, 3, seed=1), target="top2")
    with tempfile.TemporaryDirectory() as folder:
        (path,) = explainer.export(Path(folder) / "e.onnx")
        print(name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_two_processes_write_the_same_bytes() -> None:
    printed = []
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", BUILD],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == 4


def test_exporting_twice_writes_the_same_bytes(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    explainer = Explainer(cnn, background)
    hashes = []
    for _ in range(2):
        hashes.append(hashlib.sha256(exported(explainer, tmp_path).read_bytes()).hexdigest())
        explainer(x)
    assert hashes[0] == hashes[1]


def test_bundled_classifier_grows_by_little_more_than_its_references(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not models.LITE0.exists():
        pytest.skip(f"{models.LITE0.name} is not in notebooks/assets")
    references = np.random.default_rng(0).random((4, 3, 224, 224)).astype(np.float32)
    (path,) = Explainer(models.LITE0, references).export(tmp_path / "e.onnx")
    nodes = len(onnx.load(path).graph.node)
    size, parts = path.stat().st_size, models.LITE0.stat().st_size + references.nbytes
    with capsys.disabled():
        print(
            f"\n  Lite0 and 4 references: {size} bytes, {size / parts:.4f} of both, {nodes} nodes"
        )
    assert size <= 1.05 * parts + 512 * nodes


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["softmax", "cumsum", "mean"])
def test_models_that_mix_samples_are_refused(name: str, tmp_path: Path) -> None:
    model = models.mixing(name)
    explainer = Explainer(model, models.samples(model, 3), target=0)
    with pytest.raises(InputError, match=r"cannot be exported with its explanation: .*one pair at"):
        explainer.export(tmp_path / "e.onnx")
    assert not list(tmp_path.iterdir())


def test_models_without_a_batch_axis_are_refused(tmp_path: Path) -> None:
    model = models.no_batch()
    with pytest.raises(InputError, match="no input has a batch axis"):
        Explainer(model, models.samples(model, 3), target=0).export(tmp_path / "e.onnx")


def test_held_inputs_are_refused_by_name(tmp_path: Path) -> None:
    model = models.two_inputs()
    explainer = Explainer(model, {"a": models.samples(model, 3)["a"]}, target=0)
    with pytest.raises(
        InputError, match=r"the input\(s\) b are held.*; give references for them too"
    ):
        explainer.export(tmp_path / "e.onnx")
    model = models.side_input()
    explainer = Explainer(model, {"x": models.samples(model, 3)["x"]}, target=0)
    with pytest.raises(InputError, match=r"the input\(s\) ids are held.*; give references for"):
        explainer.export(tmp_path / "e.onnx")
    background = {"x": models.samples(model, 3)["x"]}
    explainer = Explainer(model, background, method="integrated_gradients", target=0)
    with pytest.raises(InputError, match=r"ids are held.*cannot move them; export another"):
        explainer.export(tmp_path / "e.onnx")


@pytest.mark.parametrize("target", ["top1", 0])
def test_an_output_of_unknown_size_is_refused(target: str | int, tmp_path: Path) -> None:
    relu = onnx.helper.make_node("Relu", ["x"], ["y"], "relu")
    sizes: list[str | int] = ["N", "width"]
    model = models.graph([relu], {"x": (np.float32, sizes)}, {"y": (np.float32, sizes)}, {})
    x = np.ones((2, 3), np.float32)
    explainer = Explainer(model, x, target=target)
    assert explainer(x).attributions.shape == (2, 3)
    text = 'export: the size of output "y" must be known; one sample\'s output is [?]. Declare'
    with pytest.raises(InputError, match="^" + re.escape(text)):
        explainer.export(tmp_path / "e.onnx")
    assert not list(tmp_path.iterdir())


def test_unknown_form_of_background_is_refused(
    cnn: onnx.ModelProto, background: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match='background=\'file\': there is "embed" and "input"'):
        Explainer(cnn, background).export(tmp_path / "e.onnx", background="file")  # type: ignore[arg-type]


def test_taken_output_names_are_refused(tmp_path: Path) -> None:
    model = models.mlp()
    model.graph.node[-1].output[0] = model.graph.output[0].name = "base_value"
    explainer = Explainer(model, models.samples(model, 2), target=0)
    with pytest.raises(InputError, match='has a value named "base_value" already; rename it'):
        explainer.export(tmp_path / "e.onnx")


def test_a_damaged_target_is_refused_before_a_file_is_written(
    cnn: onnx.ModelProto, background: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="target 9: the output has 5 elements"):
        Explainer(cnn, background, target=9).export(tmp_path / "e.onnx")
    assert not list(tmp_path.iterdir())
