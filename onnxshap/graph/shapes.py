"""Concrete inference: dtype, sizes and, for small integer-like values, contents of every value.

One pass in graph order at given sizes of the symbolic dimensions. Where all sizes are known, shape
arithmetic (Shape, Gather, Concat ...) is evaluated, so what it feeds gets a size as well.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

SMALL = 4096  # elements; larger values are data, not shape arithmetic
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
_RANDOM |= {"Bernoulli", "Multinomial"}


@dataclass(frozen=True)
class Known:
    """What inference found: ``None`` where unknown."""

    dtype: ir.DataType | None = None
    dims: tuple[int | None, ...] | None = None
    value: np.ndarray | None = None


def infer(graph: ir.Graph, sizes: Mapping[str, int]) -> dict[ir.Value, Known]:
    """Infer every value of ``graph`` with its symbolic dimensions set to ``sizes``."""
    known: dict[ir.Value, Known] = {}
    for value in (*graph.inputs, *graph.initializers.values()):
        known[value] = _declared(value, sizes)
    for node in graph:
        for output, found in zip(node.outputs, _infer_node(node, known, graph), strict=True):
            # For operators ONNX does not know, what the file declares is all there is.
            known[output] = found if found.dims is not None else _declared(output, sizes)
    return known


def _declared(value: ir.Value, sizes: Mapping[str, int]) -> Known:
    dims = None
    if value.shape is not None:
        dims = tuple(d if isinstance(d, int) else sizes.get(str(d.value)) for d in value.shape)
    tensor = value.const_value
    small = tensor is not None and tensor.size <= SMALL
    return Known(value.dtype, dims, tensor.numpy() if small and tensor is not None else None)


def _infer_node(node: ir.Node, known: dict[ir.Value, Known], graph: ir.Graph) -> Iterable[Known]:
    inputs = [Known() if v is None else known.get(v, Known()) for v in node.inputs]
    if node.op_type == "Shape" and inputs[0].dims is not None and None not in inputs[0].dims:
        start, end = node.attributes.get("start"), node.attributes.get("end")
        dims = np.array(inputs[0].dims, np.int64)
        dims = dims[slice(start.as_int() if start else 0, end.as_int() if end else None)]
        return [Known(ir.DataType.INT64, dims.shape, dims)]
    constant = all(
        v is None or i.value is not None for v, i in zip(node.inputs, inputs, strict=True)
    )
    if constant and node.op_type not in _RANDOM and _output_is_small(node, inputs):
        evaluated = evaluate(node, [i.value for i in inputs], graph.opset_imports)
        if evaluated is not None:
            return evaluated
    return _infer_types(node, inputs, graph)


def _output_is_small(node: ir.Node, inputs: list[Known]) -> bool:
    """Guard the operators whose output size is a value of an input."""
    if node.op_type in ("ConstantOfShape", "Expand", "Tile", "Range", "Resize", "OneHot", "Pad"):
        arrays = [i.value for i in inputs if i.value is not None and i.value.dtype.kind in "iuf"]
        return all(float(np.abs(a).max(initial=0)) * max(1, a.size) <= SMALL for a in arrays)
    return True


def evaluate(
    node: ir.Node, inputs: list[np.ndarray | None], opsets: Mapping[str, int]
) -> list[Known] | None:
    """Evaluate one node by ONNX's reference evaluator; None if the evaluator cannot."""
    if any(a.type.name in ("GRAPH", "GRAPHS") for a in node.attributes.values()):
        return None
    proto = ir.serde.serialize_node(node)
    named = {n: a for n, a in zip(proto.input, inputs, strict=True) if n and a is not None}
    try:
        with np.errstate(all="ignore"):
            outputs = ReferenceEvaluator(proto, opsets=dict(opsets)).run(None, named)
    except Exception:  # the evaluator raises whatever numpy does; "cannot" is an answer here
        return None
    arrays = [np.asarray(o) for o in outputs]
    if any(a.dtype.kind not in "iufb" for a in arrays):
        return None
    return [
        Known(ir.DataType.from_numpy(a.dtype), a.shape, a if a.size <= SMALL else None)
        for a in arrays
    ]


def _infer_types(node: ir.Node, inputs: list[Known], graph: ir.Graph) -> list[Known]:
    unknown = [Known(o.dtype) for o in node.outputs]
    opset = graph.opset_imports.get(node.domain)
    if opset is None:
        return unknown
    if any(v is not None and i.dtype is None for v, i in zip(node.inputs, inputs, strict=True)):
        return unknown
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
        proto = ir.serde.serialize_node(node)
        inferred = onnx.shape_inference.infer_node_outputs(
            schema,
            proto,
            {n: _type_proto(i) for n, i in zip(proto.input, inputs, strict=True) if n},
            {
                n: onnx.numpy_helper.from_array(i.value, n)
                for n, i in zip(proto.input, inputs, strict=True)
                if n and i.value is not None
            },
            opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in graph.opset_imports.items()],
            ir_version=10,
        )
    except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError):
        return unknown
    return [_from_type_proto(inferred.get(name)) for name in proto.output]


def _type_proto(known: Known) -> onnx.TypeProto:
    assert known.dtype is not None
    dims = known.dims
    return onnx.helper.make_tensor_type_proto(known.dtype.value, None if dims is None else dims)


def _from_type_proto(proto: onnx.TypeProto | None) -> Known:
    if proto is None or not proto.HasField("tensor_type"):
        return Known()
    tensor = proto.tensor_type
    dims = None
    if tensor.HasField("shape"):
        dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return Known(ir.DataType(tensor.elem_type), dims)
