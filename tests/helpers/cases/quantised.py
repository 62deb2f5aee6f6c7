"""Quantised operators: [N, *shape] floats, quantised, the operator, dequantised."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from tests.helpers.quantised import between

VENDOR = "com.microsoft"


@dataclass(frozen=True)
class QuantisedCase:
    """A model around one quantised operator."""

    id: str
    model: ModelProto
    shape: tuple[int, ...]
    """Of one sample."""
    step: float = 0.047
    """What two steps of the output are apart; 0: the output is a float."""
    alone: bool = False
    """Whether it takes its scale from the whole batch, so that samples are run one by one."""
    spread: float = 1.0
    """Standard deviation of the samples: the range holds +- 3."""


def _node(op: str, inputs: list[str], outputs: str | list[str] = "r", **settings: Any) -> NodeProto:
    ends = [outputs] if isinstance(outputs, str) else outputs
    return helper.make_node(op, inputs, ends, f"{op} node", domain=VENDOR, **settings)


def _onnx(op: str, inputs: list[str], outputs: str | list[str] = "r", **settings: Any) -> NodeProto:
    ends = [outputs] if isinstance(outputs, str) else outputs
    return helper.make_node(op, inputs, ends, ends[0], **settings)


_RNG = np.random.default_rng(5)


def _weights(*shape: int, dtype: Any = np.int8) -> np.ndarray:
    low, high = (-64, 64) if dtype == np.int8 else (0, 128)  # 7 bits: see tests.helpers.quantised
    return _RNG.integers(low, high, shape).astype(dtype)


def _scales(count: int) -> np.ndarray:
    return _RNG.uniform(0.002, 0.01, count).astype(np.float32)


def products() -> Iterator[QuantisedCase]:
    """Convolutions and products with weights, and of two tensors that both depend on x."""
    x, y = ["q", "xs", "xz"], ["ys", "yz"]
    for dtype in (np.uint8, np.int8):
        for per_channel in (False, True):
            name = f"{np.dtype(dtype)}, {'channel' if per_channel else 'tensor'}"
            scale = _scales(4) if per_channel else _scales(1)[0]
            zero = np.zeros(4, np.int8) if per_channel else np.int8(3)
            weights = {"w": _weights(4, 3, 3, 3), "ws": scale, "wz": zero}
            bias = {"b": _RNG.integers(-900, 900, 4).astype(np.int32)}
            node = _onnx(
                "QLinearConv", [*x, "w", "ws", "wz", *y, "b"], pads=[1, 0, 1, 2], strides=[2, 1]
            )
            model = between([node], (3, 6, 5), weights | bias, dtype=dtype)
            yield QuantisedCase(f"QLinearConv: {name}", model, (3, 6, 5))
            held = {"w": _weights(6, 4), "ws": scale, "wz": zero}
            node = _onnx("QLinearMatMul", [*x, "w", "ws", "wz", *y])
            model = between([node], (5, 6), held, dtype=dtype)
            yield QuantisedCase(f"QLinearMatMul: {name}", model, (5, 6))
            held |= {"w": _weights(4, 6), **bias}
            node = _node("QGemm", [*x, "w", "ws", "wz", "b", *y], transB=1, alpha=0.7)
            model = between([node], (6,), held, dtype=dtype)
            yield QuantisedCase(f"QGemm: {name}", model, (6,))
    held = {"w": _weights(6, 4), "ws": _scales(4), "wz": _weights(4)}
    model = between([_node("QGemm", [*x, "w", "ws", "wz"])], (6,), held, output=None)
    yield QuantisedCase("QGemm: float output", model, (6,), step=0)
    groups = {"w": _weights(4, 1, 3), "ws": _scales(4), "wz": np.zeros(4, np.int8)}
    node = _onnx("QLinearConv", [*x, "w", "ws", "wz", *y], group=4)
    yield QuantisedCase("QLinearConv: groups", between([node], (4, 6), groups), (4, 6))
    last = {"w": _weights(4, 3, 3, 3), "ws": _scales(4), "wz": np.zeros(4, np.int8)}
    node = _node("QLinearConv", [*x, "w", "ws", "wz", *y], channels_last=1)
    yield QuantisedCase("QLinearConv: channels last", between([node], (6, 5, 3), last), (6, 5, 3))
    pair = [
        _onnx("Transpose", ["q"], "t", perm=[0, 2, 1]),
        _onnx("QLinearMatMul", [*x, "t", "xs", "xz", *y]),
    ]
    model = between(pair, (5, 6), {}, output=0.2)
    yield QuantisedCase("QLinearMatMul: with itself", model, (5, 6), step=0.2)


def operators() -> Iterator[QuantisedCase]:
    """com.microsoft's QLinear operators."""
    x, y = ["q", "xs", "xz"], ["ys", "yz"]
    other = [_onnx("QuantizeLinear", ["x", "os", "oz"], "o")]
    held = {"os": np.float32(0.045), "oz": np.uint8(90), "c": _RNG.integers(0, 256, 5, np.uint8)}
    held |= {"flags": _RNG.random((3, 6, 5)) > 0.5, "signed": np.int8(-3)}
    o, c = ["o", "os", "oz"], ["c", "os", "oz"]
    image = (3, 6, 5)
    pool: dict[str, Any] = {"kernel_shape": [2, 3], "strides": [2, 1]}
    for name, node in {
        "QLinearAdd: with itself": _node("QLinearAdd", [*x, *o, *y]),
        "QLinearAdd: constant": _node("QLinearAdd", [*c, *x, *y]),
        "QLinearMul: with itself": _node("QLinearMul", [*x, *o, *y]),
        "QLinearMul: constant": _node("QLinearMul", [*x, *c, *y]),
        "QLinearLeakyRelu": _node("QLinearLeakyRelu", [*x, *y], alpha=0.3),
        "QLinearAveragePool": _node("QLinearAveragePool", [*x, *y], **pool),
        "QLinearAveragePool: padded": _node(
            "QLinearAveragePool", [*x, *y], pads=[1, 1, 0, 1], count_include_pad=1, **pool
        ),
        "QLinearAveragePool: channels last": _node(
            "QLinearAveragePool", [*x, *y], channels_last=1, **pool
        ),
        "QLinearGlobalAveragePool": _node("QLinearGlobalAveragePool", [*x, *y]),
        "QLinearGlobalAveragePool: channels last": _node(
            "QLinearGlobalAveragePool", [*x, *y], channels_last=1
        ),
        "QLinearConcat": _node("QLinearConcat", [*y, *x, *o], axis=1),
        "QLinearWhere": _node("QLinearWhere", ["flags", *x, *o, *y]),
    }.items():
        yield QuantisedCase(name, between([*other, node], image, held), image)
    small: dict[str, Any] = {"output": 1 / 200, "dtype": np.uint8}
    model = between([_node("QLinearSigmoid", [*x, *y])], (4, 6), {"yz": np.uint8(0)}, **small)
    yield QuantisedCase("QLinearSigmoid", model, (4, 6), step=1 / 200)
    for opset, axis in ((13, -1), (12, 1), (13, 1)):
        node = _node("QLinearSoftmax", [*x, *y], opset=opset, axis=axis)
        model = between([node], (3, 4), {"yz": np.uint8(0)}, **small)
        yield QuantisedCase(f"QLinearSoftmax: {opset}, {axis}", model, (3, 4), step=1 / 200)


