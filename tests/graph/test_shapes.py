"""Inferred sizes and contents, against what onnxruntime returns."""

import itertools
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from onnxshap.errors import UnsupportedOpError
from onnxshap.graph import inference
from onnxshap.graph.inference import Known
from onnxshap.graph.model import load
from onnxshap.graph.shapes import infer
from onnxshap.methods import build_program, named
from tests.helpers import models
from tests.helpers.cases import CASES, Case, N, normal
from tests.helpers.gradcheck import emit, seeds, vjp_gap
from tests.helpers.models import node


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def inferred(model: onnx.ModelProto, **sizes: int) -> dict[str, Known]:
    graph = ir.from_proto(model).graph
    return {str(v.name): known for v, known in infer(graph, sizes).items()}


def windowed(op: str, size: int, opset: int = 18, **attributes: Any) -> onnx.ModelProto:
    """One pool or convolution of x [N, 1, size]."""
    inputs = ["x", "w"] if op == "Conv" else ["x"]
    kernel = attributes["kernel_shape"]
    return models.graph(
        [node(op, inputs, ["y"], "window", **attributes)],
        {"x": (np.float32, ["N", 1, size])},
        {"y": (np.float32, ["N", 1, "L"])},
        {"w": np.ones((1, 1, *kernel), np.float32)},
        opset=opset,
    )


GEOMETRY = [
    (size, kernel, stride, begin, end)
    for size, kernel, stride, begin, end in itertools.product(
        (5, 6, 7), (1, 2, 3), (1, 2, 3, 4), (0, 1, 2), (0, 1, 2)
    )
    if max(begin, end) < kernel
]


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize("opset", [18, 22])
def test_pools_with_ceil_mode_have_the_runtimes_sizes(op: str, opset: int) -> None:
    for size, kernel, stride, begin, end in GEOMETRY:
        model = windowed(
            op,
            size,
            opset,
            kernel_shape=[kernel],
            strides=[stride],
            pads=[begin, end],
            ceil_mode=1,
        )
        assert inferred(model, N=2)["y"].dims == (2, 1, ran(model, size))


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize("auto", ["VALID", "SAME_UPPER", "SAME_LOWER"])
def test_pools_with_ceil_mode_and_auto_pad_have_the_runtimes_sizes(op: str, auto: str) -> None:
    for size, kernel, stride in itertools.product((5, 6, 7), (3, 4), (1, 2, 3)):
        model = windowed(
            op, size, kernel_shape=[kernel], strides=[stride], auto_pad=auto, ceil_mode=1
        )
        assert inferred(model, N=2)["y"].dims == (2, 1, ran(model, size))


def ran(model: onnx.ModelProto, size: int) -> int:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.ones((2, 1, size), np.float32)})
    return int(y.shape[2])


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize("opset", [18, 22])
def test_gradients_leave_out_windows_in_the_padding(
    op: str, opset: int, rng: np.random.Generator
) -> None:
    cases = [c for c in CASES if c.op == op and "window" in c.note]
    assert cases
    for case in cases:
        x, emitted = case.draw(rng, 3), emit(case, opset=opset)
        seed = seeds(case, rng, 2, x)
        assert vjp_gap(case, x, seed, emitted.contributions(x, seed), rng) < 1e-7


def test_unknown_sizes_stay_unknown_under_ceil_mode() -> None:
    model = models.graph(
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        {"x": (np.float32, ["N", 1, "H", 5])},
        {"y": (np.float32, ["N", 1, "h", "w"])},
        {},
    )
    assert inferred(model, N=2)["y"].dims == (2, 1, None, 3)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool", "Conv"])
@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_dilated_windows_with_automatic_padding_are_refused(op: str, auto: str) -> None:
    model = windowed(op, 9, 19, kernel_shape=[3], dilations=[2], auto_pad=auto)
    with pytest.raises(UnsupportedOpError, match=f'{op} "window": runtimes disagree .* {auto}'):
        build_program(load(model), named("gradient"))


@pytest.mark.parametrize("op", ["AveragePool", "Conv"])
def test_automatic_padding_of_wide_gaps_is_refused(op: str) -> None:
    """Onnxruntime starts in the middle of the gap, ONNX's reference at the first element."""
    model = windowed(op, 8, 19, kernel_shape=[1], strides=[4], auto_pad="SAME_UPPER")
    with pytest.raises(UnsupportedOpError, match=f'{op} "window": runtimes disagree .* stride 4'):
        build_program(load(model), named("gradient"))


def test_automatic_padding_beside_output_padding_is_refused() -> None:
    """Onnxruntime crops both to strides times sizes, ONNX's inference the former alone."""
    case = Case(
        "ConvTranspose",
        [(N, 2, 4), normal(2, 3, 3)],
        {"strides": [2], "output_padding": [1], "auto_pad": "SAME_LOWER"},
    )
    with pytest.raises(UnsupportedOpError, match=r"runtimes disagree .* SAME_LOWER .* 8 or 9"):
        emit(case)


