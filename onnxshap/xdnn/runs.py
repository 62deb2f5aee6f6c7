"""Run part of a model on the CPU, one sample at a time: samples then cannot meet."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from onnxshap.graph.batch import batched_inputs
from onnxshap.graph.files.external import kept_outside
from onnxshap.graph.files.protobuf import encode
from onnxshap.graph.partition import extract
from onnxshap.runtime.session import Session
from onnxshap.runtime.workers import Workers

Arrays = dict[str, np.ndarray]


class Part:
    """The nodes of a model between some of its values."""

    def __init__(
        self, model: ir.Model, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], what: str
    ) -> None:
        self._names = [str(v.name) for v in outputs]
        part = extract(model, inputs, outputs)
        data, (folder, _) = encode(ir.serde.serialize_model(part)), kept_outside(part)
        self._session = Session(data, ["CPUExecutionProvider"], Workers(1), what, folder=folder)

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Values of the outputs, by name."""
        found = self._session.run(feeds, self._names)
        return {name: value.numpy() for name, value in found.items()}


def one_by_one(graph: ir.Graph, arrays: Mapping[str, np.ndarray]) -> Iterator[Arrays]:
    """Samples [N, *x] as the model takes them: with a batch axis of size 1 where it has one."""
    batched = {v.name for v in batched_inputs(graph)}
    for i in range(len(next(iter(arrays.values()), ()))):
        yield {
            name: np.ascontiguousarray(a[i : i + 1] if name in batched else a[i])
            for name, a in arrays.items()
        }
