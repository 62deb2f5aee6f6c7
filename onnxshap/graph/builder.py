"""Emit ONNX nodes: operator names are attributes, Python numbers take their neighbour's dtype."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxshap.errors import UnknownShapeError
from onnxshap.graph.constants import initializer

Operand = ir.Value | float | int | bool | Sequence[int] | np.ndarray | None

# Operators whose output dtype is not that of their first input.
_FIXED_DTYPE = dict.fromkeys(("Shape", "Size", "ArgMax", "ArgMin", "NonZero"), ir.DataType.INT64)
_FIXED_DTYPE |= dict.fromkeys(
    ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Not", "And", "Or", "Xor"),
    ir.DataType.BOOL,
)
_FIXED_DTYPE |= dict.fromkeys(("IsNaN", "IsInf"), ir.DataType.BOOL)
_FIXED_DTYPE |= dict.fromkeys(("ConvInteger", "MatMulInteger"), ir.DataType.INT32)
_DTYPE_OF_INPUT = {"Where": 1, "OneHot": 2, "CastLike": 1}
_DTYPE_OF_INPUT |= {"DequantizeLinear": 1, "QuantizeLinear": 2}  # a scale's, a zero point's
_SECOND_OUTPUT_DTYPE = {"MaxPool": ir.DataType.INT64, "TopK": ir.DataType.INT64}
_SECOND_OUTPUT_DTYPE |= {"LayerNormalization": ir.DataType.FLOAT}  # statistics, as stashed
_SECOND_OUTPUT_DTYPE["Dropout"] = ir.DataType.BOOL


class Builder:
    """Appends nodes to a graph.

    ``op.Mul(x, 0.5)`` appends a Mul and returns its output. Every node gets a readable name below
    the current scope and metadata that says which side of the explanation it belongs to.
    """

    def __init__(self, graph: ir.Graph, prefix: str = "") -> None:
        self.graph, self._prefix = graph, prefix
        self._scope = "onnxshap"
        self._metadata: dict[str, str] = {}
        self._doc = ""
        self._counts: dict[str, int] = {}
        self._taken = taken_names(graph)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    @contextmanager
    def scope(self, name: str, doc: str = "", **metadata: str) -> Iterator[None]:
        """Name nodes ``name/<Op>_<k>`` and tag them ``onnxshap.<key>: value`` inside the block."""
        before = self._scope, self._metadata, self._doc
        tags = {f"onnxshap.{k}": v for k, v in metadata.items() if v}
        self._scope, self._metadata, self._doc = name, tags, doc
        try:
            yield
        finally:
            self._scope, self._metadata, self._doc = before

    def __getattr__(self, op_type: str) -> Callable[..., ir.Value]:
        if op_type.startswith("_"):
            raise AttributeError(op_type)
        return lambda *inputs, **attributes: self.several(op_type, *inputs, **attributes)[0]

    def several(
        self, op_type: str, *inputs: Operand, outputs: int = 1, **attributes: Any
    ) -> tuple[ir.Value, ...]:
        """Append a node with ``outputs`` outputs. Attributes that are None are left out."""
        dtype = next((i.dtype for i in inputs if isinstance(i, ir.Value)), None)
        if op_type == "Where":  # its first input is a condition, which types nothing
            dtype = next((i.dtype for i in inputs[1:] if isinstance(i, ir.Value)), None)
        values = [None if i is None else self.value(i, dtype) for i in inputs]
        node = ir.node(
            op_type,
            values,
            {k: v for k, v in attributes.items() if v is not None},
            num_outputs=outputs,
            name=self._unique(f"{self._scope}/{op_type}"),
            doc_string=self._doc or None,
        )
        node.metadata_props.update(self._metadata)
        for k, output in enumerate(node.outputs):
            output.name = node.name if k == 0 else f"{node.name}:{k}"
            output.dtype = _output_dtype(node, k)
        self.graph.append(node)
        return tuple(node.outputs)

    def value(self, operand: Operand, dtype: ir.DataType | None = None) -> ir.Value:
        """Return ``operand`` as a value; numbers become constants of ``dtype``."""
        if isinstance(operand, ir.Value):
            return operand
        if isinstance(operand, np.ndarray):
            array = operand
        elif isinstance(operand, list | tuple):
            array = np.array(operand, np.int64)
        elif dtype is None:
            raise TypeError(f"no dtype for the constant {operand!r}: name one with value()")
        else:
            array = np.array(operand, dtype.numpy())
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            name = self._unique(f"{self._prefix}constant")
            self._constants[key] = initializer(self.graph, name, array)
        return self._constants[key]

    def fresh(self, name: str) -> str:
        """Return ``name``, or a longer one if it is taken; it is taken then."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def fresh_scope(self, name: str) -> str:
        """As `fresh`, and nothing is called ``name/...`` either: for a subgraph's own names."""
        while any(taken.startswith(f"{name}/") for taken in self._taken):
            name += "_"
        return self.fresh(name)

    def _unique(self, stem: str) -> str:
        while True:
            count = self._counts.get(stem, 0)
            self._counts[stem] = count + 1
            if f"{stem}_{count}" not in self._taken:
                return f"{stem}_{count}"


def taken_names(graph: ir.Graph) -> set[str]:
    """Names of all nodes and values of a graph."""
    values = [*graph.inputs, *graph.initializers.values(), *(o for n in graph for o in n.outputs)]
    return {str(v.name) for v in values} | {str(n.name) for n in graph}


def _output_dtype(node: ir.Node, index: int) -> ir.DataType:
    if index and node.op_type in _SECOND_OUTPUT_DTYPE:
        return _SECOND_OUTPUT_DTYPE[node.op_type]
    if node.op_type in _FIXED_DTYPE:
        return _FIXED_DTYPE[node.op_type]
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int())
    if node.op_type == "ConstantOfShape":
        filling = node.attributes.get("value")
        return filling.as_tensor().dtype if filling is not None else ir.DataType.FLOAT
    source = node.inputs[_DTYPE_OF_INPUT.get(node.op_type, 0)]
    if source is None or source.dtype is None:
        raise UnknownShapeError(
            f'{node.op_type} "{node.name}": its input {source and source.name!r} has no known dtype'
        )
    return source.dtype
