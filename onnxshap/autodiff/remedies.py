"""What to do instead where no rule can help: text, sequences, and operators of ai.onnx.ml."""

from collections.abc import Iterable

import onnx_ir as ir

_BEHIND = "explain the part of the model behind {them} (inputs=)"
_ML = (
    "ai.onnx.ml: write scalers and linear models with Sub, Div, MatMul and Add; a tree ensemble is "
    "a step function without a derivative, for which TreeSHAP is exact. Or explain a part of the "
    "model that avoids them (inputs=, output=)."
)
_SEQUENCES = (
    "Sequences: export lists of a fixed length as Split and Concat (chunk, unbind and cat in "
    f"torch), or {_BEHIND.format(them='them')}."
)
_TEXT = (
    f"Text has no derivative: {_BEHIND.format(them='it')}, from the first numbers that are "
    "computed of it."
)
_OTHERS = (
    "Register a rule with onnxshap.{kind}, or explain a part of the model that avoids them "
    "(inputs=, output=)."
)
_OF_SEQUENCES = ("ConcatFromSequence", "OptionalGetElement", "SplitToSequence")


def remedies(nodes: Iterable[ir.Node], kind: str) -> str:
    """Return the lines that follow a list of nodes that cannot be differentiated.

    ``kind``: what a rule for any other operator would be registered with.
    """
    return "\n".join(dict.fromkeys(_remedy(node).format(kind=kind) for node in nodes))


def gives_text(node: ir.Node) -> bool:
    """Whether a node's output is text."""
    return any(output.dtype == ir.DataType.STRING for output in node.outputs)


def _remedy(node: ir.Node) -> str:
    if gives_text(node):
        return _TEXT
    if node.domain == "ai.onnx.ml":
        return _ML
    if node.domain in ("", "ai.onnx") and _is_of_sequences(node.op_type):
        return _SEQUENCES
    return _OTHERS


def _is_of_sequences(op_type: str) -> bool:
    return op_type.startswith("Sequence") or op_type in _OF_SEQUENCES
