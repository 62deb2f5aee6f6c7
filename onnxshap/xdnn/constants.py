"""Contents of what a model computes from its weights alone, e.g. ``Unsqueeze(bias)``."""

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from onnxshap.graph.dependence import node_inputs
from onnxshap.graph.shapes import RANDOM


class Constants:
    """Evaluates constant values, when first asked for, by ONNX's reference evaluator."""

    def __init__(self, graph: ir.Graph) -> None:
        self._opsets = dict(graph.opset_imports)
        self._found: dict[ir.Value, np.ndarray | None] = {}

    def content(self, value: ir.Value) -> np.ndarray | None:
        """The elements of a value; None if it depends on an input, or cannot be evaluated."""
        if value.is_initializer():
            return None if value.const_value is None else value.const_value.numpy()
        node = value.producer()
        if value not in self._found and node is not None:
            self._found |= dict(zip(node.outputs, self._outputs(node), strict=True))
        return self._found.get(value)

    def _outputs(self, node: ir.Node) -> list[np.ndarray | None]:
        unknown: list[np.ndarray | None] = [None] * len(node.outputs)
        if len(node_inputs(node)) > len(node.inputs) or node.op_type in RANDOM:
            return unknown
        inputs = [None if v is None else self.content(v) for v in node.inputs]
        if any(a is None for v, a in zip(node.inputs, inputs, strict=True) if v is not None):
            return unknown
        proto = ir.serde.serialize_node(node)
        feeds = {n: a for n, a in zip(proto.input, inputs, strict=True) if n}
        try:
            found = ReferenceEvaluator(proto, opsets=self._opsets).run(None, feeds)
        except Exception:  # the evaluator raises whatever numpy does; "unknown" is an answer here
            return unknown
        return [np.asarray(a) for a in found]
