"""Bring a model into the one dialect rules are written for.

Opset 18 to 26, no model functions, constants as initializers, shape arithmetic folded, every node
named, and none of the exporter's notes (they can hold paths of the machine that exported).
"""

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    ClearMetadataAndDocStringPass,
    InlinePass,
    LiftConstantsToInitializersPass,
    RemoveInitializersFromInputsPass,
    RemoveUnusedNodesPass,
)

from onnxshap.errors import ModelFileError
from onnxshap.graph.constants import initializer
from onnxshap.graph.expand import EXPANDED, ExpandPass
from onnxshap.graph.shapes import SMALL, infer

OPSETS = range(18, 27)  # what rules are written for, and what onnxruntime reads
NEWEST_IR = 13


def normalise(proto: onnx.ModelProto, folder: Path | None = None) -> ir.Model:
    """Return a normalised copy of ``proto`` that computes the same numbers.

    ``folder``: where external weights lie; they stay there, by reference.

    Raises
    ------
    ModelFileError
        If the opset cannot be brought into the supported range without changing the model.
    """
    model = ir.serde.deserialize_model(_convert_opset(proto))
    if folder is not None:
        ir.external_data.set_base_dir(model.graph, folder)
    for step in (
        InlinePass(),
        ExpandPass(),
        RemoveInitializersFromInputsPass(),
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        ClearMetadataAndDocStringPass(),
    ):
        step(model)
    name_nodes(model.graph)
    fold_shape_arithmetic(model.graph)
    RemoveUnusedNodesPass()(model)
    _clear_values(model.graph)
    model.doc_string = None
    for key in [k for k in model.metadata_props if k.startswith("pkg.")]:
        del model.metadata_props[key]
    model.ir_version = min(max(model.ir_version, 8), NEWEST_IR)
    return model


def _clear_values(graph: ir.Graph) -> None:
    """Drop notes on values, which the pass for models and nodes leaves."""
    for value in (*graph.inputs, *graph.outputs, *(o for n in graph for o in n.outputs)):
        value.doc_string = None
        value.metadata_props.clear()


def _convert_opset(proto: onnx.ModelProto) -> onnx.ModelProto:
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None or opset in OPSETS:
        return proto
    if opset > OPSETS[-1]:
        return _lower_opset(proto, opset)
    try:
        return onnx.version_converter.convert_version(proto, OPSETS[0])
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ModelFileError(
            f"opset {opset} could not be raised to {OPSETS[0]}: {error}. "
            "Export the model again with opset 18 or later."
        ) from error


def _lower_opset(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Restamp to the newest readable opset if no operator of the model changed since."""
    changed = sorted(
        {
            f"{node.op_type} (node {node.name!r})"
            for node in proto.graph.node
            if node.domain in ("", "ai.onnx")
            and node.op_type not in EXPANDED
            and onnx.defs.get_schema(node.op_type, opset).since_version > OPSETS[-1]
        }
    )
    if changed:
        raise ModelFileError(
            f"the model is written in opset {opset}; the runtime reads up to {OPSETS[-1]}, and "
            f"these operators changed since: {', '.join(changed)}. Export with opset <= "
            f"{OPSETS[-1]}."
        )
    lowered = onnx.ModelProto()
    lowered.CopyFrom(proto)
    for entry in lowered.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = OPSETS[-1]
    return lowered


def name_nodes(graph: ir.Graph) -> None:
    """Give every node a unique name; errors and emitted nodes refer to it."""
    taken: set[str] = set()
    for index, node in enumerate(graph):
        name = node.name or (node.outputs[0].name if node.outputs else "") or f"node_{index}"
        node.name = name if name not in taken else f"{name}#{index}"
        taken.add(node.name)


def fold_shape_arithmetic(graph: ir.Graph) -> None:
    """Replace small integer results that are constant by initializers.

    Only integers and booleans: a float folded here could differ from the runtime's in the last
    bit, and the model's own outputs must not change. Constant is what is known with every symbolic
    size unknown: trying some sizes proves nothing (``T // 16`` is 0 for many).
    """
    known = infer(graph, {})
    for node in list(graph):
        for output in node.outputs:
            found = known[output].value
            if found is None or found.dtype.kind not in "ib" or found.size > SMALL:
                continue
            if output.is_graph_output():
                continue
            constant = initializer(graph, f"{output.name}/folded", found)
            output.replace_all_uses_with(constant)
