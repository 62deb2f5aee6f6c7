"""Constants of a graph: new ones, and inputs that become one."""

import numpy as np
import onnx_ir as ir


def initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Add an array to the graph."""
    array = np.asarray(array, order="C")  # ascontiguousarray would make a vector of a scalar
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.dtype, value.shape = ir.DataType.from_numpy(array.dtype), ir.Shape(array.shape)
    graph.register_initializer(value)
    return value


def embed(graph: ir.Graph, value: ir.Value, array: np.ndarray) -> None:
    """Turn an input of the graph into an initializer."""
    graph.inputs.remove(value)
    value.const_value = ir.tensor(np.asarray(array, order="C"), name=value.name)
    value.shape = ir.Shape(array.shape)
    graph.register_initializer(value)
