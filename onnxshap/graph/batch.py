"""Where each value's batch axis is, found by inferring shapes at two batch sizes.

The axis that moves with the batch is the batch axis. A value on the way from input to output
with no moving axis, or several, mixes samples as far as shapes can tell, and so does an operator
that runs along the batch axis: the model is then not *separable*, and explicands and references
meet one pair at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx_ir as ir

from onnxshap.errors import UnknownShapeError
from onnxshap.graph.apart import keep_apart
from onnxshap.graph.constants import initializer
from onnxshap.graph.dependence import ancestors, carries_numbers, node_inputs, reachable
from onnxshap.graph.inference import Known, draws
from onnxshap.graph.shapes import infer

_PROBES = (2, 3)
_ELSEWHERE = 64  # a size for other free dimensions, large enough for windows
_TO_THE_LAST = {"LayerNormalization", "RMSNormalization"}  # from their axis on
_ALONG = {"CumSum", "Hardmax", "LogSoftmax", "LpNormalization", "Softmax"} | _TO_THE_LAST
BATCH = "batch"  # the symbol a literal batch of 1, or one without a name, is replaced by


@dataclass(frozen=True)
class Layout:
    """One value: dtype, own sizes (None: unknown, or the batch), and its batch axis, if any."""

    dtype: ir.DataType
    dims: tuple[int | None, ...]
    batch: int | None
    value: np.ndarray | None = None

    @property
    def number(self) -> ir.DataType:
        """What derivatives are computed in: 16-bit floats lose too much, and kernels are few."""
        return ir.DataType.FLOAT if is_half(self.dtype) else self.dtype


def is_half(dtype: ir.DataType | None) -> bool:
    """Whether a type is a float of 16 bits."""
    return dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


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
    """Inputs whose first axis counts samples: literally 1, or symbolic.

    A symbolic one does not where a later axis has a batch's name and it has not: [time, batch, x].
    """
    return [v for v in graph.inputs if v.shape is not None and _counts_first(list(v.shape))]


def _counts_first(dims: list[int | ir.SymbolicDim]) -> bool:
    if not dims or isinstance(dims[0], int):
        return bool(dims) and dims[0] == 1
    first, *later = [not isinstance(d, int) and _names_batch(d.value) for d in dims]
    return first or not any(later)


def _names_batch(name: str | None) -> bool:
    return name is not None and (name.lower() in ("n", "b") or "batch" in name.lower())


def analyse(
    graph: ir.Graph,
    sources: Iterable[ir.Value],
    separable: bool = True,
    target: ir.Value | None = None,
    kept: Iterable[ir.Value] = (),
) -> Layouts:
    """Find the batch axis of every value that depends on ``sources``.

    A literal batch of 1, and what bakes it in, are freed in place first where sizes allow.
    ``separable``: False where a run has shown that samples mix, whatever the shapes say. Where
    they do, sizes are those of one sample. ``target``: the value that is explained; samples may
    mix in what it does not depend on. None: all values count. Where the batch is merged with other
    axes for a while, that part is rewritten, but for values that are ``kept``.
    """
    free_batch(graph)
    probes = [infer(graph, _sizes(graph, size)) for size in _PROBES]
    asked = [*kept, *([] if target is None else [target])]
    if separable and keep_apart(graph, probes, _PROBES, asked):
        probes = [infer(graph, _sizes(graph, size)) for size in _PROBES]
    # Contents count as known only where no size decides them: trying two sizes proves nothing.
    free = infer(graph, {})
    known = {v: _agreement(probes[0][v], probes[1][v], free[v]) for v in probes[0]}
    batch: dict[ir.Value, int] = {}
    mixing = None if separable else "a run showed that samples beside it move a sample's output"
    data = reachable(graph, sources, carries_numbers)
    judged = data | _reached_by_the_count(graph, data, probes)
    if target is not None:
        judged &= ancestors(graph, [target], carries_numbers)
    if not batched_inputs(graph):
        mixing = "no input has a batch axis in front"
    one_sample = cache(lambda: infer(graph, _sizes(graph, 1)))
    elsewhere = cache(lambda: [infer(graph, _filled(graph, size)) for size in _PROBES])
    for value, found in known.items():
        moving = _moving(probes[0][value], probes[1][value])
        tried = probes
        if moving == [] and None in (
            found.dims or ()
        ):  # hidden by a size that the file leaves free
            tried = elsewhere()
            moving = _moving(tried[0][value], tried[1][value]) or []
        if moving is not None and len(moving) == 1 and _counts_samples(tried, value, moving[0]):
            batch[value] = moving[0]
        if mixing is None and value in judged:
            if found.dims is None and one_sample()[value].dims is not None:
                of = _origin(value)
                mixing = (
                    f'{of} fits a batch of 1 only; at others the shape of "{value.name}" is unknown'
                )
            else:
                mixing = _objection(value, known, moving, batch.get(value))
    if mixing is not None:
        known = one_sample()
    for value, found in known.items():
        if found.dtype is not None:
            value.dtype = found.dtype
    return Layouts(known, batch, mixing)


def steady_sizes(graph: ir.Graph) -> dict[ir.Value, tuple[int | None, ...] | None]:
    """Sizes of every value that do not move with the batch, found as `analyse` finds them."""
    few, more = (infer(graph, _sizes(graph, size)) for size in _PROBES)
    return {v: _agreement(found, more[v], Known()).dims for v, found in few.items()}


def _sizes(graph: ir.Graph, size: int) -> dict[str, int]:
    symbols = [v.shape[0] for v in batched_inputs(graph) if v.shape is not None]
    return {str(s.value): size for s in symbols if not isinstance(s, int) and s.value is not None}


def _filled(graph: ir.Graph, size: int) -> dict[str, int]:
    """Every free size: ``size`` samples, `_ELSEWHERE` where it counts something else."""
    free = [d for v in graph.inputs for d in v.shape or () if isinstance(d, ir.SymbolicDim)]
    return {str(d.value): _ELSEWHERE for d in free} | _sizes(graph, size)


def _reached_by_the_count(
    graph: ir.Graph, data: set[ir.Value], probes: list[dict[ir.Value, Known]]
) -> set[ir.Value]:
    """Values that depend on how many samples there are, though on none of their numbers.

    Other sizes reach a value without harm, as the length of a text does its places.
    """
    if not any(not carries_numbers(node, 0) for node in graph):
        return set()
    if _filled(graph, 1).keys() - _sizes(graph, 1):  # sizes nobody knows yet: contents neither
        probes = [infer(graph, _filled(graph, size)) for size in _PROBES]
    few, more = probes
    reached: set[ir.Value] = set()
    for node in graph:
        begins = not carries_numbers(node, 0) and node.inputs[0] in data
        if begins or any(v in reached for v in node_inputs(node)):
            for output in node.outputs:
                a, b = few[output].value, more[output].value
                if a is None or b is None or not np.array_equal(a, b):
                    reached.add(output)
    return reached


def _agreement(a: Known, b: Known, free: Known) -> Known:
    dims = a.dims
    if a.dims is not None and b.dims is not None and len(a.dims) == len(b.dims):
        dims = tuple(i if i == j else None for i, j in zip(a.dims, b.dims, strict=True))
    return Known(a.dtype, dims, free.value)


def _moving(a: Known, b: Known) -> list[int] | None:
    if a.dims is None or b.dims is None or len(a.dims) != len(b.dims):
        return None
    return [k for k, (i, j) in enumerate(zip(a.dims, b.dims, strict=True)) if i != j]


def _origin(value: ir.Value) -> str:
    node = value.producer()
    return f'{node.op_type} "{node.name}"' if node else f'input "{value.name}"'


def _objection(
    value: ir.Value, known: Mapping[ir.Value, Known], moving: list[int] | None, batch: int | None
) -> str | None:
    """Why samples do not stay separate at ``value``; None if they do, or it carries no numbers."""
    found, of, node = known[value], _origin(value), value.producer()
    if found.dtype is None or not found.dtype.is_floating_point():
        return None
    if batch is None:
        count = "no axis" if not moving else f"axes {moving}"
        return f'{count} of "{value.name}" ({of}) moves one to one with the batch'
    if node is not None and node.op_type == "Dropout" and draws(node):
        return f'{of} draws "{value.name}" for all samples of a batch together'
    along = node is not None and batch in _axes_along(node, known, len(found.dims or ()))
    return f'{of} runs along axis {batch} of "{value.name}", the batch' if along else None


def _axes_along(node: ir.Node, known: Mapping[ir.Value, Known], rank: int) -> list[int]:
    """Axes along which an operator lets elements meet and yet keeps the size."""
    if node.domain or node.op_type not in _ALONG:
        return []
    axis = node.attributes.get_int("axis", -1)
    if node.op_type == "CumSum":
        given = known[node.inputs[1]].value if node.inputs[1] is not None else None
        if given is None:
            return list(range(rank))
        axis = int(given.item())
    first = axis % rank
    return list(range(first, rank if node.op_type in _TO_THE_LAST else first + 1))


def _counts_samples(probes: list[dict[ir.Value, Known]], value: ir.Value, axis: int) -> bool:
    return all((p[value].dims or ())[axis] == s for p, s in zip(probes, _PROBES, strict=True))


def free_batch(graph: ir.Graph) -> None:
    """Make a literal batch of 1 symbolic, in the inputs and in the nodes that repeat it.

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
    if any(_baked_sizes(node) is not None or node.op_type == "Concat" for node in graph):

        def free(node: ir.Node, known: Mapping[ir.Value, Known]) -> list[ir.Node]:
            _free_reshape(graph, node, known)
            return [*_free_concat(graph, node, known), *_free_grid(graph, node)]

        # In one sweep: whether a node can be freed shows once those before it are.
        infer(graph, _sizes(graph, _PROBES[0]), free)
    for output in graph.outputs:  # declared sizes would contradict the freed batch
        if output.shape is not None and len(output.shape) and output.shape[0] == 1:
            output.shape = ir.Shape([BATCH, *list(output.shape)[1:]])