def renamed() -> Iterator[QuantisedCase]:
    """com.microsoft's QuantizeLinear and DequantizeLinear, in types ONNX had not yet."""
    channels = np.array([0.01, 0.02, 0.05], np.float32)
    for dtype, scale in (("uint8", 0.03), ("int16", 1e-4), ("uint16", 1e-4), ("int4", 0.4)):
        kind = TensorProto.DataType.Value(dtype.upper())
        zero = helper.make_tensor("z", kind, [], [3 if dtype != "uint16" else 32000])
        nodes = [
            _node("QuantizeLinear", ["x", "s", "z"], "p"),
            _node("DequantizeLinear", ["p", "s", "z"]),
        ]
        held: dict[str, Any] = {"z": zero, "s": np.float32(scale)}
        model = between(nodes, (3, 4), held, output=None, source=False)
        yield QuantisedCase(f"QuantizeLinear, DequantizeLinear: {dtype}", model, (3, 4), scale)
    held = {"z": np.zeros(3, np.int8), "s": channels}
    nodes = [
        _node("QuantizeLinear", ["x", "s", "z"], "p", axis=1),
        _node("DequantizeLinear", ["p", "s", "z"], axis=1),
    ]
    model = between(nodes, (3, 4), held, output=None, source=False)
    yield QuantisedCase("QuantizeLinear, DequantizeLinear: by channel", model, (3, 4), 0.05)


