"""Operators for one machine's memory layout: refused, since no other machine has a use for them."""

import onnx_ir as ir

from onnxshap.errors import UnsupportedOpError
from onnxshap.graph.lower.lowering import operator

_DOMAIN = "com.microsoft.nchwc"
_OPERATORS = ("NhwcConv", "NhwcFusedConv", "NhwcMaxPool")


def refuse_layouts(graph: ir.Graph) -> None:
    """Raise UnsupportedOpError, naming every node, if a model was saved for one machine's layout.

    What lies between is in blocked or turned axes too, so no part of such a file can be explained.
    """
    found = [node for node in graph if _is_layout(node)]
    if found:
        listed = "\n  ".join(f'{operator(node)}, node "{node.name}"' for node in found)
        raise UnsupportedOpError(
            f"{len(found)} node(s) are written for the memory layout of the machine that saved the "
            f"model:\n  {listed}\n"
            "Explain the model as it was exported, or save it from an onnxruntime session whose "
            "graph_optimization_level is ORT_ENABLE_BASIC or ORT_ENABLE_EXTENDED."
        )


def _is_layout(node: ir.Node) -> bool:
    if node.domain == _DOMAIN:
        return True
    return node.domain == "com.microsoft" and node.op_type in _OPERATORS
