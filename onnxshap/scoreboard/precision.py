"""A model in a wider float type, and with its parameters as constants."""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, numpy_helper

_WIDTH: dict[int, int] = {
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
}
_STASHING = ("GroupNormalization",)
"""Operators whose definition casts to float32 in between unless told otherwise."""
_TYPES = ("to", "dtype", "stash_type", "output_dtype", "softmax_precision")


def widened(model: onnx.ModelProto, to: int, keep: Iterable[str] = ()) -> onnx.ModelProto:
    """Return the model with all narrower floats as ``to``, float32 or float64.

    In inputs, outputs, constants, casts, and in subgraphs. ``keep``: values that stay as they are.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _widen_graph(copy.graph, to, set(keep))
    return copy


def doubled(model: onnx.ModelProto, keep: Iterable[str] = ()) -> onnx.ModelProto:
    """Return the model in float64."""
    return widened(model, TensorProto.DOUBLE, keep)


def _widen_graph(graph: GraphProto, to: int, keep: set[str]) -> None:
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        tensor = value.type.tensor_type
        if value.type.HasField("tensor_type") and value.name not in keep:
            tensor.elem_type = _wider(tensor.elem_type, to)
    for constant in graph.initializer:
        if constant.name not in keep:
            _widen_tensor(constant, to)
    for node in graph.node:
        if node.op_type in _STASHING and not any(a.name == "stash_type" for a in node.attribute):
            node.attribute.append(onnx.helper.make_attribute("stash_type", to))
        if (
            node.op_type == "ConstantOfShape" and not node.attribute
        ):  # float32 unless told otherwise
            zero = numpy_helper.from_array(np.zeros(1, onnx.helper.tensor_dtype_to_np_dtype(to)))
            node.attribute.append(onnx.helper.make_attribute("value", zero))
        for attribute in node.attribute:
            _widen_attribute(node, attribute, to)


def _widen_attribute(node: NodeProto, attribute: AttributeProto, to: int) -> None:
    if attribute.type == AttributeProto.GRAPH:
        _widen_graph(attribute.g, to, set())
    elif attribute.type == AttributeProto.TENSOR:
        _widen_tensor(attribute.t, to)
    elif attribute.type == AttributeProto.INT and attribute.name in _TYPES:
        attribute.i = _wider(attribute.i, to)
    elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
        value = attribute.floats if attribute.type == AttributeProto.FLOATS else attribute.f
        array = np.asarray(value, onnx.helper.tensor_dtype_to_np_dtype(to))
        tensor = numpy_helper.from_array(array)
        attribute.CopyFrom(onnx.helper.make_attribute("value", tensor))


def _widen_tensor(tensor: TensorProto, to: int) -> None:
    if _wider(tensor.data_type, to) != tensor.data_type:
        array = numpy_helper.to_array(tensor).astype(onnx.helper.tensor_dtype_to_np_dtype(to))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _wider(dtype: int, to: int) -> int:
    return to if 0 < _WIDTH.get(dtype, 0) < _WIDTH[to] else dtype


def embedded(model: onnx.ModelProto, constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Return the model with some inputs as constants, as exporters write an operator's parameters.

    Rules may ask for pads, axes and sizes before the run; the suite feeds them.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    free = [v for v in copy.graph.input if v.name not in constants]
    del copy.graph.input[:]
    copy.graph.input.extend(free)
    for name, array in constants.items():
        copy.graph.initializer.append(numpy_helper.from_array(array, name))
    copy.ir_version = max(copy.ir_version, 8)  # older ones list every constant among the inputs
    return copy