def integers() -> Iterator[QuantisedCase]:
    """Products of whole numbers, and what is made of them before they are floats again."""
    held: dict[str, Any] = {"w": _weights(6, 4), "wz": np.int8(2), "k": np.float32(3e-4)}
    held |= {"i": np.array([7, -900, 50, 3], np.int32), "size": np.array([0, -1]), "five": 5}
    cast, scaled = _onnx("Cast", ["f"], "c", to=1), _onnx("Mul", ["c", "k"])
    product = _onnx("MatMulInteger", ["q", "w", "xz", "wz"], "f")
    yield QuantisedCase(
        "MatMulInteger", between([product, cast, scaled], (5, 6), held, output=None), (5, 6), 0
    )
    conv = {"w": _weights(4, 3, 3), "wz": np.int8(2), "k": np.float32(3e-4)}
    node = _onnx("ConvInteger", ["q", "w", "xz", "wz"], "f", pads=[1, 1])
    model = between([node, cast, scaled], (3, 6), conv, output=None)
    yield QuantisedCase("ConvInteger", model, (3, 6), 0)
    whole = [
        _onnx("MatMulInteger", ["q", "w", "xz", "wz"], "m"),
        _onnx("Add", ["m", "i"], "a"),
        _onnx("MatMulInteger", ["q", "w", "xz"], "m2"),
        _onnx("Sub", ["a", "m2"], "s"),
        _onnx("Reshape", ["s", "size"], "f"),
    ]
    model = between([*whole, cast, scaled], (5, 6), held, output=None)
    yield QuantisedCase("MatMulInteger: summed as whole numbers", model, (5, 6), 0)
    direct = _onnx("DequantizeLinear", ["f", "k"])
    model = between([product, direct], (5, 6), held, output=None)
    yield QuantisedCase("MatMulInteger: dequantised", model, (5, 6), 0)
    bytes_ = {"low": np.uint8(60), "high": np.uint8(150), "flags": _RNG.random((3, 6, 6)) > 0.5}
    bytes_ |= {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
    }
    bytes_ |= {"yz": np.uint8(110)}
    image = (3, 6, 6)
    for name, node in {
        "Clip": _onnx("Clip", ["q", "low", "high"]),
        "Max": _onnx("Max", ["q", "low"]),
        "MaxPool": _onnx("MaxPool", ["q"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        "Pad": _onnx("Pad", ["q", "pads", "low"]),
        "Resize": _onnx("Resize", ["q", "", "scales"], mode="nearest"),
        "Where": _onnx("Where", ["flags", "q", "high"]),
    }.items():
        yield QuantisedCase(f"{name}: of steps", between([node], image, bytes_), image)


def dynamic() -> Iterator[QuantisedCase]:
    """Scales that a tensor's own range decides."""
    held: dict[str, Any] = {"w": _weights(6, 4), "wz": np.int8(2), "ws": _scales(1)[0]}
    held |= {"c": _weights(4, 3, 3), "columns": _scales(4), "zeros": _weights(4), "b": _scales(4)}
    quantise = _onnx("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    scales, cast = _onnx("Mul", ["s", "ws"], "k"), _onnx("Cast", ["f"], "g", to=1)
    scaled = _onnx("Mul", ["k", "g"])
    matmul = _onnx("MatMulInteger", ["q", "w", "z", "wz"], "f")
    conv = _onnx("ConvInteger", ["q", "c", "z", "wz"], "f", pads=[1, 1])
    settings: dict[str, Any] = {"output": None, "source": False}
    for name, nodes, shape in (
        ("DynamicQuantizeLinear, MatMulInteger", [quantise, scales, matmul, cast, scaled], (5, 6)),
        ("DynamicQuantizeLinear, ConvInteger", [quantise, scales, conv, cast, scaled], (3, 6)),
        (
            "DynamicQuantizeLinear: dequantised",
            [quantise, _onnx("DequantizeLinear", ["q", "s", "z"])],
            (5, 6),
        ),
        (
            "DynamicQuantizeLinear: scaled apart",
            [quantise, matmul, cast, _onnx("Mul", ["g", "ws"], "h"), _onnx("Mul", ["h", "s"])],
            (5, 6),
        ),
        (
            "MatMulIntegerToFloat",
            [
                quantise,
                _node("MatMulIntegerToFloat", ["q", "w", "s", "columns", "z", "zeros", "b"]),
            ],
            (5, 6),
        ),
        (
            "DynamicQuantizeMatMul",
            [_node("DynamicQuantizeMatMul", ["x", "w", "columns", "zeros", "b"])],
            (5, 6),
        ),
    ):
        yield QuantisedCase(name, between(nodes, shape, held, **settings), shape, 0, alone=True)
