"""Where each value's batch axis is, found by inferring shapes at two batch sizes.

The axis that moves with the batch is the batch axis. A value on the way from input to output
with no moving axis, or several, mixes samples as far as shapes can tell: the model is then not
*separable*, and explicands and references meet one pair at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxshap.errors import UnknownShapeError
from onnxshap.graph.constants import initializer
from onnxshap.graph.dependence import ancestors, reachable
from onnxshap.graph.shapes import Known, infer

_PROBES = (2, 3)
BATCH = "batch"  # the symbol a literal batch of 1, or one without a name, is replaced by


@dataclass(frozen=True)
class Layout:
    """One value: dtype, own sizes (None: unknown, or the batch), and its batch axis, if any."""

    dtype: ir.DataType
    dims: tuple[int | None, ...]
    batch: int | None
    value: np.ndarray | None = None


class Layouts:
    """The layout of every value of a graph, and whether samples stay separate on their way."""

    def __init__(
        self, known: dict[ir.Value, Known], batch: dict[ir.Value, int], mixing: str | None
    ) -> None:
        self._known, self._batch = known, batch
        self.mixing = mixing

    @property
    def separable(self) -> bool:
        """Whether shapes show one batch axis on every value between inputs and outputs."""
        return self.mixing is None

    def __getitem__(self, value: ir.Value) -> Layout:
        found = self._known[value]
        if found.dtype is None or found.dims is None:
            producer = value.producer()
            by = f' (output of {producer.op_type} "{producer.name}")' if producer else ""
            what = "dtype" if found.dtype is None else "rank"
            raise UnknownShapeError(
                f'the {what} of "{value.name}"{by} cannot be inferred. Give the model\'s inputs '
                "definite ranks, or run onnx.shape_inference on the model to see what is missing."
            )
        batch = self._batch.get(value) if self.separable else None
        dims = tuple(None if i == batch else d for i, d in enumerate(found.dims))
        return Layout(found.dtype, dims, batch, found.value)

    def alias(self, copy: ir.Value, original: ir.Value) -> None:
        """Lay ``copy``, which is not in the analysed graph, out like ``original``."""
        self._known[copy] = self._known[original]
        if original in self._batch:
            self._batch[copy] = self._batch[original]

    def batch_axis(self, value: ir.Value) -> int | None:
        """Axis that moves with the batch, whether or not the model is separable."""
        return self._batch.get(value)


def batched_inputs(graph: ir.Graph) -> list[ir.Value]:
    """Inputs whose first axis counts samples: symbolic, or literally 1."""
    return [
        v
        for v in graph.inputs
        if v.shape is not None
        and len(v.shape)
        and (not isinstance(v.shape[0], int) or v.shape[0] == 1)
    ]


def analyse(
    graph: ir.Graph,
    sources: Iterable[ir.Value],
    separable: bool = True,
    target: ir.Value | None = None,
) -> Layouts:
    """Find the batch axis of every value that depends on ``sources``.

    A literal batch of 1, and Reshapes that bake it in, are freed in place first where sizes allow.
    ``separable``: False where a run has shown that samples mix, whatever the shapes say. Where
    they do, sizes are those of one sample. ``target``: the value that is explained; samples may
    mix in what it does not depend on. None: all values count.
    """
    free_batch(graph)
    probes = [infer(graph, _sizes(graph, size)) for size in _PROBES]
    # Contents count as known only where no size decides them: trying two sizes proves nothing.
    free = infer(graph, {})
    known = {v: _agreement(probes[0][v], probes[1][v], free[v]) for v in probes[0]}
    batch: dict[ir.Value, int] = {}
    mixing = None if separable else "a run in which one sample changed moved another's output"
    judged = reachable(graph, sources)
    if target is not None:
        judged &= ancestors(graph, [target])
    if not batched_inputs(graph):
        mixing = "no input has a batch axis"
    for value, found in known.items():
        moving = _moving(probes[0][value], probes[1][value])
        data = value in judged and found.dtype is not None and found.dtype.is_floating_point()
        if moving is not None and len(moving) == 1 and _counts_samples(probes, value, moving[0]):
            batch[value] = moving[0]
        elif data and mixing is None:
            producer = value.producer()
            of = f'{producer.op_type} "{producer.name}"' if producer else f'input "{value.name}"'
            count = "no axis" if not moving else f"axes {moving}"
            mixing = f'{count} of "{value.name}" ({of}) moves one to one with the batch'
    if mixing is not None:
        known = infer(graph, _sizes(graph, 1))
    for value, found in known.items():
        if found.dtype is not None:
            value.dtype = found.dtype
    return Layouts(known, batch, mixing)


def _sizes(graph: ir.Graph, size: int) -> dict[str, int]:
    symbols = [v.shape[0] for v in batched_inputs(graph) if v.shape is not None]
    return {str(s.value): size for s in symbols if not isinstance(s, int) and s.value is not None}


def _agreement(a: Known, b: Known, free: Known) -> Known:
    dims = a.dims
    if a.dims is not None and b.dims is not None and len(a.dims) == len(b.dims):
        dims = tuple(i if i == j else None for i, j in zip(a.dims, b.dims, strict=True))
    return Known(a.dtype, dims, free.value)


def _moving(a: Known, b: Known) -> list[int] | None:
    if a.dims is None or b.dims is None or len(a.dims) != len(b.dims):
        return None
    return [k for k, (i, j) in enumerate(zip(a.dims, b.dims, strict=True)) if i != j]


def _counts_samples(probes: list[dict[ir.Value, Known]], value: ir.Value, axis: int) -> bool:
    return all((p[value].dims or ())[axis] == s for p, s in zip(probes, _PROBES, strict=True))


def free_batch(graph: ir.Graph) -> None:
    """Make a literal batch of 1 symbolic, in the inputs and in Reshapes that repeat it.

    A batch that is symbolic but has no name gets one: sizes are given by name.
    """
    literal = False
    for value in batched_inputs(graph):
        assert value.shape is not None
        first = value.shape[0]
        if isinstance(first, int) or first.value is None:
            value.shape = ir.Shape([BATCH, *list(value.shape)[1:]])
            literal |= isinstance(first, int)
    if not literal:
        return
    if any(_baked_sizes(node) is not None for node in graph):

        def free(node: ir.Node, known: Mapping[ir.Value, Known]) -> None:
            _free_reshape(graph, node, known)

        # In one sweep: whether a Reshape can be freed shows once those before it are.
        infer(graph, _sizes(graph, _PROBES[0]), free)
    for output in graph.outputs:  # declared sizes would contradict the freed batch
        if output.shape is not None and len(output.shape) and output.shape[0] == 1:
            output.shape = ir.Shape([BATCH, *list(output.shape)[1:]])


def _baked_sizes(node: ir.Node) -> np.ndarray | None:
    """The constant shape of a Reshape to ``[1, ...]``; None for any other node."""
    target = node.inputs[1] if node.op_type == "Reshape" else None
    tensor = target.const_value if target is not None else None
    if tensor is None or tensor.size == 0:
        return None
    sizes: np.ndarray = tensor.numpy().astype(np.int64).ravel()
    return sizes if sizes[0] == 1 else None


def _free_reshape(graph: ir.Graph, node: ir.Node, known: Mapping[ir.Value, Known]) -> None:
    """Rewrite ``[1, a, b]`` to ``[-1, a, b]`` (or to ``[0, ..., -1, ...]``) by element counts."""
    sizes, data = _baked_sizes(node), node.inputs[0] if node.inputs else None
    if sizes is None or data is None:
        return
    if -1 not in sizes[1:]:
        sizes = np.array([-1, *sizes[1:]], np.int64)
    else:
        found = known.get(data, Known()).dims
        if not found or found[0] != _PROBES[0]:
            return
        sizes = np.array([0, *sizes[1:]], np.int64)
    value = initializer(graph, f"{node.name}/batched_shape", sizes)
    node.replace_input_with(1, value)
