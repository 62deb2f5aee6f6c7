import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.preflight import preflight
from tests.helpers import seeds

DTYPES = sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED})
NUMERIC = sorted(set(DTYPES) - {TensorProto.STRING})


@pytest.mark.parametrize("dtype", NUMERIC, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_raw_bytes_must_be_exactly_what_dtype_and_sizes_need(dtype, count):
    values = np.zeros(count, helper.tensor_dtype_to_np_dtype(dtype))
    size = len(numpy_helper.from_array(values).raw_data)  # as onnx itself packs them
    for length in (size - 1, size, size + 1):
        if length < 0:
            continue
        proto = seeds.holding(
            TensorProto(name="t", data_type=dtype, dims=[count], raw_data=bytes(length))
        )
        if length == size:
            preflight(proto, None)
            continue
        with pytest.raises(ModelFileError, match=f"needs {size:,} bytes of raw_data but has"):
            preflight(proto, None)


@pytest.mark.parametrize("dtype", DTYPES, ids=TensorProto.DataType.Name)
def test_typed_data_must_be_exactly_what_dtype_and_sizes_need(dtype):
    values = [b"a", b"b", b"c"] if dtype == TensorProto.STRING else [1, 0, 1]
    tensor = helper.make_tensor("t", dtype, [3], values)
    assert not tensor.raw_data
    preflight(seeds.holding(tensor), None)
    (field,) = (name for kind, _ in tensor.ListFields() if (name := kind.name).endswith("_data"))
    if field == "data_type":
        pytest.fail("the test looks at the wrong field")
    entries = getattr(tensor, field)
    entries.append(entries[0])
    with pytest.raises(ModelFileError, match=rf"needs \d entries of {field} but has \d"):
        preflight(seeds.holding(tensor), None)
    del entries[:]
    with pytest.raises(ModelFileError, match=rf"needs \d entries of {field} but has 0"):
        preflight(seeds.holding(tensor), None)
