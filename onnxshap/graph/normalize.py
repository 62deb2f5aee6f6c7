"""Bring a model into the one dialect rules are written for.

Opset 18 to 26, no model functions, no operators of vendors, constants as initializers, shape
arithmetic folded, every node named, and none of the exporter's notes (they can hold paths of the
machine that exported).
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
    RemoveUnusedOpsetsPass,
)

from onnxshap.errors import ModelFileError
from onnxshap.graph.branches import take_known_branches
from onnxshap.graph.concats import chain_concats
from onnxshap.graph.constants import initializer
from onnxshap.graph.expand import EXPANDED, ExpandPass
from onnxshap.graph.files.adopted import given_back
from onnxshap.graph.inference import SMALL
from onnxshap.graph.lower import write_out
from onnxshap.graph.lower.quantised import WIDER_STEPS, has_wider_steps
from onnxshap.graph.newer import NEWER, write_in_older
from onnxshap.graph.optional import resolve_optionals
from onnxshap.graph.shapes import infer

OPSETS = range(18, 27)  # what rules are written for, and what onnxruntime reads
NEWEST_IR = 13


def normalise(proto: onnx.ModelProto, folder: Path | None = None) -> ir.Model:
    """Return a normalised copy of ``proto`` that computes the same numbers.

    ``folder``: where external weights lie; they stay there, by reference.

    Raises
    ------
    ModelFileError
        If the opset cannot be brought into the supported range without changing the model, or an
        output is no tensor but a map.
    UnsupportedOpError
        If the model was saved for the memory layout of one machine.
    """
    _refuse_maps(proto.graph)
    model = ir.serde.deserialize_model(_convert_opset(given_back(proto)))
    opsets = model.graph.opset_imports
    if "ai.onnx" in opsets:  # ONNX's own domain, by its other name
        opsets[""] = opsets.pop("ai.onnx")
    if folder is not None:
        ir.external_data.set_base_dir(model.graph, folder)
    InlinePass()(model)
    write_in_older(model.graph)
    resolve_optionals(model.graph)
    lift = LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)
    for step in (
        ExpandPass(),
        RemoveInitializersFromInputsPass(),
        lift,
        ClearMetadataAndDocStringPass(),
    ):
        step(model)
    name_nodes(model.graph)
    write_out(model.graph)
    fold_shape_arithmetic(model.graph)
    while take_known_branches(model.graph):
        lift(model)  # constants that were a branch's outputs
        name_nodes(model.graph)
        fold_shape_arithmetic(model.graph)
    chain_concats(model.graph)
    RemoveUnusedNodesPass()(model)
    RemoveUnusedOpsetsPass()(model)
    _clear_values(model.graph)
    model.doc_string = None
    for key in [k for k in model.metadata_props if k.startswith("pkg.")]:
        del model.metadata_props[key]
    model.ir_version = min(max(model.ir_version, 8), NEWEST_IR)
    return model


def _refuse_maps(graph: onnx.GraphProto) -> None:
    """Refuse what ends in maps of scores by label, as classifiers of scikit-learn are exported."""
    for value in (*graph.input, *graph.output):
        kind = value.type.sequence_type.elem_type if value.type.HasField("sequence_type") else None
        if (kind or value.type).HasField("map_type"):
            by = [f' ({n.op_type} "{n.name}")' for n in graph.node if value.name in n.output]
            raise ModelFileError(
                f'"{value.name}"{by[0] if by else ""} is a map of scores by label, no tensor. '
                'Export without ZipMap (skl2onnx: options={"zipmap": False}), and explain the '
                "tensor of scores."
            )


def _clear_values(graph: ir.Graph) -> None:
    """Drop notes on values, which the pass for models and nodes leaves."""
    for value in (*graph.inputs, *graph.outputs, *(o for n in graph for o in n.outputs)):
        value.doc_string = None
        value.metadata_props.clear()


def _convert_opset(proto: onnx.ModelProto) -> onnx.ModelProto:
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), None)
    least = WIDER_STEPS if has_wider_steps(proto) else OPSETS[0]
    if opset is None or least <= opset <= OPSETS[-1]:
        return proto
    if opset > OPSETS[-1]:
        return _lower_opset(proto, opset)
    try:
        return onnx.version_converter.convert_version(proto, least)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        raise ModelFileError(
            f"opset {opset} could not be raised to {least}: {error}. "
            f"Export the model again with opset {least} or later."
        ) from error


def _lower_opset(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Restamp to the newest readable opset if no operator of the model changed since."""
    changed = sorted(
        {
            f"{node.op_type} (node {node.name!r})"
            for node in proto.graph.node
            if node.domain in ("", "ai.onnx")
            and node.op_type not in EXPANDED | NEWER.keys()
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
            if output.is_graph_output() or not output.uses():
                continue
            constant = initializer(graph, f"{output.name}/folded", found)
            output.replace_all_uses_with(constant)
