"""Concrete inference: dtype, sizes and, for small integer-like values, contents of every value.

One pass in graph order at given sizes of the symbolic dimensions. Where all sizes are known, shape
arithmetic (Shape, Gather, Concat ...) is evaluated, so what it feeds gets a size as well.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from onnxshap.graph.inference import SMALL, Known, compute, draws, infer_types

_SHAPED_BY = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1}  # which input is the shape


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
    if node.op_type == "Range":
        inputs = [_scalar(i) for i in inputs]
    if node.op_type == "Shape" and inputs[0].dims is not None:
        part = _asked_for(node, inputs[0].dims)
        if None not in part:
            dims = np.array(part, np.int64)
            return [Known(ir.DataType.INT64, dims.shape, dims)]
    picked = _picked_sizes(node, inputs, known)
    if picked is not None:
        return [Known(ir.DataType.INT64, picked.shape, picked)]
    constant = all(
        v is None or i.value is not None for v, i in zip(node.inputs, inputs, strict=True)
    )
    computed = compute(node, inputs, graph) if constant and not draws(node) else None
    if computed is not None:
        return computed
    found = infer_types(node, inputs, graph)
    if node.op_type in _SHAPED_BY and node.domain == "":
        return [_with_told_sizes(node, known, f) for f in found]
    if node.op_type in ("AveragePool", "MaxPool") and node.domain == "":
        return [_without_windows_in_padding(node, inputs[0], f) for f in found]
    if node.op_type == "STFT" and "onesided" not in node.attributes:
        return [_onesided(f) for f in found]
    return found


def _asked_for(node: ir.Node, dims: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The sizes that a Shape is asked for."""
    start, end = node.attributes.get("start"), node.attributes.get("end")
    return dims[start.as_int() if start else 0 : end.as_int() if end else None]


def _scalar(found: Known) -> Known:
    """A vector of one number as that number: runtimes take it, and ONNX's definitions give it."""
    if found.dims != (1,):
        return found
    return replace(found, dims=(), value=None if found.value is None else found.value.reshape(()))


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


def _with_told_sizes(node: ir.Node, known: Mapping[ir.Value, Known], found: Known) -> Known:
    """Add the sizes that a computed shape tells though others of it are unknown."""
    told = _entries(node.inputs[_SHAPED_BY[node.op_type]], known)
    if told is None or (found.dims is not None and None not in found.dims):
        return found
    own = known.get(node.inputs[0], Known()).dims if node.inputs[0] is not None else None
    if node.op_type == "Reshape":
        zero = node.attributes.get_int("allowzero", 0)
        kept = [own[k] if own is not None and k < len(own) else None for k in range(len(told))]
        told = [k if d == 0 and not zero else d for d, k in zip(told, kept, strict=True)]
        told = [None if d == -1 else d for d in told]
    elif node.op_type == "Expand":
        if own is None or len(own) > len(told):
            return found
        own = (*[1] * (len(told) - len(own)), *own)
        told = [
            k if d == 1 or (d is None and k != 1) else d for d, k in zip(told, own, strict=True)
        ]
    dims = found.dims or (None,) * len(told)
    return replace(
        found, dims=tuple(t if d is None else d for d, t in zip(dims, told, strict=True))
    )


def _entries(value: ir.Value | None, known: Mapping[ir.Value, Known]) -> list[int | None] | None:
    """Entries of a vector of sizes, each None where unknown; None if their number is."""
    entries: list[int | None] = []
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value is None:
            return None
        found, node = known.get(value, Known()), value.producer()
        asked = None
        if node is not None and node.op_type == "Shape" and node.inputs[0] is not None:
            dims = known.get(node.inputs[0], Known()).dims
            asked = None if dims is None else _asked_for(node, dims)
        if found.value is not None:
            entries += [int(size) for size in found.value.ravel()]
        elif node is not None and node.op_type == "Concat":
            waiting += reversed(node.inputs)
        elif asked is not None:
            entries += asked
        elif found.dims and found.dims[0] is not None:
            entries += [None] * found.dims[0]
        else:
            return None
    return entries


def _onesided(found: Known) -> Known:
    """A spectrum's one side, which ONNX's inference forgets is what an STFT gives by default."""
    if found.dims is None or found.dims[2] is None:
        return found
    frames, size = found.dims[:2], found.dims[2]
    return replace(found, dims=(*frames, size // 2 + 1, *found.dims[3:]))


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
