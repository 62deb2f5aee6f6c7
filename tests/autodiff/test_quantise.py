"""Quantisation, which ONNX defines for float32 and narrower alone: no rows of the float64 table."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

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
