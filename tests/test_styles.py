"""The same networks as exporter after exporter writes them: `tests/fixtures/styles/make.py`."""

import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import Explainer, Explanation
from tests.helpers import models
from tests.helpers.compare import close

FOLDER = Path(__file__).parent / "fixtures" / "styles"
FILES = sorted(path.stem for path in FOLDER.glob("*.onnx"))
NETS = {net: list(files) for net, files in groupby(FILES, lambda name: name.partition("_")[0])}
SHAPES = {
    "cnn": (3, 16, 16),
    "tokens": (4, 8),
    "encoder": (4, 8),
}  # of one sample, channels first; others: 12 numbers
OLD = "torchscript"  # the style that every network has
PATHS = rb"/(root|home|tmp|usr|opt|mnt|Users|work)/|[A-Z]:\\|site-packages|\.py\b|File \""


def samples(net: str, count: int, seed: int) -> np.ndarray:
    shape = (count, *SHAPES.get(net, (12,)))
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def loaded(file: str) -> tuple[onnxshap.Model, str, bool]:
    """A fixture, its float output, and whether its pictures have the channels last."""
    model = onnxshap.load(FOLDER / f"{file}.onnx")
    graph = model.proto.graph
    sizes = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    floats = [
        o.name for o in graph.output if o.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]
    return model, floats[-1], len(sizes) == 4 and sizes[-1] == 3


def explained(file: str) -> Explanation:
    """Explain as every other style of the same network; attributions have the channels first."""
    model, output, last = loaded(file)
    net = file.partition("_")[0]
    x, background = samples(net, 3, 0), samples(net, 8, 1)
    if last:
        x, background = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, background))
    found = Explainer(model, background, target=[0, 1][: 1 + (net != "regressor")], output=output)(
        x
    )
    return replace(found, attributions=np.moveaxis(found.attributions, -1, 2)) if last else found


@pytest.fixture(scope="module")
def of_torch() -> dict[str, Explanation]:
    return {net: explained(f"{net}_{OLD}") for net in NETS}


def test_every_network_comes_in_several_styles() -> None:
    assert all(f"{net}_{OLD}" in files and len(files) > 1 for net, files in NETS.items())
    written = {onnx.load(FOLDER / f"{f}.onnx").producer_name for f in FILES}
    assert written == {"pytorch", "skl2onnx", "tf2onnx"}
    assert {f.partition("_")[2] for f in NETS["cnn"]} == {
        "dynamo",
        "keras_tensorflow",
        "keras_torch",
        "tf2onnx",
        "torchscript",
    }


def test_fixtures_are_small_and_hold_nothing_of_the_machine() -> None:
    assert sum(p.stat().st_size for p in FOLDER.iterdir() if p.is_file()) < 2e6
    for file in FILES:
        data = (FOLDER / f"{file}.onnx").read_bytes()
        assert not re.search(PATHS, data), file
        model = onnx.load_from_string(data)
        assert not model.doc_string
        assert not model.metadata_props
        for node in model.graph.node:
            assert not node.doc_string
            assert not node.metadata_props


@pytest.mark.parametrize("file", FILES)
def test_check_is_ok(file: str) -> None:
    model, output, _ = loaded(file)
    report = onnxshap.check(model, output=output)
    assert report.ok
    assert not report.named("fallback")
    assert report.closed
    assert report.batch.startswith("samples stay separate"), report.batch


@pytest.mark.parametrize("file", FILES)
def test_same_weights_give_same_attributions(
    file: str, of_torch: dict[str, Explanation], capsys: pytest.CaptureFixture[str]
) -> None:
    expected, found = of_torch[file.partition("_")[0]], explained(file)
    assert found.residual is not None
    total = np.abs(found.attributions).reshape(*found.outputs.shape, -1).sum(-1)
    scale = np.maximum.reduce([np.abs(found.outputs), np.abs(found.base_values), total])
    completeness = np.abs(found.residual / scale).max()
    assert completeness <= 1e-5
    close(found.outputs, expected.outputs, 1e-5)
    close(found.base_values, expected.base_values, 1e-5)
    close(found.attributions, expected.attributions, 1e-4)
    gap = np.abs(found.attributions - expected.attributions).max()
    gap /= np.abs(expected.attributions).max()
    with capsys.disabled():
        print(f"\n  {file}: {completeness:.1e} incomplete, {gap:.1e} from {OLD}", end=" ")


@pytest.mark.parametrize("file", FILES)
def test_each_style_is_exported_with_its_explanation(file: str, tmp_path: Path) -> None:
    model, output, last = loaded(file)
    net = file.partition("_")[0]
    x, background = samples(net, 2, 0), samples(net, 3, 1)
    if last:
        x, background = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, background))
    explainer = Explainer(model, background, target=0, output=output)
    (path,) = explainer.export(tmp_path / "explained.onnx")
    name = model.proto.graph.input[0].name
    written = models.run(str(path), {name: x})
    close(written[f"{name}/attribution"], explainer(x).attributions, 1e-5)
    for own, given in models.run(model.proto, {name: x}).items():
        np.testing.assert_allclose(written[own], given, rtol=1e-5, atol=1e-6)
