"""Operators that onnxruntime keeps under ONNX's own domain, though ONNX has none of the name.

Its optimisers write LayerNormalization into opsets before 17 and SimplifiedLayerNormalization into
any. ONNX's checker and converter refuse both; under the vendor's domain they let them pass.
"""

from onnx import ModelProto, NodeProto, TensorProto, defs, helper
from onnx.external_data_helper import uses_external_data

from onnxshap.graph.files.walk import rooms, tensors

ADOPTED = ("LayerNormalization", "SimplifiedLayerNormalization")
VENDOR = "com.microsoft"
_NEWEST = 2**31 - 1  # that the schemas' versions are compared with


def given_back(model: ModelProto) -> ModelProto:
    """Return a copy with them under com.microsoft; the model itself if it has none."""
    if not _adopted(model):
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    for node in _adopted(copy):
        node.domain = VENDOR
    for owner in (copy, *copy.functions):
        if all(entry.domain != VENDOR for entry in owner.opset_import):
            owner.opset_import.append(helper.make_opsetid(VENDOR, 1))
    return copy


def without_external_data(copy: ModelProto) -> ModelProto:
    """Empty the tensors that are kept in other files, for the checker: a copy has no folder."""
    for tensor in tensors(copy):
        if uses_external_data(tensor):
            del tensor.external_data[:]
            tensor.data_location = TensorProto.DEFAULT
            tensor.dims[:] = [0]
    return copy


def _adopted(model: ModelProto) -> list[NodeProto]:
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    opset = min(versions[0], _NEWEST) if versions else 1
    return [
        node
        for room in rooms(model)
        for node in room.body.node
        if node.op_type in ADOPTED
        and node.domain in ("", "ai.onnx")
        and not defs.has(node.op_type, opset, "")
    ]
