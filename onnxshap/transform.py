"""The graph-to-graph transformation alone."""

from collections.abc import Sequence

import onnx_ir as ir

from onnxshap.graph.constants import embed
from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.methods import Method, Rules, build_program, named


def build(
    model: ModelSource | Model,
    method: str | Method = "deepshap",
    *,
    output: str | None = None,
    inputs: str | Sequence[str] | None = None,
    rules: Rules | None = None,
) -> Model:
    """Return the graph that computes a method's contributions for a model.

    Its inputs are the model's, for methods with references ``<input>/reference`` [M, *x], and
    ``seed`` [K, N, *output], the weights of the explained sums. Its outputs are the model's (one of
    16 bits as float32, ``<output>/float32``), and ``<input>/contributions``, [K, N, M, *x] (without
    M where there are no references). The points of an integral and the noise of a smoothed gradient
    are embedded; numbers that a method draws
    for each reference or explicand are inputs: ``position`` [S, M] of expected gradients,
    ``<input>/noise`` [1, N, *x] of the random control.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
    method, output, inputs, rules
        As for `Explainer`.

    Raises
    ------
    UnsupportedOpError
        Naming every node on the path that has no rule.
    """
    asked = [inputs] if isinstance(inputs, str) else inputs
    loaded = load(model)
    program = build_program(loaded, named(method, rules), output=output, inputs=asked)
    graph = program.model.graph
    steps = range(1 if program.steps is None else len(program.steps.weights))
    for value in list(graph.inputs):
        own = program.filled.get(str(value.name))
        if own is not None and own.along is None:
            embed(graph, value, own.fill({}, range(1), steps))
    return Model(ir.serde.serialize_model(program.model), loaded.folder)