def _baked_sizes(node: ir.Node) -> np.ndarray | None:
    """The constant size ``[1, ...]`` of a node's output; None for any other node."""
    target = node.inputs[1] if node.op_type in ("AffineGrid", "Reshape") else None
    tensor = target.const_value if target is not None else None
    if tensor is None or tensor.size == 0:
        return None
    sizes: np.ndarray = tensor.numpy().astype(np.int64).ravel()
    return sizes if sizes[0] == 1 else None


def _free_reshape(graph: ir.Graph, node: ir.Node, known: Mapping[ir.Value, Known]) -> None:
    """Rewrite ``[1, a, b]`` to ``[-1, a, b]`` (or to ``[0, ..., -1, ...]``) by element counts."""
    sizes, data = _baked_sizes(node), node.inputs[0] if node.inputs else None
    if node.op_type != "Reshape" or sizes is None or data is None:
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


def _free_grid(graph: ir.Graph, node: ir.Node) -> list[ir.Node]:
    """Give an AffineGrid as many samples as it has transformations."""
    sizes = _baked_sizes(node) if node.op_type == "AffineGrid" else None
    if sizes is None:
        return []
    rest = initializer(graph, f"{node.name}/rest", sizes[1:])
    count = ir.node("Shape", [node.inputs[0]], {"start": 0, "end": 1}, name=f"{node.name}/count")
    size = ir.node("Concat", [*count.outputs, rest], {"axis": 0}, name=f"{node.name}/size")
    node.replace_input_with(1, size.outputs[0])
    return _inserted(graph, node, [count, size])


