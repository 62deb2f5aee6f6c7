import numpy as np
import onnx_ir as ir
import pytest

from onnxshap.graph.constants import embed, initializer


@pytest.mark.parametrize("array", [np.array(0.5), np.arange(6.0).reshape(2, 3).T, np.zeros((0, 2))])
def test_constants_keep_their_shape(array: np.ndarray) -> None:
    """A scalar stays one, an array that is not contiguous keeps its elements in order."""
    value = ir.Value(name="x", type=ir.TensorType(ir.DataType.DOUBLE))
    graph = ir.Graph([value], [], nodes=[], opset_imports={"": 18})
    made = initializer(graph, "c", array)
    embed(graph, value, array)
    assert not graph.inputs
    for constant in (made, value):
        assert graph.initializers[str(constant.name)] is constant
        assert constant.shape == ir.Shape(array.shape)
        np.testing.assert_array_equal(constant.const_value.numpy(), array)
        assert constant.const_value.numpy().shape == array.shape
