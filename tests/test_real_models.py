"""Trained models from packages: complete, nothing by the universal rule, float32 and float64."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import onnxshap
from onnxshap.methods import build_program, named
from onnxshap.scoreboard.precision import doubled
from tests.helpers import real_models
from tests.helpers.completeness import TOLERANCE, measure
from tests.helpers.gradcheck import evaluator
from tests.helpers.models import Arrays

pytestmark = pytest.mark.full

Dims = list[int | str]


@dataclass(frozen=True)
class Case:
    """What is asked of a model: samples, references, and the number that is explained."""

    x: Arrays
    references: Arrays
    weights: np.ndarray
    """Of one sample's output."""
    sizes: dict[str, Dims] = field(default_factory=dict)
    """Shapes of inputs whose file leaves free what must be known."""
    output: str | None = None
    inputs: str | None = None
    axis: int = 0
    """Where the output counts samples."""
    noise: float = 0.0
    """What the model itself is off in float32 for two samples, of the scale of the gap."""


def one(shape: tuple[int, ...], *place: int) -> np.ndarray:
    """Weights that pick one element."""
    weights = np.zeros(shape, np.float32)
    weights[place] = 1
    return weights


def normal(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def pages(count: int, height: int, width: int, seed: int) -> np.ndarray:
    """Dark strokes on light paper, as OCR nets are fed: [-1, 1], three equal channels."""
    rng = np.random.default_rng(seed)
    page = np.full((count, 1, height, width), 0.9) + 0.05 * rng.normal(size=(count, 1, 1, width))
    for i in range(count):
        for _ in range(12):
            top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
            if rng.random() < 0.5:
                page[i, 0, top : top + 8, left : left + 2] = -0.8
            else:
                page[i, 0, top : top + 2, left : left + 8] = -0.8
    return np.repeat(page, 3, axis=1).astype(np.float32)


def tones(count: int, seed: int) -> np.ndarray:
    """Two seconds of a few decaying tones."""
    rng, t = np.random.default_rng(seed), np.arange(43844) / 22050
    found = np.zeros((count, len(t), 1))
    for i in range(count):
        for _ in range(4):
            pitch, start = 220 * 2 ** (rng.integers(0, 24) / 12), rng.uniform(0, 1.5)
            sounding = np.where(t > start, np.exp(-3 * (t - start)), 0)
            found[i, :, 0] += 0.2 * sounding * np.sin(2 * np.pi * pitch * t)
    return found.astype(np.float32)


def texts(count: int, seed: int) -> np.ndarray:
    """Bytes as magika reads them: the beginning, middle and end of a file, 256 where it ends."""
    rng = np.random.default_rng(seed)
    lines = [b"def f(x):\n    return x\n", b"<html><p>hello</p></html>\n", b"{'a': [1, 2]}\n"]
    found = np.full((count, 2048), 256, np.int32)
    for i in range(count):
        text = b"".join(lines[k] for k in rng.integers(0, 3, 100))[: 600 + 100 * i]
        found[i, : len(text)] = np.frombuffer(text, np.uint8)
    return found


def words(count: int, seed: int) -> Arrays:
    """Numbers of words between [CLS] and [SEP], and which places are filled."""
    ids, mask = np.zeros((count, 12), np.int64), np.zeros((count, 12), np.int64)
    rng = np.random.default_rng(seed)
    for i in range(count):
        length = 12 - 3 * i
        ids[i, :length] = [101, *rng.integers(1996, 9000, length - 2), 102]
        mask[i, :length] = 1
    return {"input_ids": ids, "attention_mask": mask}


MASK = words(2, 0)["attention_mask"]
SOUND = "serving_default_input_2:0"
NOTE = one((172, 88), 40, 30)

CASES: dict[str, Callable[[], Case]] = {
    "magika": lambda: Case(
        {"bytes": texts(2, 1)},
        {"bytes": texts(3, 2)},
        one((214,), 80),
        inputs="jax2tf_get_logits_/pjit_get_logits_/pjit__one_hot_/Cast_1:0",
        noise=2.4e-5,  # its variances are E[x^2] - E[x]^2: off by 1.2e-5 a side, beside float64
    ),
    "minilm_l3": lambda: Case(
        words(2, 1),
        {"input_ids": words(3, 2)["input_ids"]},
        normal(3, 384),
        output="461",
        inputs="/model/model.0/auto_model/embeddings/word_embeddings/Gather_output_0",
    ),
    "minilm_l6": lambda: Case(
        {"inputs_embeds": normal(1, 2, 12, 384, scale=0.05), "attention_mask": MASK},
        {"inputs_embeds": normal(2, 3, 12, 384, scale=0.05)},
        normal(3, 384),
    ),
    "seizure": lambda: Case(
        {"x": normal(1, 2, 100, 24)},
        {"x": normal(2, 3, 100, 24)},
        one((24, 4), 12, 1),
        sizes={"x": ["N", 100, 24]},
        axis=1,
    ),
    "spindle": lambda: Case(
        {"raw_signal": normal(1, 2, 1, 7500), "spectrogram": normal(2, 2, 15, 7500)},
        {"raw_signal": normal(3, 2, 1, 7500), "spectrogram": normal(4, 2, 15, 7500)},
        one((30, 3), 12, 1),
    ),
    "basic_pitch": lambda: Case({SOUND: tones(2, 1)}, {SOUND: tones(2, 2)}, NOTE),
    "basic_pitch, silence": lambda: Case(
        {SOUND: tones(2, 1) * np.array([1, 0], np.float32)[:, None, None]},
        {SOUND: tones(2, 2) * np.array([1, 0], np.float32)[:, None, None]},
        NOTE,
    ),
    "ocr_angle": lambda: Case(
        {"x": pages(2, 48, 192, 1)},
        {"x": pages(3, 48, 192, 2)},
        one((2,), 1),
        sizes={"x": ["N", 3, 48, 192]},
    ),
    "ocr_detector": lambda: Case(
        {"x": pages(2, 64, 64, 1)},
        {"x": pages(2, 64, 64, 2)},
        np.full((1, 64, 64), 1 / 64**2, np.float32),
        sizes={"x": ["N", 3, 64, 64]},
    ),
    "ocr_recogniser": lambda: Case(
        {"x": pages(2, 48, 64, 1)},
        {"x": pages(2, 48, 64, 2)},
        one((8, 18710), 3, 0),
        sizes={"x": ["N", 3, 48, 64]},
    ),
}


@contextmanager
def skipped_where_not_to_be_had() -> Iterator[None]:
    try:
        yield
    except real_models.Unavailable as error:
        pytest.skip(str(error))


def loaded(name: str, sizes: dict[str, Dims]) -> onnx.ModelProto:
    """A real model, its inputs of the sizes given."""
    with skipped_where_not_to_be_had():
        model = onnx.load(real_models.path(name.partition(",")[0]))
    for value in model.graph.input:
        if value.name in sizes:
            shape = value.type.tensor_type.shape
            shape.ClearField("dim")
            for size in sizes[value.name]:
                shape.dim.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})
            for output in model.graph.output:  # the sizes declared are of other ones
                for size in output.type.tensor_type.shape.dim:
                    size.Clear()
    return model


