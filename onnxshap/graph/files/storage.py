"""How a tensor's data is stored in the file: in which field, and in how many bytes."""

from collections.abc import Iterable

import onnx_ir as ir
from onnx import TensorProto, helper
from onnx.external_data_helper import uses_external_data

from onnxshap.graph.files.names import short
from onnxshap.graph.files.sizes import negative_size
from onnxshap.graph.files.walk import Held

MAX_ELEMENTS = 2**31  # in one tensor held in the file; protobuf itself ends at 2 GiB

DTYPES = set(TensorProto.DataType.values()) & set(ir.DataType) - {TensorProto.UNDEFINED}
TYPED_FIELDS = tuple(sorted({helper.tensor_dtype_to_field(dtype) for dtype in DTYPES}))


def flaw(held: Held) -> str | None:
    """Say how a tensor's data differs from what its dtype and sizes need; None if it does not."""
    tensor, _, sparse = held
    if tensor.data_type not in DTYPES:
        return f"has data type {tensor.data_type}, which ONNX does not define; export it again"
    found = negative_size(tensor.dims) or (sparse and negative_size(sparse.dims))
    if found:
        return found
    if sparse and element_count(sparse.dims) > MAX_ELEMENTS:
        return "stands for more than 2^31 elements; use a smaller tensor"
    filled = {name: size for name in TYPED_FIELDS if (size := len(getattr(tensor, name)))}
    if tensor.HasField("raw_data"):
        filled["raw_data"] = len(tensor.raw_data)
    if not uses_external_data(tensor):
        return _embedded_flaw(tensor, filled)
    if sparse:
        return "is sparse and external, which is not supported; embed its data in the file"
    if any(filled.values()):
        return "is marked external yet carries data; save the model again with onnx.save"
    return None


def _embedded_flaw(tensor: TensorProto, filled: dict[str, int]) -> str | None:
    raw = "raw_data" in filled
    if raw and tensor.data_type == TensorProto.STRING:
        return "is of strings but stored as raw bytes; store them in string_data"
    name = "raw_data" if raw else helper.tensor_dtype_to_field(tensor.data_type)
    extra = next((other for other in filled if other != name), None)
    if extra:
        return f"keeps data in {extra}, where its dtype keeps it in {name}; export it again"
    if element_count(tensor.dims) > MAX_ELEMENTS:
        sizes = "x".join(str(size) for size in tensor.dims[:8])
        return f"declares more than 2^31 elements ({sizes}); store it as external data"
    need, has = raw_bytes(tensor) if raw else _typed_entries(tensor), filled.get(name, 0)
    if has == need:
        return None
    shape = short(",".join(str(size) for size in tensor.dims))
    return (
        f"of shape [{shape}] needs {need:,} {'bytes' if raw else 'entries'} of {name} but has "
        f"{has:,}: the file is damaged; copy or export it again"
    )


def element_count(dims: Iterable[int]) -> int:
    """Count elements, stopping above the limit so that no huge integer is ever built."""
    sizes = list(dims)
    if 0 in sizes:
        return 0
    count = 1
    for size in sizes:
        count *= size
        if count > 2**64:
            break
    return count


def raw_bytes(tensor: TensorProto) -> int:
    """Bytes that dtype and sizes need in raw_data; small dtypes are packed, strings not allowed."""
    return -(-element_count(tensor.dims) * ir.DataType(tensor.data_type).bitwidth // 8)


def _typed_entries(tensor: TensorProto) -> int:
    """Entries that dtype and sizes need in the dtype's own field."""
    count = element_count(tensor.dims)
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * count
    # 2 and 4 bits are packed, one byte an entry; 6 bits are not.
    packed = tensor.data_type != TensorProto.STRING and ir.DataType(tensor.data_type).bitwidth <= 4
    return raw_bytes(tensor) if packed else count
