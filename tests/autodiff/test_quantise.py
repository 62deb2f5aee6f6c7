"""Quantisation, which ONNX defines for float32 and narrower alone: no rows of the float64 table."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxshap import UnsupportedOpError
from onnxshap.graph.model import load
from onnxshap.methods import build_program, named
from tests.helpers.gradcheck import Arrays, evaluator, session

SCALE, ZERO = np.float32(0.25), np.array(3, np.uint8)
CHANNELS = np.array([0.25, 0.5, 1.0], np.float32), np.array([0, 100, 3], np.uint8)


def model_of(
    nodes: list[onnx.NodeProto], shapes: dict[str, list[Any]], opset: int = 21, **constants: Any
) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    held = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    y = onnx.ValueInfoProto(name="y")
    y.type.tensor_type.elem_type = TensorProto.FLOAT
    graph = helper.make_graph(nodes, "quantised", inputs, [y], held)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def there_and_back(axis: int = 1, opset: int = 21, reshape: bool = False, **scale: Any) -> Any:
    names = ["scale", "zero"]
    nodes = [helper.make_node("QuantizeLinear", ["x", *names], ["q"], axis=axis)]
    if reshape:  # integers are moved as they are
        scale["size"] = np.array([0, 3, -1])
        nodes.append(helper.make_node("Reshape", ["q", "size"], ["moved"]))
    moved = "moved" if reshape else "q"
    nodes.append(helper.make_node("DequantizeLinear", [moved, *names], ["y"], axis=axis))
    shape = ["N", 6] if reshape else ["N", 3, 2]
    return model_of(nodes, {"x": shape}, opset, **scale)


def run(model: onnx.ModelProto, method: str, feeds: Arrays) -> tuple[Any, Arrays]:
    program = build_program(load(model), named(method))
    proto = ir.serde.serialize_model(program.model)
    onnx.checker.check_model(proto, full_check=True)
    feeds |= {twin: feeds.pop(f"{name}_ref") for name, twin in program.references.items()}
    return program, session(proto)(feeds)


@pytest.mark.parametrize("opset", [18, 19, 21, 23])
@pytest.mark.parametrize("reshape", [False, True])
def test_gradient_is_straight_through_inside_the_range(opset: int, reshape: bool) -> None:
    x = np.array([[[-0.9, -0.7], [0.1, 62.9], [63.2, 1.0]]], np.float32)
    seed = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 3, 2)
    model = there_and_back(opset=opset, reshape=reshape, scale=SCALE, zero=ZERO)
    feeds = {"x": x.reshape(1, 6) if reshape else x, "seed": seed}
    program, found = run(model, "gradient", feeds)
    gradient = found[program.contributions["x"]].ravel()
    np.testing.assert_allclose(gradient, seed.ravel() * [0, 1, 1, 1, 0, 1], rtol=1e-6)


@pytest.mark.parametrize("per_axis", [False, True])
def test_multipliers_credit_what_the_quantised_net_does(
    per_axis: bool, rng: np.random.Generator
) -> None:
    scale, zero = CHANNELS if per_axis else (SCALE, ZERO)
    model = there_and_back(scale=scale, zero=zero)
    x, r = (rng.normal(scale=8, size=(n, 3, 2)).astype(np.float32) for n in (2, 3))
    x[0, 0], r[0, 0] = 0.5, 0.5  # no difference at all
    seed = rng.normal(size=(1, 2, 3, 2)).astype(np.float32)
    program, found = run(model, "deepshap", {"x": x, "x_ref": r, "seed": seed})
    forward = session(model)
    (y,), (y0,) = forward({"x": x}).values(), forward({"x": r}).values()
    expected = seed[0][:, None] * (y[:, None] - y0[None])
    credited = found[program.contributions["x"]][0]
    np.testing.assert_allclose(credited, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "attrs", "index"),
    [
        ((), {}, np.zeros((4, 3), int)),
        ((3,), {"axis": 1}, np.tile(np.arange(3), (4, 1))),
        ((2, 3), {"axis": 0, "block_size": 2}, np.arange(6).reshape(2, 3)[[0, 0, 1, 1]]),
    ],
    ids=["one scale", "an axis", "blocks"],
)
def test_scales_have_gradients(
    shape: tuple[int, ...], attrs: dict[str, Any], index: np.ndarray, rng: np.random.Generator
) -> None:
    q = rng.integers(-128, 128, (4, 3)).astype(np.int8)
    node = helper.make_node("DequantizeLinear", ["q", "scale"], ["y"], **attrs)
    model = model_of([node], {"scale": list(shape)}, q=q)
    program = build_program(load(model), named("gradient"))
    seed = rng.normal(size=(4, 3)).astype(np.float32)
    feeds = {"scale": np.ones(shape, np.float32), "seed": seed}
    found = evaluator(ir.serde.serialize_model(program.model))(feeds)
    expected = np.zeros(max(1, int(np.prod(shape))))
    np.add.at(expected, index, seed * q)
    gradient = found[program.contributions["scale"]]
    assert gradient.shape == shape
    np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-5)


SCALES = [
    ((), {}),
    ((3,), {"axis": 1}),
    ((2, 3), {"axis": 0, "block_size": 2}),
]


def quantised_by(shape: tuple[int, ...], attrs: dict[str, Any]) -> onnx.ModelProto:
    """There and back by a scale that is an input, as quantisation-aware training has it."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale"], ["q"], output_dtype=3, **attrs),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["y"], **attrs),
    ]
    return model_of(nodes, {"x": [4, 3], "scale": list(shape)})


