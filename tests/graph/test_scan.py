"""A one-shot file whose references are run in a Scan: same numbers, bounded memory."""

from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxshap
from onnxshap.oneshot import ChunkSizes
from tests.helpers import models

TARGETS = {
    "top class": "top1",
    "two classes": [0, 3],
    "weights": np.array([0.5, -1.0, 2.0, 0.0, 1.0]),
}


def run(path, feeds):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("references", [1, 6, 7])
def test_scanned_references_give_the_explainers_arrays(tmp_path, target, references) -> None:
    model = models.cnn()
    name = model.graph.input[0].name
    x = models.samples(model, 3)[name]
    background = models.samples(model, references, seed=1)[name]
    # Too little memory to keep the reference side: it has to be scanned.
    explainer = onnxshap.Explainer(model, background, target=target, max_memory=1)
    explainer.export(tmp_path / "scanned.onnx")
    file = onnx.load(tmp_path / "scanned.onnx")
    onnx.checker.check_model(file, full_check=True)
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    assert metadata["onnxshap.reference_side"].startswith("scanned, ")
    assert [n.op_type for n in file.graph.node].count("Scan") == 1

    explanation = explainer(x)
    found = run(tmp_path / "scanned.onnx", {name: x})
    largest = np.abs(explanation.attributions).max()
    gap = np.abs(found[f"{name}/attribution"] - explanation.attributions).max()
    assert gap <= 1e-5 * largest
    assert np.allclose(found["base_value"], explanation.base_values, atol=1e-5)
    assert np.abs(found["residual"]).max() <= 1e-5 * np.abs(explanation.outputs).max()
    assert ("standard_error" in found) == (references > 1)
    if references > 1:
        gap = np.abs(found["standard_error"] - explanation.standard_error).max()
        assert gap <= 1e-5 * largest


def test_several_inputs_are_scanned_together(tmp_path) -> None:
    model = models.two_inputs()
    x, background = models.samples(model, 2), models.samples(model, 4, seed=1)
    explainer = onnxshap.Explainer(model, background, target=0, max_memory=1)
    explainer.export(tmp_path / "scanned.onnx")
    found, explanation = run(tmp_path / "scanned.onnx", x), explainer(x)
    file = onnx.load(tmp_path / "scanned.onnx")
    assert "Scan" in [n.op_type for n in file.graph.node]
    for name, array in explanation.attributions.items():
        gap = np.abs(found[f"{name}/attribution"] - array).max()
        assert gap <= 1e-5 * np.abs(array).max()


def costs(steps: int | None = None) -> SimpleNamespace:
    own = None if steps is None else SimpleNamespace(weights=np.full(steps, 1 / steps))
    return SimpleNamespace(cut_bytes=1000, pair_bytes=500, program=SimpleNamespace(steps=own))


def test_references_that_fit_are_folded() -> None:
    assert ChunkSizes.of(10, costs(), max_memory=30_000) == ChunkSizes()
    assert ChunkSizes.of(10, costs(), max_memory=29_999).references is not None


@pytest.mark.parametrize(
    ("references", "fits", "chunk"), [(12, 2, 2), (500, 6, 5), (499, 6, 1), (1, 0, 1)]
)
def test_chunks_divide_the_references(references: int, fits: int, chunk: int) -> None:
    one = 3 * costs().cut_bytes + costs().pair_bytes
    found = ChunkSizes.of(references, costs(), max_memory=4 * one * fits + 1)
    assert found == ChunkSizes(references=chunk)


@pytest.mark.parametrize(
    ("references", "points", "expected"),
    [
        (0, 128, ChunkSizes()),
        (0, 127, ChunkSizes(steps=64)),  # 128 steps in two even parts, not in 127 and 1
        (4, 512, ChunkSizes()),
        (4, 40, ChunkSizes(steps=10)),
        (4, 3, ChunkSizes(references=2, steps=1)),
        (4, 0, ChunkSizes(references=1, steps=1)),
    ],
)
def test_chunks_of_steps_fit_the_memory(references: int, points: int, expected: ChunkSizes) -> None:
    plain = costs(128)
    plain.cut_bytes = 0
    assert (
        ChunkSizes.of(references, plain, max_memory=4 * plain.pair_bytes * points + 1) == expected
    )
