import pytest
from onnx import TensorProto, helper

from onnxshap.errors import ModelFileError, OnnxShapWarning
from onnxshap.graph.files.preflight import preflight
from tests.helpers import seeds


def test_sizes_of_minus_one_become_symbols_with_one_warning():
    proto = seeds.model(
        [seeds.node("Relu", "x", "y")],
        inputs={"x": [-1, 4, -1]},
        outputs={"y": [-1, 4, "x_dim_0"]},
    )
    with pytest.warns(OnnxShapWarning) as caught:
        preflight(proto, None)
    assert len(caught) == 1
    said = str(caught[0].message)
    assert said.startswith('the model gives the size -1 to axis 0 of "x", axis 2 of "x", axis 0')
    shapes = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (proto.graph.input[0], proto.graph.output[0])
    ]
    # The name x_dim_0 is taken: sharing it would claim that two sizes are equal.
    assert shapes == [["x_dim_0_", 4, "x_dim_2"], ["y_dim_0", 4, "x_dim_0"]]


def test_sizes_of_minus_one_inside_the_graph_are_refused():
    proto = seeds.slicing()
    proto.graph.value_info.append(helper.make_tensor_value_info("h", TensorProto.FLOAT, [-1, 8]))
    with pytest.raises(ModelFileError, match='value "h" of graph "main" has a negative size, -1'):
        preflight(proto, None)
