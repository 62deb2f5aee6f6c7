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
from onnxshap.graph.lower.idioms import IDIOMS, spells_out
from onnxshap.graph.lower.lowering import LIMIT, Lowering, Rewrite, operator
from onnxshap.graph.lower.quantised import (
    CONSTANTS,
    ON_STEPS,
    QUANTISED,
    VENDOR_QUANTISED,
    quantises,
)
from onnxshap.graph.lower.recurrent import gru, lstm, note_single_steps, rnn
from onnxshap.graph.lower.training import TRAINING, trains
from onnxshap.graph.lower.vendor import VENDOR, refuse_layouts

__all__ = ["LIMIT", "REWRITES", "lower", "write_out"]

FOREIGN: dict[str, Rewrite] = VENDOR | VENDOR_QUANTISED
"""How operators are rewritten that no rule is written for, wherever they stand."""

REWRITES: dict[str, Rewrite] = {
    "Attention": attention,
    "CastLike": cast_like,
    "GRU": gru,
    "If": if_,
    "LSTM": lstm,
    "Loop": loop,
    "RNN": rnn,
    "Scan": scan,
    **QUANTISED,
    **FOREIGN,
}
"""How operators between what is explained and the target are rewritten."""


def write_out(graph: ir.Graph) -> None:
    """Rewrite in place the operators of vendors, so that sizes and batches of all values are known.

    A node that cannot be rewritten stays, for `lower` to refuse where it is explained.

    Raises
    ------
    UnsupportedOpError
        If the model was saved for the memory layout of one machine.
    """
    refuse_layouts(graph)
    if any(operator(node) in FOREIGN for node in graph):
        Lowering(graph, FOREIGN, graph.inputs).run()


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
    rewrites = REWRITES | (ON_STEPS if quantises(graph) else {})
    rewrites |= TRAINING if trains(graph) else {}
    rewrites = (IDIOMS if spells_out(graph) else {}) | rewrites
    replaced = {}
    if any(operator(node) in rewrites for node in graph):
        note_single_steps(graph)
        free_batch(graph)
        replaced = Lowering(graph, rewrites, sources, target).run()
    if any(operator(node) in CONSTANTS for node in graph):
        Lowering(graph, CONSTANTS, sources).run()
    return replaced
