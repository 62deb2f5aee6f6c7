"""On an NVIDIA GPU: the CPU's numbers, complete, and on the device from end to end.

`python -m pytest tests/cuda` where onnxshap[cuda] is installed; no part of the test run, which has
no GPU. Every bound is printed beside what was measured.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxshap import Explainer, Explanation
from onnxshap.methods import ExpectedGradients, IntegratedGradients, Method, SmoothGrad, named
from onnxshap.runtime.providers import CPU, CUDA, choose, cuda_device_present
from onnxshap.runtime.workers import Stopped
from tests.helpers import models
from tests.helpers.models import Arrays
from tests.helpers.placement import Ran, profiled

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        CUDA not in ort.get_available_providers() or not cuda_device_present(),
        reason="no CUDA device answers, or this onnxruntime has no CUDA provider",
    ),
]

DEVICE = "cuda"
GPU = [CUDA, CPU]
COMPLETE = 2e-5
"""Of the largest of |f(x)|, |f(r)| and the sum of absolute attributions, as documented for CUDA."""
AGREES = 1e-4
"""Of the largest attribution: two runtimes round differently, and sum in another order."""
OVER_STEPS = 3e-2
"""The same for an integral: a gradient jumps at a kink, so one point of it that rounding puts on
the other side moves an attribution by that point's weight."""
LITE0 = {"deepshap": 1e-3, "gradient": 3e-2, "integrated_gradients": OVER_STEPS}
"""The same for the bundled classifier: a million activations, some of them at a kink. On the CPU
its plain and its blocked kernels differ by 9e-5 in DeepSHAP and by 6e-3 in Integrated Gradients."""
SMALL = 2**12  # bytes: references in chunks of one or two
TARGETS = [2, 0]

FIXTURES = Path(__file__).parents[1] / "fixtures" / "xdnn"
MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    name: models.SUPPORTED[name]
    for name in (
        "cnn",
        "cnn with softmax",
        "densenet",  # BatchNormalization
        "squeeze_excite",
        "mlp",
        "attention",
        "two_inputs",
    )
} | {"residual": lambda: onnx.load(FIXTURES / "residual.onnx")}
BIAS_FREE: dict[str, Callable[[], onnx.ModelProto]] = {
    "homogeneous": models.homogeneous,
    "x_residual": lambda: onnx.load(FIXTURES / "x_residual.onnx"),
}
METHODS: dict[str, Method] = {
    "deepshap": named("deepshap"),
    "expected_gradients": ExpectedGradients(samples=3),
    "gradient": named("gradient"),
    "input_x_gradient": named("input_x_gradient"),
    "integrated_gradients": IntegratedGradients(steps=16),
    "smoothgrad": SmoothGrad(samples=4),
}
ALL = MODELS | BIAS_FREE
CASES = [(name, method) for name in MODELS for method in METHODS]
CASES += [(name, method) for name in BIAS_FREE for method in ("deepshap", "x_gradient")]

few_steps = pytest.mark.filterwarnings("ignore::onnxshap.CompletenessWarning")
lite0 = pytest.mark.skipif(
    not models.LITE0.exists(), reason=f"{models.LITE0.name} is not in notebooks/assets"
)
Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what prints a measurement whether or not the test passes."""

    def line(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", end="", flush=True)

    return line


def explainer(
    model: onnx.ModelProto, method: str, providers: list[str], **options: Any
) -> Explainer:
    how = METHODS.get(method) or named(method)
    references = models.samples(model, 5, seed=1) if how.needs_background else None
    return Explainer(
        model, references, **{"target": TARGETS} | options, method=how, providers=providers
    )


def parts(arrays: np.ndarray | Arrays) -> Arrays:
    return arrays if isinstance(arrays, dict) else {"": arrays}


def apart(found: np.ndarray | Arrays, expected: np.ndarray | Arrays) -> float:
    """Largest difference over the largest expected value."""
    own, other = parts(found), parts(expected)
    assert own.keys() == other.keys()
    assert all(own[k].shape == other[k].shape for k in own)
    largest = max(np.abs(a).max() for a in other.values())
    assert 0 < largest < np.inf
    return float(max(np.abs(own[k] - other[k]).max() for k in own) / largest)


def gap(explained: Explanation) -> float:
    """What the sum of attributions misses, over the scale that completeness is promised on."""
    base = explained.base_values
    assert base is not None
    lead = explained.outputs.ndim
    sums = [
        np.abs(a).sum(tuple(range(lead, a.ndim)), dtype=np.float64)
        for a in parts(explained.attributions).values()
    ]
    scale = np.maximum.reduce([np.abs(explained.outputs), np.abs(base), sum(sums)])
    return float((np.abs(explained.sums() - (explained.outputs - base)) / scale).max())


def images(count: int) -> np.ndarray:
    """Smooth images in the bundled classifier's range."""
    coarse = np.random.default_rng(0).normal(size=(count, 3, 8, 8)).astype(np.float32)
    return coarse.repeat(28, axis=2).repeat(28, axis=3)