def _free_concat(graph: ir.Graph, node: ir.Node, known: Mapping[ir.Value, Known]) -> list[ir.Node]:
    """Repeat what is joined to every sample and the same for all, as a class token is."""
    if node.op_type != "Concat":
        return []
    parts = [v for v in node.inputs if v is not None]
    dims = [known.get(v, Known()).dims or () for v in parts]
    if not all(dims) or node.attributes.get_int("axis") in (0, -len(dims[0])):
        return []
    batched = next((v for v, d in zip(parts, dims, strict=True) if d[0] == _PROBES[0]), None)
    single = [i for i, d in enumerate(dims) if d[0] == 1]
    if batched is None or not single:
        return []
    ones = initializer(graph, f"{node.name}/ones", np.ones(len(dims[0]) - 1, np.int64))
    count = ir.node("Shape", [batched], {"start": 0, "end": 1}, name=f"{node.name}/count")
    sizes = ir.node("Concat", [*count.outputs, ones], {"axis": 0}, name=f"{node.name}/sizes")
    added = [count, sizes]
    for i in single:
        row = ir.node("Expand", [parts[i], *sizes.outputs], name=f"{node.name}/repeated_{i}")
        node.replace_input_with(i, row.outputs[0])
        added.append(row)
    return _inserted(graph, node, added)


def _inserted(graph: ir.Graph, node: ir.Node, added: list[ir.Node]) -> list[ir.Node]:
    for new in added:
        new.outputs[0].name = new.name
    graph.insert_before(node, added)
    return added
