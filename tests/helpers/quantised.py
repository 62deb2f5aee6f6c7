"""Float fixtures that onnxruntime's own quantiser quantises, and nodes between two scales."""

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    quantize_dynamic,
    quantize_static,
)

NETS = Path(__file__).parents[1] / "fixtures" / "xdnn"
Form = Literal["float", "qdq", "qoperator", "dynamic"]
Net = Literal["digits", "mnist", "residual", "mlp"]
IMAGES: dict[Net, float] = {"digits": 16, "mnist": 255, "residual": 255}


def samples(net: Net) -> np.ndarray:
    """Inputs the net was not trained on, float32."""
    held = np.load(NETS / "samples.npz")
    if net == "mlp":
        rows: np.ndarray = held["mlp_x"]
        return rows
    pixels = held["digits_x" if net == "digits" else "mnist_x"]
    images: np.ndarray = pixels.astype(np.float32) / np.float32(IMAGES[net])
    return images


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # the package ships no types
    def __init__(self, name: str, rows: np.ndarray) -> None:
        self._batches: Iterator[np.ndarray] = iter(np.split(rows, 10))
        self._name = name

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch to take ranges from."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}


@cache
def quantised(net: Net, form: Form, per_channel: bool = True) -> ModelProto:
    """Quantise one of the fixtures, calibrated on its last hundred samples.

    Weights have 7 bits: without VNNI, integer kernels saturate sums of two products of 8.
    """
    source = NETS / f"{net}.onnx"
    if form == "float":
        return onnx.load(source)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        if form == "dynamic":
            quantize_dynamic(source, path, per_channel=per_channel, reduce_range=True)
        else:
            quantize_static(
                source,
                path,
                _Calibration(onnx.load(source).graph.input[0].name, samples(net)[-100:]),
                quant_format=QuantFormat.QDQ if form == "qdq" else QuantFormat.QOperator,
                per_channel=per_channel,
                reduce_range=True,
            )
        return onnx.load(path)


def between(
    nodes: list[NodeProto],
    shape: tuple[int, ...],
    constants: dict[str, Any],
    *,
    dtype: Any = np.uint8,
    output: float | None = 0.047,
    source: bool = True,
    opset: int = 18,
) -> ModelProto:
    """x [N, *shape] -> QuantizeLinear -> q -> nodes -> r -> DequantizeLinear -> y.

    ``output``: scale of r; None: r is a float, and the output. ``source``: without it the nodes
    read x. Constants of theirs are ``xs``, ``xz``, ``ys``, ``yz``: scales and zeros of q and r.
    """
    info = np.iinfo(dtype)
    zero = dtype(110 if info.min == 0 else -10)
    held = {"xs": np.float32(0.03), "xz": zero, "yz": dtype(zero + 7)} | constants
    if output is not None:
        held["ys"] = np.float32(output)
    first = [helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"], "first")]
    last = [helper.make_node("DequantizeLinear", ["r", "ys", "yz"], ["y"], "last")]
    body = [*(first if source else []), *nodes, *(last if output is not None else [])]
    used = {name for n in body for name in n.input}
    tensors = [
        v if isinstance(v, TensorProto) else numpy_helper.from_array(np.asarray(v), k)
        for k, v in held.items()
        if k in used
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])
    y = onnx.ValueInfoProto(name="r" if output is None else "y")
    y.type.tensor_type.elem_type = TensorProto.FLOAT
    graph = helper.make_graph(body, "quantised", [x], [y], tensors)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.zeros((2, *shape), np.float32)})
    sizes = ["N", *found.shape[1:]]
    y.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, sizes))
    model.graph.output[0].CopyFrom(y)
    return model