def test_cuda_is_the_default() -> None:
    assert choose(None) == GPU
    model = models.mlp()
    explain = Explainer(model, models.samples(model, 2))
    explain(models.samples(model, 1))
    assert explain._engine.compiled.device == DEVICE


# Completeness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_every_pair_is_complete(name: str, say: Say) -> None:
    model = ALL[name]()
    explain = explainer(model, "deepshap", GPU)
    x, references = models.samples(model, 3), models.samples(model, 5, seed=1)
    rows = [{k: a[m : m + 1] for k, a in references.items()} for m in range(5)]
    pair = max(gap(explain.with_background(row)(x)) for row in rows)
    mean = gap(explain(x))
    say(f"{name}: worst pair {pair:.1e}, mean {mean:.1e} of the scale ({COMPLETE:.0e})")
    assert explain._engine.compiled.device == DEVICE
    assert max(pair, mean) <= COMPLETE


@pytest.mark.parametrize("name", BIAS_FREE)
def test_x_gradient_is_complete(name: str, say: Say) -> None:
    model = BIAS_FREE[name]()
    found = gap(explainer(model, "x_gradient", GPU)(models.samples(model, 3)))
    say(f"{name}, x_gradient: {found:.1e} of the scale ({COMPLETE:.0e})")
    assert found <= COMPLETE


# Agreement ----------------------------------------------------------------------------------------


@few_steps
@pytest.mark.parametrize(("name", "method"), CASES)
def test_cuda_agrees_with_the_cpu(name: str, method: str, say: Say) -> None:
    model = ALL[name]()
    x = models.samples(model, 3)
    found, expected = (explainer(model, method, p)(x) for p in (GPU, [CPU]))
    far = apart(found.attributions, expected.attributions)
    outputs = apart(found.outputs, expected.outputs)
    allowed = OVER_STEPS if method == "integrated_gradients" else AGREES
    say(f"{name}, {method}: attributions {far:.1e} ({allowed:.0e}), outputs {outputs:.1e} apart")
    assert far <= allowed
    assert outputs <= 1e-5
    for more in ("base_values", "standard_error"):
        own, other = getattr(found, more), getattr(expected, more)
        assert (own is None) == (other is None)
        if own is not None and method != "x_gradient":  # whose base value is 0
            assert apart(own, other) <= allowed


@lite0
@few_steps
@pytest.mark.parametrize("method", LITE0)
def test_the_bundled_classifier(method: str, say: Say) -> None:
    model, x = onnx.load(models.LITE0), images(5)
    how = METHODS[method]
    references = x[2:] if how.needs_background else None
    found, expected = (
        Explainer(model, references, method=how, target=[282, 7], providers=p)(x[:2])
        for p in (GPU, [CPU])
    )
    far = apart(found.attributions, expected.attributions)
    say(f"Lite0, {method}: attributions {far:.1e} apart ({LITE0[method]:.0e})")
    assert far <= LITE0[method]
    if method == "deepshap":
        missed = gap(found)
        say(f"Lite0, {method}: {missed:.1e} of the scale ({COMPLETE:.0e})")
        assert missed <= COMPLETE


# Placement ----------------------------------------------------------------------------------------


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Callable[[], list[Ran]]]:
    """Return what lists the nodes that ran in the sessions made since the test began."""
    with profiled(tmp_path) as nodes:
        yield nodes


def on_the_device(what: str, nodes: list[Ran], say: Say) -> None:
    """Fail with the operators that ran on the CPU, or copied to and from it, and need not."""
    away = [n for n in nodes if n.off_the_device]
    copies = [n for n in away if n.copies]
    offenders = Counter(
        (n.op, *(f"{dtype}[{count}]" for dtype, count in n.outputs))
        for n in away
        if not n.is_shape_arithmetic
    )
    say(
        f"{what}: {len(nodes) - len(away)} nodes on {DEVICE}, {len(away) - len(copies)} on the "
        f"CPU, {len(copies)} copies"
    )
    assert not offenders, f"not on {DEVICE}: {offenders.most_common()}"
    assert len(nodes) > len(away)


