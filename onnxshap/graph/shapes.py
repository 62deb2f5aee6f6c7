"""Concrete inference: dtype, sizes and, for small integer-like values, contents of every value.

One pass in graph order at given sizes of the symbolic dimensions. Where all sizes are known, shape
arithmetic (Shape, Gather, Concat ...) is evaluated, so what it feeds gets a size as well.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxshap.errors import ModelFileError

SMALL = 4096  # elements; larger values are data, not shape arithmetic
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
RANDOM |= {"Bernoulli", "Multinomial"}
_SIZED_BY_VALUE = {"ConstantOfShape", "Expand", "Tile", "Range", "Resize", "OneHot", "Pad"}


@dataclass(frozen=True)
class Known:
    """What inference found: ``None`` where unknown."""

    dtype: ir.DataType | None = None
    dims: tuple[int | None, ...] | None = None
    value: np.ndarray | None = None


def infer(
    graph: ir.Graph,
    sizes: Mapping[str, int],
    before: Callable[[ir.Node, Mapping[ir.Value, Known]], Sequence[ir.Node]] | None = None,
) -> dict[ir.Value, Known]:
    """Infer every value of ``graph`` with its symbolic dimensions set to ``sizes``.

    ``before(node, known)`` sees each node just before it is inferred. It may give the node other
    inputs, and returns the nodes it has put in front of it.
    """
    known: dict[ir.Value, Known] = {}
    for value in (*graph.inputs, *graph.initializers.values()):
        known[value] = declared(value, sizes)
    for node in graph:
        for each in (*(before(node, known) if before is not None else ()), node):
            for v in each.inputs:
                if v is not None and v not in known and v.is_initializer():
                    known[v] = declared(v, sizes)
            for output, found in zip(each.outputs, infer_node(each, known, graph), strict=True):
                # For operators ONNX does not know, what the file declares is all there is.
                known[output] = found if found.dims is not None else declared(output, sizes)
    return known


def declared(value: ir.Value, sizes: Mapping[str, int]) -> Known:
    """What the file says of a value, and contents of a small constant."""
    dims = None
    if value.shape is not None:
        dims = tuple(d if isinstance(d, int) else sizes.get(str(d.value)) for d in value.shape)
    tensor = value.const_value
    small = tensor is not None and tensor.size <= SMALL
    return Known(value.dtype, dims, tensor.numpy() if small and tensor is not None else None)


def infer_node(node: ir.Node, known: Mapping[ir.Value, Known], graph: ir.Graph) -> Iterable[Known]:
    """Infer the outputs of one node from what is known of its inputs."""
    inputs = [Known() if v is None else known.get(v, Known()) for v in node.inputs]
    if node.op_type == "Shape" and inputs[0].dims is not None:
        start, end = node.attributes.get("start"), node.attributes.get("end")
        part = inputs[0].dims[start.as_int() if start else 0 : end.as_int() if end else None]
        if None not in part:
            dims = np.array(part, np.int64)
            return [Known(ir.DataType.INT64, dims.shape, dims)]
    picked = _picked_sizes(node, inputs, known)
    if picked is not None:
        return [Known(ir.DataType.INT64, picked.shape, picked)]
    constant = all(
        v is None or i.value is not None for v, i in zip(node.inputs, inputs, strict=True)
    )
    if constant and node.op_type not in RANDOM and _output_is_small(node, inputs, graph):
        evaluated = evaluate(node, [i.value for i in inputs], graph.opset_imports)
        if evaluated is not None:
            return evaluated
    found = _infer_types(node, inputs, graph)
    if node.op_type in ("AveragePool", "MaxPool") and node.domain == "":
        return [_without_windows_in_padding(node, inputs[0], f) for f in found]
    return found


def _picked_sizes(
    node: ir.Node, inputs: list[Known], known: Mapping[ir.Value, Known]
) -> np.ndarray | None:
    """Known sizes that a Gather or Slice picks out of a Shape whose other sizes are unknown."""
    shape = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    if shape is None or shape.op_type != "Shape" or shape.inputs[0] is None or shape.attributes:
        return None
    dims, rest = known[shape.inputs[0]].dims, [i.value for i in inputs[1:]]
    if dims is None or not rest or any(v is None for v in rest):
        return None
    sizes = np.array([*dims, None], object)[:-1]  # an array of objects, however many there are
    if node.op_type == "Gather" and rest[0] is not None:
        found = sizes[rest[0]]
    elif node.op_type == "Slice" and len(rest) >= 2:
        start, stop, *others = (int(v.ravel()[0]) for v in rest if v is not None)
        step = others[1] if len(others) > 1 else 1
        found = sizes[slice(start, stop, step)] if step > 0 else sizes
    else:
        return None
    flat = np.asarray(found, object).ravel()
    if any(size is None for size in flat):
        return None
    return np.array(flat.tolist(), np.int64).reshape(np.shape(found))


def _output_is_small(node: ir.Node, inputs: list[Known], graph: ir.Graph) -> bool:
    """Guard the operators whose output size is a value of an input."""
    if node.op_type not in _SIZED_BY_VALUE:
        return True
    sizes = [d for found in _infer_types(node, inputs, graph) for d in found.dims or (None,)]
    return math.prod(SMALL + 1 if d is None else d for d in sizes) <= SMALL


def _without_windows_in_padding(node: ir.Node, data: Known, pooled: Known) -> Known:
    """Correct a pool's sizes under ``ceil_mode``: runtimes drop windows that start past the input.

    Before opset 22 ONNX's inference counts the ones that start in the padding at the end.
    """
    settings = {name: a.value for name, a in node.attributes.items()}
    if not settings.get("ceil_mode") or data.dims is None or pooled.dims is None:
        return pooled
    kernel, auto = list(settings["kernel_shape"]), settings.get("auto_pad", "NOTSET")
    rank = len(kernel)
    strides = settings.get("strides", [1] * rank)
    dilations = settings.get("dilations", [1] * rank)
    pads = settings.get("pads", [0] * 2 * rank) if auto == "NOTSET" else [0] * 2 * rank
    counts: list[int | None] = []
    for i, size in enumerate(data.dims[2:]):
        if size is None:
            counts.append(None)
        elif auto in ("SAME_UPPER", "SAME_LOWER"):
            counts.append(math.ceil(size / strides[i]))
        else:
            room = size + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1
            count = math.ceil(room / strides[i]) + 1
            inside = (count - 1) * strides[i] < size + pads[i]
            counts.append(count if inside else count - 1)
    return replace(pooled, dims=(*pooled.dims[:2], *counts))


def evaluate(
    node: ir.Node, inputs: list[np.ndarray | None], opsets: Mapping[str, int]
) -> list[Known] | None:
    """What one node makes of known inputs; None if that cannot be told."""
    arrays = run_node(node, inputs, opsets)
    if arrays is None or any(a.dtype.kind not in "iufb" for a in arrays):
        return None
    return [
        Known(ir.DataType.from_numpy(a.dtype), a.shape, a if a.size <= SMALL else None)
        for a in arrays
    ]


def run_node(
    node: ir.Node, inputs: Sequence[np.ndarray | None], opsets: Mapping[str, int]
) -> list[np.ndarray] | None:
    """Run one node by ONNX's reference evaluator; None if the evaluator cannot."""
    if any(a.type.name in ("GRAPH", "GRAPHS") for a in node.attributes.values()):
        return None
    proto = ir.serde.serialize_node(node)
    named = {n: a for n, a in zip(proto.input, inputs, strict=True) if n and a is not None}
    try:
        with np.errstate(all="ignore"):
            outputs = ReferenceEvaluator(proto, opsets=dict(opsets)).run(None, named)
    except Exception:  # the evaluator raises whatever numpy does; "cannot" is an answer here
        return None
    return [np.asarray(o) for o in outputs]


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
            {n: as_type(i) for n, i in zip(proto.input, inputs, strict=True) if n},
            {
                n: onnx.numpy_helper.from_array(i.value, n)
                for n, i in zip(proto.input, inputs, strict=True)
                if n and i.value is not None
            },
            opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in graph.opset_imports.items()],
            ir_version=10,
        )
    except onnx.checker.ValidationError as error:
        raise ModelFileError(
            f'{node.op_type} "{node.name}": opset {opset} does not allow what the model gives it: '
            f"{error}. Export the model with a newer opset, or convert it to float32."
        ) from error
    except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError):
        return unknown
    return [_from_type_proto(inferred.get(name)) for name in proto.output]


def as_type(known: Known) -> onnx.TypeProto:
    """The type as ONNX writes it; sizes that are not known are left out."""
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