def stretched(scale: np.ndarray, attrs: dict[str, Any]) -> np.ndarray:
    blocks = np.arange(4) // attrs.get("block_size", 4)
    return np.broadcast_to(scale[blocks] if scale.ndim == 2 else scale, (4, 3))


@pytest.mark.parametrize(("shape", "attrs"), SCALES, ids=["one scale", "an axis", "blocks"])
def test_the_scale_of_both_has_the_gradient_of_its_rounding(
    shape: tuple[int, ...], attrs: dict[str, Any], rng: np.random.Generator
) -> None:
    """d/ds s clip(round(x / s)) = round(x / s) - x / s inside, the limit outside (LSQ, eq. 3)."""
    scale = np.asarray(rng.uniform(0.1, 0.5, shape), np.float32)
    x = rng.normal(size=(4, 3), scale=30).astype(np.float32)  # about one in four is clipped
    seed = rng.normal(size=(4, 3)).astype(np.float32)
    program = build_program(load(quantised_by(shape, attrs)), named("gradient"))
    found = session(ir.serde.serialize_model(program.model))({"x": x, "scale": scale, "seed": seed})
    ratio = x / stretched(scale, attrs)
    steps = np.clip(np.rint(ratio), -128, 127)
    slope = np.where(np.rint(ratio) == steps, steps - ratio, steps) * seed
    expected = np.zeros(shape, np.float32)
    index = np.arange(scale.size).reshape(shape)
    np.add.at(expected.reshape(-1), stretched(index, attrs), slope)
    gradient = found[program.contributions["scale"]]
    np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("inputs", [["scale"], ["x", "scale"]])
@pytest.mark.parametrize(("shape", "attrs"), SCALES, ids=["one scale", "an axis", "blocks"])
def test_a_scale_is_credited_with_what_it_changes(
    shape: tuple[int, ...], attrs: dict[str, Any], inputs: list[str], rng: np.random.Generator
) -> None:
    """Alone with all of it; beside x with its part in going back."""
    model = quantised_by(shape, attrs)
    scale, other = (np.asarray(rng.uniform(0.1, 0.5, shape), np.float32) for _ in range(2))
    x, r = rng.normal(size=(2, 4, 3), scale=30).astype(np.float32)
    r = r if "x" in inputs else x
    seed = rng.normal(size=(4, 3)).astype(np.float32)
    program = build_program(load(model), named("deepshap"), inputs=inputs, varying=inputs)
    feeds = {"x": x, "scale": scale, "seed": seed}
    feeds |= {twin: {"x": r, "scale": other}[name] for name, twin in program.references.items()}
    found = session(ir.serde.serialize_model(program.model))(feeds)
    forward = session(model)
    change = forward({"x": x, "scale": scale})["y"] - forward({"x": r, "scale": other})["y"]
    credit = sum(float(found[end].sum()) for end in program.contributions.values())
    assert credit == pytest.approx(float((seed * change).sum()), rel=1e-4)


def test_a_scale_beside_what_moves_unexplained_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match=r'QuantizeLinear ".*its input 0 \("x"\) differs'):
        build_program(
            load(quantised_by((), {})), named("deepshap"), inputs=["scale"], varying=["x", "scale"]
        )


def test_within_a_step_credit_goes_through_and_the_rest_where_credit_is(
    rng: np.random.Generator,
) -> None:
    """The multiplier in numpy, written down apart from the rule: by channel, ties among them."""
    scale, zero = CHANNELS
    x, r = (rng.normal(scale=3, size=(1, 3, 2)).astype(np.float32) for _ in range(2))
    x[0, 0], r[0, 0] = 0.125 + 1e-6, 0.125 - 1e-6  # two sides of a tie: a step, and nothing to it
    x[0, 1] = r[0, 1]
    seed = rng.normal(size=(1, 1, 3, 2)).astype(np.float32)
    feeds = {"x": x, "x_ref": r, "seed": seed}
    program, found = run(there_and_back(scale=scale, zero=zero), "deepshap", feeds)
    s, z = (np.float64(v).reshape(3, 1) for v in CHANNELS)
    m, a, b = (np.float64(v.reshape(3, 2)) for v in (seed, x, r))
    placed = [np.rint(v / s) + z for v in (a, b)]
    y, y0 = (s * (np.clip(p, 0, 255) - z) for p in placed)
    inside = np.mean([(p >= 0) & (p <= 255) for p in placed], 0)
    d = a - b
    far = np.abs(d) >= s
    credit = m * np.where(far, y - y0, inside * d)
    credit += credit**2 * (m * (y - y0) - credit).sum() / (credit**2).sum()
    np.testing.assert_allclose(found[program.contributions["x"]].reshape(3, 2), credit, rtol=1e-4)
