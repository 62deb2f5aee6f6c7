"""Make an X-DNN: the same model without its biases."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from onnxshap.errors import InputError
from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.inputs import Data, Inputs
from onnxshap.xdnn.biases import remove_biases
from onnxshap.xdnn.fold import fold_batch_normalizations
from onnxshap.xdnn.removed import Removed
from onnxshap.xdnn.runs import Part, one_by_one
from onnxshap.xdnn.surgery import Surgery

__all__ = ["Removed", "Stripped", "strip_bias"]


class Stripped(Model):
    """A model without its biases, and what was removed. ``str()`` is the report."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        folder: Path | None,
        removed: list[Removed],
        accuracy: tuple[float, float] | None,
    ) -> None:
        super().__init__(proto, folder)
        self.removed = removed
        """In the order of the graph."""
        self.accuracy = accuracy
        """Top-1 before and after, as fractions; None without labelled data."""

    @property
    def report(self) -> str:
        """What was removed from where, and what it costs."""
        lines = [f"removed {len(self.removed)} bias(es)"]
        if self.accuracy is not None:
            before, after = self.accuracy
            lines.append(f"top-1 accuracy: {before:.4g} before, {after:.4g} after")
        lines += [
            f'{r.operator} "{r.node}": {r.what} (up to {r.largest:.3g})' for r in self.removed
        ]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.report


def strip_bias(
    model: ModelSource | Model,
    *,
    data: Data | None = None,
    labels: Sequence[int] | np.ndarray | None = None,
    output: str | None = None,
) -> Stripped:
    """Return the model without its biases; the model given is not touched.

    A BatchNormalization is first folded into the layer before it, so that its factor stays and
    only what it adds goes; behind no such layer it becomes a Mul. Then every bias is removed: the
    bias inputs of layers and normalisations, and constants that are added to or subtracted from
    what depends on the input; an epsilon or a mask that is written as a sum is such a constant too.
    The weights are not trained again: see what accuracy is left.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
    data : ndarray [N, *x] or dict of them by input name, optional
    labels : int [N], optional
        Classes of ``data``, to measure top-1 accuracy before and after.
    output : str, optional
        The value whose largest element is the class; by default the first output.

    Returns
    -------
    Stripped
        A `Model`: certify it, explain it, save it.

    Raises
    ------
    InputError
        If only one of ``data`` and ``labels`` is given, or they do not fit.
    """
    if (data is None) != (labels is None):
        given, missing = ("data", "labels") if labels is None else ("labels", "data")
        raise InputError(f"accuracy takes data= and labels=; there are {given} but no {missing}")
    loaded = load(model)
    bare = loaded.normalised.clone()
    order = {node.name: place for place, node in enumerate(bare.graph)}
    surgery = Surgery(bare.graph)
    removed = [*fold_batch_normalizations(surgery), *remove_biases(surgery)]
    removed.sort(key=lambda r: order[r.node])
    RemoveUnusedNodesPass()(bare)
    accuracy = None
    if data is not None and labels is not None:
        before, after = (_top1(m, data, labels, output) for m in (loaded.normalised, bare))
        accuracy = before, after
    return Stripped(ir.serde.serialize_model(bare), loaded.folder, removed, accuracy)


def _top1(
    model: ir.Model, data: Data, labels: Sequence[int] | np.ndarray, output: str | None
) -> float:
    """Share of samples whose largest output is the label's."""
    graph = model.graph
    values = {v.name: v for v in (*graph.inputs, *(o for n in graph for o in n.outputs))}
    target = values.get(output) if output else graph.outputs[0]
    if target is None:
        raise InputError(
            f'the model, or what is left of it, has no value "{output}" to read classes from; its '
            f"outputs are {', '.join(str(o.name) for o in graph.outputs)}"
        )
    inputs = Inputs(graph, [str(v.name) for v in graph.inputs])
    arrays = inputs.by_name(data, "data")
    count = len(next(iter(arrays.values())))
    classes = _checked(labels, count)
    part = Part(model, graph.inputs, [target], "model whose accuracy is measured")
    rows = inputs.rows(arrays, 0, count, "data")
    outputs = [part(feed)[str(target.name)].ravel() for feed in one_by_one(graph, rows)]
    if classes.min() < 0 or classes.max() >= outputs[0].size:
        raise InputError(
            f"labels: the output has {outputs[0].size} classes, counted from 0; the least label is "
            f"{classes.min()}, the largest is {classes.max()}"
        )
    return float(np.mean([o.argmax() == c for o, c in zip(outputs, classes, strict=True)]))


def _checked(labels: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """Labels as an array, one for each of ``count`` samples."""
    if not count:
        raise InputError("data: there are no samples to measure accuracy on")
    classes = np.asarray(labels)
    if classes.shape != (count,) or classes.dtype.kind not in "iu":
        raise InputError(
            f"labels: {count} sample(s) need int [{count}], one class each; got "
            f"{classes.dtype} {list(classes.shape)}"
        )
    return classes