@pytest.mark.parametrize("name", CASES)
def test_complete_by_rules_of_their_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]()
    model = loaded(name, case.sizes)
    report = onnxshap.check(model, output=case.output, inputs=case.inputs)
    assert report.ok
    assert report.named("fallback") == []
    assert report.batch.startswith("samples stay separate"), report.batch
    begun = time.perf_counter()
    gap = measure(
        model,
        case.x,
        case.references,
        case.weights,
        output=case.output,
        inputs=case.inputs,
        axis=case.axis,
    )
    with capsys.disabled():
        seconds = time.perf_counter() - begun
        print(f"\n  {name}: {len(report.nodes)} nodes, {gap}, {seconds:.0f} s", end=" ")
    assert gap.scaled <= TOLERANCE["float32"] + case.noise
    assert gap.explanation.residual is not None


@pytest.mark.parametrize("name", CASES)
def test_complete_in_float64(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One explicand and two references by the reference evaluator, where rounding hides nothing."""
    case = CASES[name]()
    program = build_program(
        onnxshap.load(in_float64(loaded(name, case.sizes))),
        named("deepshap"),
        output=case.output,
        inputs=None if case.inputs is None else [case.inputs],
        varying=list(case.references),
    )
    feeds = {name: wide(a[:1]) for name, a in case.x.items()}
    feeds["seed"] = wide(case.weights)[None, None]
    for own, twin in program.references.items():
        held = np.repeat(case.x[own][:1], 2, axis=0)
        feeds[twin] = wide(case.references.get(own, held)[:2])
    begun = time.perf_counter()
    found = evaluator(ir.serde.serialize_model(program.model))(feeds)
    seconds = time.perf_counter() - begun
    f, f_ref = (
        (np.moveaxis(found[str(side)], case.axis, 0) * case.weights).reshape(-1, case.weights.size)
        for side in (program.output, program.reference_output)
    )
    difference = f.sum(1) - f_ref.sum(1)
    each = [found[end].reshape(2, -1) for end in program.contributions.values()]
    gap = np.abs(sum(a.sum(1) for a in each) - difference)
    scale = np.maximum(sum(np.abs(a).sum(1) for a in each), np.abs(difference))
    with capsys.disabled():
        print(f"\n  {name}: float64, {(gap / scale).max():.1e}, {seconds:.0f} s", end=" ")
    assert (gap / scale).max() <= TOLERANCE["float64"]


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model for the reference evaluator, whose normalisations know no type to stash in."""
    scales = [name for n in model.graph.node if n.op_type == "Resize" for name in n.input[1:]]
    model = doubled(model, keep=scales)
    for node in model.graph.node:
        if node.op_type == "LayerNormalization":
            kept = [a for a in node.attribute if a.name != "stash_type"]
            del node.attribute[:]
            node.attribute.extend(kept)
    return model


def wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype == np.float32 else array
