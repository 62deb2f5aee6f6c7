"""The bundled classifier, from two exporters: the size and the mess of a real model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import Explainer, Explanation
from tests.helpers import models

pytestmark = pytest.mark.skipif(
    not models.LITE0.exists(), reason=f"{models.LITE0.name} is not in notebooks/assets"
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def graphs() -> dict[str, onnx.ModelProto]:
    plain = onnx.load(models.LITE0)
    return {"plain": plain, "messy": models.messy(plain)}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Return smooth images in the classifier's range."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(6, 3, 8, 8)).astype(np.float32)
    return coarse.repeat(28, axis=2).repeat(28, axis=3)


@pytest.fixture(scope="module")
def explained(
    graphs: dict[str, onnx.ModelProto], images: np.ndarray
) -> dict[str, tuple[Explainer, Explanation]]:
    found = {}
    for name, model in graphs.items():
        explainer = Explainer(model, images[2:], target="top2")
        found[name] = explainer, explainer(images[:2], per_reference=True)
    return found


def test_the_messy_graph_computes_the_same(
    graphs: dict[str, onnx.ModelProto], images: np.ndarray
) -> None:
    assert len(graphs["messy"].graph.node) > 4 * len(graphs["plain"].graph.node)
    plain, messy = (models.run(g, {"input": images})["logits"] for g in graphs.values())
    np.testing.assert_allclose(messy, plain, atol=1e-5 * np.abs(plain).max())


@pytest.mark.parametrize("name", ["plain", "messy"])
def test_every_node_has_a_rule_of_its_own(name: str, graphs: dict[str, onnx.ModelProto]) -> None:
    report = onnxshap.check(graphs[name])
    assert report.ok
    assert report.closed
    assert not report.named("fallback")
    assert not report.named("unsupported")
    assert "samples stay separate" in report.batch
    assert report.families["rescale"] == 33  # Clips
    assert sum("Conv" in n.operator for n in report.named("exact-linear")) == 49


@pytest.mark.parametrize("name", ["plain", "messy"])
def test_completeness_of_the_worst_pair(
    name: str,
    explained: dict[str, tuple[Explainer, Explanation]],
    graphs: dict[str, onnx.ModelProto],
    images: np.ndarray,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = explained[name][1]
    f = models.run(graphs[name], {"input": images})["logits"].astype(np.float64)
    np.testing.assert_array_equal(found.targets, np.argsort(-f[:2], axis=1)[:, :2])
    f_x = np.take_along_axis(f[:2], found.targets, axis=1)  # [N, K]
    f_r = f[2:][:, found.targets].transpose(1, 2, 0)  # [N, K, M]
    pairs = found.per_reference.sum((-1, -2, -3), dtype=np.float64)
    total = np.abs(found.per_reference).sum((-1, -2, -3), dtype=np.float64)
    gap = np.abs(pairs - (f_x[..., None] - f_r))
    scale = np.maximum.reduce([np.abs(f_x[..., None]) + 0 * f_r, np.abs(f_r), total])
    worst, mean = (gap / scale).max(), np.abs(found.residual)
    with capsys.disabled():
        print(
            f"\n  Lite0 {name}: worst pair {worst:.1e} of the scale, {gap.max():.1e} logits; "
            f"mean over references {mean.max():.1e} logits"
        )
    assert worst <= 1e-5
    scale = np.maximum(np.abs(f_x), np.abs(found.attributions).sum((-1, -2, -3)))
    assert (mean <= 1e-5 * scale).all()


def test_both_exports_give_the_same_attributions(
    explained: dict[str, tuple[Explainer, Explanation]], capsys: pytest.CaptureFixture[str]
) -> None:
    plain, messy = (explained[name][1].attributions for name in ("plain", "messy"))
    gap = np.abs(plain - messy).max() / np.abs(plain).max()
    with capsys.disabled():
        print(f"\n  Lite0 plain against messy: {gap:.1e} of the largest attribution")
    assert gap <= 1e-4


def test_explicand_equal_to_its_reference(
    explained: dict[str, tuple[Explainer, Explanation]], images: np.ndarray
) -> None:
    same = explained["plain"][0].with_background(images[:1])(images[:1])
    assert (same.attributions == 0).all()
    # Two sessions of one model differ in the last bits where the runtime fuses other nodes.
    assert (np.abs(same.residual) <= 16 * np.finfo("f").eps * np.abs(same.outputs)).all()


# Memory -------------------------------------------------------------------------------------------

PEAK = """
import json, sys, threading, time
import numpy as np, psutil
import onnx, onnxruntime
from onnxshap import Explainer
process, peak, stop = psutil.Process(), 0, threading.Event()
def resident():
    info = process.memory_info()
    return info.rss
idle = resident()
def watch():
    global peak
    while not stop.is_set():
        peak = max(peak, resident())
        time.sleep(0.005)
thread = threading.Thread(target=watch)
thread.start()
references = np.load(sys.argv[2], mmap_mode="r")[: int(sys.argv[3])]
x = np.array(references[:1]) * 0.5
start = time.monotonic()
explained = Explainer(sys.argv[1], references, max_memory=2**30)(x)
took = time.monotonic() - start
stop.set()
thread.join()
assert explained.references == len(references)
print(json.dumps({"peak": peak - idle, "seconds": took}))
"""


@pytest.mark.full
def test_memory_does_not_grow_with_the_number_of_references(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "references.npy"
    shape = (500, 3, 224, 224)
    many = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    rng = np.random.default_rng(1)
    for row in range(500):
        coarse = rng.normal(size=(3, 8, 8)).astype(np.float32)
        many[row] = coarse.repeat(28, axis=1).repeat(28, axis=2)
    many.flush()
    del many
    measured = {}
    for count in (20, 500):
        command = [sys.executable, "-c", PEAK, str(models.LITE0), str(path), str(count)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        measured[count] = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        for count, found in measured.items():
            print(
                f"\n  Lite0, {count} references, max_memory 1 GiB: "
                f"{found['peak'] / 2**30:.2f} GiB over idle, {found['seconds']:.0f} s",
                end="",
            )
        print()
    peaks = [found["peak"] for found in measured.values()]
    assert max(peaks) <= 3 * 2**30
    assert peaks[1] <= 1.2 * peaks[0]
