"""What ONNX tells of one operator's outputs: by its inference, or by its evaluator.

Answers are remembered: nets repeat their layers, and each is gone through for several batch sizes.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxshap.errors import ModelFileError

SMALL = 4096  # elements; larger values are data, not shape arithmetic
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
RANDOM |= {"Bernoulli", "Multinomial"}
_SIZED_BY_VALUE = {"ConstantOfShape", "Expand", "Tile", "Range", "Resize", "OneHot", "Pad"}
_REMEMBERED = 4096  # answers; a few kilobytes each at most, as SMALL has it
_SETTINGS = {ir.AttributeType[f"{kind}{many}"] for kind in ("INT", "FLOAT") for many in ("", "S")}
_SETTINGS |= {ir.AttributeType.STRING, ir.AttributeType.STRINGS}


@dataclass(frozen=True, eq=False)
class Known:
    """What inference found: ``None`` where unknown. Equal to another of the same contents."""

    dtype: ir.DataType | None = None
    dims: tuple[int | None, ...] | None = None
    value: np.ndarray | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[object, ...]:
        if self.value is None:
            return self.dtype, self.dims
        return self.dtype, self.dims, self.value.dtype, self.value.shape, self.value.tobytes()


Answer = list[Known] | None
Ask = Callable[[ir.Node, list[Known], ir.Graph], Answer]


def _remembered(ask: Ask) -> Ask:
    """Ask once what depends on operator, settings, opsets and the inputs as they are known."""
    answers: dict[Hashable, Answer] = {}

    @wraps(ask)
    def answer(node: ir.Node, inputs: list[Known], graph: ir.Graph) -> Answer:
        settings = [(a.name, a.type, a.value, str(a.value)) for a in node.attributes.data.values()]
        if any(kind not in _SETTINGS for _, kind, *_ in settings):
            return ask(node, inputs, graph)
        given = tuple(None if v is None else i for v, i in zip(node.inputs, inputs, strict=True))
        named = tuple(bool(output.name) for output in node.outputs)
        opsets = tuple(graph.opset_imports.items())
        question = (node.op_type, node.domain, opsets, *settings, given, named)
        if question in answers:
            return answers[question]
        found = ask(node, inputs, graph)
        if len(answers) >= _REMEMBERED:
            answers.clear()
        answers[question] = found
        return found

    return answer


def infer_types(node: ir.Node, inputs: list[Known], graph: ir.Graph) -> list[Known]:
    """Dtypes and sizes of a node's outputs; its declared dtypes where nothing can be told.

    Raises
    ------
    ModelFileError
        If the operator does not allow what it is given.
    """
    try:
        found = _infer_types(node, inputs, graph)
    except onnx.checker.ValidationError as error:
        raise ModelFileError(
            f'{node.op_type} "{node.name}": opset {graph.opset_imports[node.domain]} does not '
            f"allow what the model gives it: {error}. Export the model with a newer opset, or "
            "convert it to float32."
        ) from error
    return [Known(o.dtype) for o in node.outputs] if found is None else found


@_remembered
def _infer_types(node: ir.Node, inputs: list[Known], graph: ir.Graph) -> Answer:
    opset = graph.opset_imports.get(node.domain)
    if opset is None:
        return None
    if any(v is not None and i.dtype is None for v, i in zip(node.inputs, inputs, strict=True)):
        return None
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
    except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError):
        return None
    return [_from_type_proto(inferred.get(name)) for name in proto.output]


@_remembered
def compute(node: ir.Node, inputs: list[Known], graph: ir.Graph) -> Answer:
    """What a node makes of inputs whose contents are known, if it is small; None if not."""
    if not _output_is_small(node, inputs, graph):
        return None
    found = evaluate(node, [i.value for i in inputs], graph.opset_imports)
    return found if found is not None and _of_right_type(found, node, inputs, graph) else None


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


def draws(node: ir.Node) -> bool:
    """Whether a node's outputs are random: a Dropout's, if it is or may be in training mode."""
    if node.op_type != "Dropout":
        return node.op_type in RANDOM
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    return mode is not None and (mode.const_value is None or bool(mode.const_value.numpy().any()))


def as_type(known: Known) -> onnx.TypeProto:
    """The type as ONNX writes it; sizes that are not known are left out."""
    assert known.dtype is not None
    dims = known.dims
    return onnx.helper.make_tensor_type_proto(known.dtype.value, None if dims is None else dims)


def _of_right_type(
    evaluated: list[Known], node: ir.Node, inputs: list[Known], graph: ir.Graph
) -> bool:
    """Whether floats are of the type ONNX says: its evaluator gives float32 for some float64."""
    if not any(e.dtype is not None and e.dtype.is_floating_point() for e in evaluated):
        return True
    told = infer_types(node, inputs, graph)
    return all(t.dtype in (None, e.dtype) for t, e in zip(told, evaluated, strict=True))


def _output_is_small(node: ir.Node, inputs: list[Known], graph: ir.Graph) -> bool:
    """Guard the operators whose output size is a value of an input."""
    if node.op_type not in _SIZED_BY_VALUE:
        return True
    sizes = [d for found in infer_types(node, inputs, graph) for d in found.dims or (None,)]
    return math.prod(SMALL + 1 if d is None else d for d in sizes) <= SMALL


def _from_type_proto(proto: onnx.TypeProto | None) -> Known:
    if proto is None or not proto.HasField("tensor_type"):
        return Known()
    tensor = proto.tensor_type
    dims = None
    if tensor.HasField("shape"):
        dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return Known(ir.DataType(tensor.elem_type), dims)
