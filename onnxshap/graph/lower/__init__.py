"""Rewrite operators that run others inside them: recurrent cells, attention, control flow.

What is left are gates, products and softmaxes, each with rules of its own, so gradients, second
derivatives and exact DeepLIFT multipliers need no rule for the whole. Only nodes between the
explained values and the target are rewritten; the numbers stay the same up to rounding.
"""

from collections.abc import Sequence

import onnx_ir as ir

from onnxshap.graph.batch import free_batch
from onnxshap.graph.lower.attention import attention
from onnxshap.graph.lower.control import cast_like, if_, loop, scan
from onnxshap.graph.lower.lowering import LIMIT, Lowering, Rewrite
from onnxshap.graph.lower.recurrent import gru, lstm, rnn

__all__ = ["LIMIT", "REWRITES", "lower"]

REWRITES: dict[str, Rewrite] = {
    "Attention": attention,
    "CastLike": cast_like,
    "GRU": gru,
    "If": if_,
    "LSTM": lstm,
    "Loop": loop,
    "RNN": rnn,
    "Scan": scan,
}
"""How each operator of ai.onnx is rewritten."""


def lower(
    graph: ir.Graph, sources: Sequence[ir.Value], target: ir.Value
) -> dict[ir.Value, ir.Value]:
    """Rewrite in place what lies between ``sources`` and ``target``.

    Returns what stands for each output that was replaced; it has the name of the old one.

    Raises
    ------
    UnsupportedOpError
        If a length or a condition is not known beforehand, or too much would have to be written.
    """
    if not any(node.op_type in REWRITES for node in graph):
        return {}
    free_batch(graph)
    return Lowering(graph, REWRITES, sources, target).run()