@few_steps
@pytest.mark.parametrize(("name", "method"), CASES)
def test_only_shape_arithmetic_runs_on_the_cpu(
    name: str, method: str, profile: Callable[[], list[Ran]], say: Say
) -> None:
    model = ALL[name]()
    explainer(model, method, GPU)(models.samples(model, 3))
    on_the_device(f"{name}, {method}", profile(), say)


@lite0
def test_placement_of_the_bundled_classifier(profile: Callable[[], list[Ran]], say: Say) -> None:
    x = images(3)
    explain = Explainer(models.LITE0, x[1:], target="top2", providers=GPU)
    explain(x[:1])
    on_the_device("Lite0, deepshap", profile(), say)


def test_nodes_on_the_cpu_are_seen(profile: Callable[[], list[Ran]], say: Say) -> None:
    """The test of the test."""
    model = models.cnn()
    explainer(model, "deepshap", [CPU])(models.samples(model, 3))
    nodes = profile()
    assert {n.provider for n in nodes} == {CPU}
    assert {n.op for n in nodes if not n.is_shape_arithmetic} >= {"Conv", "ConvTranspose", "Mul"}
    with pytest.raises(AssertionError, match=f"not on {DEVICE}: .*'Conv', 'float"):
        on_the_device("cnn on the CPU, which must be seen", nodes, say)


# The file -----------------------------------------------------------------------------------------


def run(path: Path, feeds: Arrays) -> Arrays:
    """Outputs of a one-shot file on the device, TF32 off, as the explainer runs it."""
    ort.preload_dlls()
    session = ort.InferenceSession(str(path), providers=[(CUDA, {"use_tf32": "0"}), CPU])
    assert session.get_providers()[0] == CUDA
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


FILES = [(name, "deepshap", None) for name in ("cnn", "densenet", "mlp", "attention", "two_inputs")]
FILES += [("cnn", "deepshap", SMALL), ("homogeneous", "x_gradient", None)]
FILES += [("cnn", "integrated_gradients", None), ("mlp", "integrated_gradients", SMALL)]


@few_steps
@pytest.mark.parametrize(("name", "method", "memory"), FILES)
def test_the_file_gives_the_explainers_arrays(
    name: str,
    method: str,
    memory: int | None,
    profile: Callable[[], list[Ran]],
    say: Say,
    tmp_path: Path,
) -> None:
    model = ALL[name]()
    x = models.samples(model, 3)
    explain = explainer(model, method, GPU, max_memory=memory)
    (path,) = explain.export(tmp_path / "explained.onnx")
    found, expected = run(path, x), explain(x)
    own = {s: found[f"{s or next(iter(x))}/attribution"] for s in parts(expected.attributions)}
    far = apart(own, parts(expected.attributions))
    chunked = any(n.op_type == "Scan" for n in onnx.load(path).graph.node)
    on_the_device(f"file of {name}, {method}{', Scan' * chunked}: {far:.1e} apart", profile(), say)
    assert chunked == (memory is not None)
    assert far <= AGREES
    assert apart(found["base_value"] + 1, expected.base_values + 1) <= AGREES  # + 1: it may be 0
    if method != "integrated_gradients":
        scale = np.maximum(np.abs(expected.outputs), sum(map(_total, own.values())))
        assert (np.abs(found["residual"]) <= COMPLETE * scale).all()


def _total(attributions: np.ndarray) -> np.ndarray:
    """Sum of absolute attributions [N, K, *x] over features."""
    total: np.ndarray = np.abs(attributions).reshape(*attributions.shape[:2], -1).sum(-1)
    return total


# Chunks, kept references, targets -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn", "attention", "two_inputs"])
def test_a_stream_ends_at_the_call(name: str, say: Say) -> None:
    model = ALL[name]()
    x = models.samples(model, 3)
    whole, chunked = (explainer(model, "deepshap", GPU, max_memory=m) for m in (None, SMALL))
    expected, partials = whole(x), list(chunked.stream(x))
    assert len(partials) > 2
    assert [p.complete for p in partials] == [False] * (len(partials) - 1) + [True]
    far = apart(partials[-1].attributions, expected.attributions)
    again = apart(chunked(x).attributions, partials[-1].attributions)
    say(f"{name}: {len(partials)} partials, {far:.1e} from all at once, {again:.1e} from the call")
    assert max(far, again) <= AGREES
    assert max(gap(p) for p in partials) <= COMPLETE


