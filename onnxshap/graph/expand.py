"""Replace operators that ONNX itself defines as functions of others by those definitions.

Only where nothing is gained from a rule of their own: no runtime has a faster kernel that would be
given up, and what the body is made of has rules. The model's outputs are what they were.
"""

from collections.abc import Iterator
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from onnxshap.graph.inference import Known, as_type
from onnxshap.graph.shapes import declared, infer

EXPANDED = frozenset(
    (
        "CastLike",
        "CausalConvWithState",
        "Celu",
        "CenterCropPad",
        "GroupNormalization",
        "LinearAttention",
        "MeanVarianceNormalization",
        "NegativeLogLikelihoodLoss",
        "RotaryEmbedding",
        "SoftmaxCrossEntropyLoss",
        "SwiGLU",
    )
)

_DOMAIN = "onnxshap.expand"


class ExpandPass(ir.passes.InPlacePass):
    """Inline the schema's body of every node in `EXPANDED`, those in other bodies included.

    A body that depends on the node's types (how long a loop of constants is, whether a Cast is
    needed) is asked for with what shape inference knows; a node it knows too little about stays.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Expand ``model`` in place."""
        modified = False
        while self._name_bodies(model):
            InlinePass()(model)
            modified = True
        return ir.passes.PassResult(model, modified)

    def _name_bodies(self, model: ir.Model) -> bool:
        """Turn every such node into a call of a function of the model: its own body."""
        chosen = [node for node in _nodes(model.graph) if _is_expandable(node)]
        known = infer(model.graph, {}) if chosen else {}
        for node in chosen:
            inputs = [None if v is None else known.get(v) or declared(v, {}) for v in node.inputs]
            function = _body(node, inputs, model.graph.opset_imports)
            if function is None:
                continue
            function.name = f"{node.op_type}_{len(model.functions)}"
            function.domain = _DOMAIN
            found = ir.serde.deserialize_function(function)
            model.functions[found.identifier()] = found
            node.domain, node.op_type = _DOMAIN, function.name
        return any(domain == _DOMAIN for domain, *_ in model.functions)


def _nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    return iter(ir.traversal.RecursiveGraphIterator(graph))


def _is_expandable(node: ir.Node) -> bool:
    return node.domain in ("", "ai.onnx") and node.op_type in EXPANDED


def _body(
    node: ir.Node, inputs: list[Known | None], opsets: dict[str, int]
) -> onnx.FunctionProto | None:
    """Return the definition of ``node`` in operators of the model's opset; None if unknown."""
    opset = opsets[node.domain]
    if not onnx.defs.has(node.op_type, opset, node.domain):  # newer than what runtimes read
        opset = onnx.defs.get_schema(node.op_type).since_version
    # The stubs of OpSchema leave out what it says of functions.
    schema: Any = onnx.defs.get_schema(node.op_type, opset, node.domain)
    if schema.has_function:
        version = max(v for v in schema.function_opset_versions if v <= opset)
        encoded = schema.get_function_with_opset_version(version)
    elif any(found is not None and found.dtype is None for found in inputs):
        return None
    else:
        version = max(v for v in schema.context_dependent_function_opset_versions if v <= opset)
        types = [b"" if i is None else as_type(i).SerializeToString() for i in inputs]
        proto = ir.serde.serialize_node(node).SerializeToString()
        encoded = schema.get_context_dependent_function_with_opset_version(version, proto, types)
    function: onnx.FunctionProto = onnx.FunctionProto.FromString(encoded)
    del function.input[len(node.inputs) :], function.output[len(node.outputs) :]
    for name, attribute in schema.attributes.items():
        default = attribute.default_value
        if default.name and name in function.attribute:
            function.attribute.remove(name)
            function.attribute_proto.append(default)
    for entry in function.opset_import:
        entry.version = opsets[entry.domain]
    if schema.has_function and inputs[0] is not None:
        _retype(function, inputs[0].dtype)
    return function


def _retype(function: onnx.FunctionProto, dtype: ir.DataType | None) -> None:
    """Give the float constants of a body the dtype of its input: ONNX writes float32 alone."""
    if dtype is None or not dtype.is_floating_point():
        return
    for node in function.node:
        for attribute in node.attribute:
            if attribute.t.data_type == onnx.TensorProto.FLOAT:
                array = onnx.numpy_helper.to_array(attribute.t).astype(dtype.numpy())
                attribute.t.CopyFrom(ir.serde.serialize_tensor(ir.tensor(array, dtype=dtype)))
