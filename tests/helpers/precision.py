"""A model in another float type: derivatives are checked in float64, models come in float32."""

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper


def doubled(model: ModelProto) -> ModelProto:
    """Return the float32 model in float64: inputs, outputs and constants."""
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    assert not any(n.op_type == "Cast" for n in graph.node), "a Cast would undo it"
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        tensor = value.type.tensor_type
        if tensor.elem_type == TensorProto.FLOAT:
            tensor.elem_type = TensorProto.DOUBLE
    for constant in graph.initializer:
        if constant.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(constant).astype(np.float64)
            constant.CopyFrom(numpy_helper.from_array(array, constant.name))
    onnx.checker.check_model(copy)
    return copy
