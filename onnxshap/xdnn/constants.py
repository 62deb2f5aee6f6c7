"""Contents of what a model computes from its weights alone, e.g. ``Unsqueeze(bias)``."""

import numpy as np
import onnx_ir as ir

from onnxshap.graph.inference import RANDOM, run_node


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
        inputs = [None if v is None else self.content(v) for v in node.inputs]
        missing = any(a is None for v, a in zip(node.inputs, inputs, strict=True) if v is not None)
        if missing or node.op_type in RANDOM:
            return unknown
        found = run_node(node, inputs, self._opsets)
        return unknown if found is None else list(found)
