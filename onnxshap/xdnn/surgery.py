"""The few ways a graph is changed when biases go: other weights, other nodes, values passed on."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from onnxshap.graph.builder import Builder
from onnxshap.graph.constants import initializer
from onnxshap.graph.dependence import carries_numbers, reachable
from onnxshap.graph.inference import Known
from onnxshap.graph.shapes import infer
from onnxshap.xdnn.constants import Constants


class Surgery:
    """A graph that is changed in place, and what is known of its values."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._known, self._constants = infer(graph, {}), Constants(graph)
        self._fed = reachable(graph, graph.inputs)
        floats = [v for v in graph.inputs if v.dtype is not None and v.dtype.is_floating_point()]
        self._varying = reachable(graph, floats or graph.inputs, carries_numbers)
        self._names = Builder(graph)

    def varies(self, value: ir.Value | None) -> bool:
        """Whether a value depends on a float input of the model, or on any if there is none.

        On its numbers: what is computed from sizes has no bias.
        """
        return value in self._varying

    def content(self, value: ir.Value | None) -> np.ndarray | None:
        """The elements of a float constant; None for what depends on an input, and all else."""
        if value is None or value in self._fed:
            return None
        found = self._constants.content(value)
        return found if found is not None and found.dtype.kind in "fV" else None

    def dims(self, value: ir.Value) -> tuple[int | None, ...] | None:
        """Sizes of a value, as far as they are known."""
        return self._known[value].dims

    def dtype(self, value: ir.Value) -> ir.DataType | None:
        """Element type of a value."""
        return self._known[value].dtype or value.dtype

    def constant(self, array: np.ndarray, name: str) -> ir.Value:
        """Register an initializer named after ``name``."""
        value = initializer(self.graph, self._names.fresh(name), array)
        self._known[value] = Known(value.dtype, array.shape)
        return value

    def replace(self, node: ir.Node, op_type: str, inputs: Sequence[ir.Value]) -> None:
        """Put another operator in the place of ``node``, under its name and its output's."""
        twin = ir.node(op_type, list(inputs), name=node.name)
        old, new = node.outputs[0], twin.outputs[0]
        ir.convenience.replace_nodes_and_values(self.graph, node, [node], [twin], [old], [new])
        self._known[new] = self._known[old]
        for members in (self._fed, self._varying):
            if old in members:
                members.add(new)

    def drop(self, node: ir.Node, source: ir.Value) -> None:
        """Remove ``node``: its input ``source`` takes the place of its output.

        And its name, where nothing else reads ``source``: what users call a layer's result stays.
        """
        output = node.outputs[0]
        alone = len(source.uses()) == 1 and not source.is_graph_output()
        if source.producer() is not None and alone:
            ir.convenience.replace_all_uses_with(output, source, replace_graph_outputs=True)
            source.name, source.type = output.name, output.type or source.type
            source.shape = source.shape if output.shape is None else output.shape
        elif output.is_graph_output():
            self.replace(node, "Identity", [source])
            return
        else:
            ir.convenience.replace_all_uses_with(output, source)
        self.graph.remove(node, safe=True)