def test_references_stay_on_the_device() -> None:
    model = models.cnn()
    x = models.samples(model, 3)
    explain = explainer(model, "deepshap", GPU)
    first = explain(x)
    compiled, background = explain._engine.compiled, explain._background
    assert background is not None
    kept = background.kept(compiled, 0, 5)
    assert kept is not None
    assert {v.device_name().lower() for v in kept.values.values()} == {DEVICE}
    runs = compiled.runs("reference")
    second = explain.with_target(TARGETS)(x)
    assert compiled.runs("reference") == runs > 0
    assert apart(second.attributions, first.attributions) <= AGREES


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_several_targets_equal_one_at_a_time(name: str, say: Say) -> None:
    model = ALL[name]()
    x = models.samples(model, 3)
    explain = explainer(model, "deepshap", GPU)
    together = parts(explain(x).attributions)
    for k, target in enumerate(TARGETS):
        alone = parts(explain.with_target(target)(x).attributions)
        far = apart({s: a[:, k] for s, a in together.items()}, alone)
        say(f"{name}, target {target} of {TARGETS}: {far:.1e} apart ({AGREES:.0e})")
        assert far <= AGREES
    top = explain.with_target("top2")(x)
    expected = explainer(model, "deepshap", [CPU], target="top2")(x)
    np.testing.assert_array_equal(top.targets, expected.targets)
    assert apart(top.attributions, expected.attributions) <= AGREES


def test_as_many_targets_as_references(say: Say) -> None:
    """[2, N, 1] cotangents by [1, N, 2] factors: see tests/autodiff/test_stretched.py."""
    nodes = [
        models.node("MatMul", ["x", "w"], ["rows"], "rows"),
        models.node("Transpose", ["rows"], ["columns"], "turn", perm=[0, 2, 1]),
        models.node("MatMul", ["rows", "columns"], ["scores"], "scores"),
        models.node("Flatten", ["scores"], ["flat"], "flatten"),
        models.node("MatMul", ["flat", "last"], ["y"], "last"),
    ]
    ends: tuple[Any, Any] = {"x": (np.float32, ["N", 4, 3])}, {"y": (np.float32, ["N", 3])}
    model = models.graph(nodes, *ends, models.weights(5, w=(3, 3), last=(16, 3)))
    x, references = models.samples(model, 3), models.samples(model, 2, seed=1)
    found, expected = (
        Explainer(model, references, target=TARGETS, providers=p)(x) for p in (GPU, [CPU])
    )
    far = apart(found.attributions, expected.attributions)
    say(f"2 targets and 2 references: {far:.1e} apart ({AGREES:.0e})")
    assert far <= AGREES
    assert gap(found) <= COMPLETE


# Stopping -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slow() -> tuple[Explainer, np.ndarray]:
    """Return an explainer of thousands of small runs, after its sessions are made."""
    model = models.deep(layers=12, width=768)
    draw = np.random.default_rng(0)
    references = draw.normal(size=(20_000, 768)).astype(np.float32)
    x = draw.normal(size=(4, 768)).astype(np.float32)
    explain = Explainer(model, references, providers=GPU, max_memory=2**22)
    explain.with_background(references[:2])(x[:1])
    return explain, x


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0])
def test_closing_a_stream_ends_it_at_once(
    delay: float, slow: tuple[Explainer, np.ndarray], say: Say
) -> None:
    explain, x = slow
    stream = explain.stream(x)
    seen: list[Explanation] = []
    thread = threading.Thread(target=lambda: seen.extend(stream))
    thread.start()
    time.sleep(delay)
    start = time.monotonic()
    stream.close()
    thread.join(60)
    took = time.monotonic() - start
    say(f"closed after {delay} s: {len(seen)} partials, over in {took:.3f} s")
    assert not thread.is_alive()
    assert took < 0.5
    assert not any(p.complete for p in seen)


def test_stop_ends_a_call_and_the_explainer_lives(
    slow: tuple[Explainer, np.ndarray], say: Say
) -> None:
    explain, x = slow
    raised: list[BaseException] = []

    def call() -> None:
        try:
            explain(x)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    explain.stop()
    thread.join(60)
    took = time.monotonic() - start
    say(f"stopped: over in {took:.3f} s")
    assert took < 0.5
    assert [type(error) for error in raised] == [Stopped]
    again = explain.with_background(x[1:3])(x[:2])
    assert again.complete
    assert gap(again) <= COMPLETE