def computed(op: str, constants: dict[str, np.ndarray], **attributes: Any) -> onnx.ModelProto:
    """A model whose second output is ``op`` of constants alone."""
    rank = {"ConstantOfShape": 3, "Expand": len(constants.get("shape", ())), "Range": 1}.get(op)
    first = next(iter(constants.values()))
    rank, dtype = first.ndim if rank is None else rank, first.dtype
    if op == "ConstantOfShape":
        dtype = np.dtype(np.float32)
    outputs = {"y": (np.float32, ["N", 4]), "big": (dtype, [f"d{k}" for k in range(rank)])}
    nodes = [node("Relu", ["x"], ["y"]), node(op, list(constants), ["big"], "big", **attributes)]
    return models.graph(nodes, {"x": (np.float32, ["N", 4])}, outputs, constants)


ONE = np.ones(1, np.float32)
LARGE = {
    "ConstantOfShape": {"shape": np.array([600, 600, 600])},
    "Expand": {"one": ONE, "shape": np.array([600, 600, 600])},
    "Tile": {"one": ONE.reshape(1, 1), "repeats": np.array([3000, 2000])},
    "Resize": {
        "one": ONE.reshape(1, 1, 1, 1),
        "roi": ONE[:0],
        "scales": np.array([1, 1, 900, 900], np.float32),
    },
    "Pad": {"one": ONE.reshape(1, 1), "pads": np.array([0, 0, 2000, 2000])},
}


@pytest.mark.parametrize("op", LARGE)
def test_large_constants_are_not_computed(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(node: ir.Node, *_: object) -> None:
        raise AssertionError(f"{node.op_type} was computed")

    monkeypatch.setattr(inference, "evaluate", refuse)
    found = inferred(computed(op, LARGE[op]), N=2)["big"]
    assert found.value is None
    assert found.dims is not None
    assert np.prod(found.dims) > inference.SMALL  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("op", "constants", "dims"),
    [
        ("ConstantOfShape", {"shape": np.array([1000, 1, 3])}, (1000, 1, 3)),
        ("ConstantOfShape", {"shape": np.array([2000, 0, 600])}, (2000, 0, 600)),
        ("Expand", {"one": ONE, "shape": np.array([2000, 2])}, (2000, 2)),
        ("Tile", {"row": np.arange(1000), "repeats": np.array([4])}, (4000,)),
        ("Range", {"a": np.array(5000), "b": np.array(5100), "c": np.array(2)}, (50,)),
    ],
)
def test_small_constants_are_computed_however_large_the_numbers(
    op: str, constants: dict[str, np.ndarray], dims: tuple[int, ...]
) -> None:
    found = inferred(computed(op, constants), N=2)["big"]
    assert found.dims == dims
    assert found.value is not None


@pytest.mark.parametrize(
    ("op", "rest", "expected"),
    [
        ("Reshape", [3, 2], (None, 3, 2)),
        ("Reshape", [-1, 2], (None, None, 2)),
        ("Reshape", [0, 6], (None, 1, 6)),
        ("Expand", [4, 1], (None, 4, 6)),
        ("ConstantOfShape", [4, 3], (None, 4, 3)),
    ],
)
def test_a_shape_tells_the_sizes_it_knows(
    op: str, rest: list[int], expected: tuple[int | None, ...]
) -> None:
    nodes = [
        node("Shape", ["x"], ["count"], end=1),
        node("Concat", ["count", "rest"], ["shape"], axis=0),
        node(op, ["shape"] if op == "ConstantOfShape" else ["x", "shape"], ["y"]),
    ]
    model = models.graph(
        nodes,
        {"x": (np.float32, ["N", 1, 6])},
        {"y": (np.float32, ["N", "A", "B"])},
        {"rest": np.array(rest)},
    )
    assert inferred(model)["y"].dims == expected
    (y,) = models.run(model, {"x": np.zeros((2, 1, 6), np.float32)}).values()
    assert inferred(model, N=2)["y"].dims == y.shape


@pytest.mark.parametrize("settings", [{}, {"onesided": 1}, {"onesided": 0}])
def test_a_spectrum_has_one_side_unless_asked_for_both(settings: dict[str, int]) -> None:
    constants = {"step": np.array(3), "length": np.array(6)}
    proto = models.graph(
        [node("STFT", ["x", "step", "", "length"], ["y"], "spectrum", **settings)],
        {"x": (np.float32, [2, 15, 1])},
        {"y": (np.float32, [2, 4, "K", 2])},
        constants,
    )
    (y,) = models.run(proto, {"x": np.ones((2, 15, 1), np.float32)}).values()
    size = 6 if settings == {"onesided": 0} else 4
    assert inferred(proto)["y"].dims == y.shape == (2, 4, size, 2)
