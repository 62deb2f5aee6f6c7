"""Attributions at every depth: what a model hands on, from the input to the output.

Some inner values stand alone on every path from the inputs to the output: all that the output is
made of passes through each of them. Credit given to such a cut must sum to the same as credit given
to the input, output minus base value. A profile shows that it does, layer by layer, and holds the
attribution map of every cut.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx_ir as ir

from onnxshap.errors import InputError
from onnxshap.explainer import Explainer
from onnxshap.graph.cuts import single_cuts
from onnxshap.graph.inference import Known
from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.graph.shapes import infer
from onnxshap.homogeneity import prove
from onnxshap.inputs import Data
from onnxshap.methods import InputXGradient, Method, named
from onnxshap.runtime.progress import ProgressCallback
from onnxshap.targets import TargetSpec

_METHODS = ("deepshap", "x_gradient", "input_x_gradient")


@dataclass(frozen=True, eq=False)
class DepthProfile:
    """What `depth_profile` returns, for one explicand and one target."""

    cuts: tuple[str, ...]
    """Values that stand on every path from the explained inputs to the output, in order."""
    sums: np.ndarray
    """Sum of the attributions of each cut, float64 [C], in units of the target output."""
    difference: float
    """What each sum is compared with: output minus base value, which is 0 without references."""
    complete: np.ndarray
    """Whether the method promises that the sum is the difference, bool [C]."""
    maps: dict[str, np.ndarray]
    """Attributions by value, float32 [*value] without the batch axis: of the cuts, and of the
    other values that were asked for."""
    output: float
    base_value: float | None
    target: object
    method: str
    references: int = 0

    @property
    def gaps(self) -> np.ndarray:
        """Sum minus difference at each cut, float64 [C]."""
        return self.sums - self.difference

    @property
    def promise(self) -> str:
        """What the method says of the sums."""
        wanted = "output minus base value" if self.references else "the output"
        if self.complete.all():
            return f"every sum is {wanted}"
        if self.complete.any():
            return f"{self.complete.sum()} of {len(self.cuts)} sums are {wanted}"
        return f"sums need not be {wanted}"

    def summary(self) -> str:
        """A line a cut: its name, its sum, and by how much that misses the difference."""
        rows = zip(self.cuts, self.sums, self.gaps, strict=True)
        lines = [f"{self.method}, {self.promise}: {self.difference:+.6g}"]
        return "\n".join([*lines, *(f"  {c}: {s:+.6g}, gap {g:+.1e}" for c, s, g in rows)])


def cuts(
    model: ModelSource | Model, output: str | None = None, inputs: str | Sequence[str] | None = None
) -> list[str]:
    """Name the float values that stand on every path from the inputs to the output, in order.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
    output : str, optional
        Value to explain instead of the first output.
    inputs : str or sequence of str, optional
        Inputs of the model that are explained, instead of the float inputs; where it has none, of
        all of them.

    Returns
    -------
    list of str
        From the input, if there is one alone, to the output. Where branches run side by side, as
        inside a residual block, no value stands alone.

    Raises
    ------
    InputError
        If the model has no such input or output.
    """
    graph = load(model).normalised.graph
    return [str(v.name) for v in _cuts(graph, output, inputs)]


def depth_profile(
    model: ModelSource | Model,
    x: Data,
    background: Data | None = None,
    *,
    target: TargetSpec = "top1",
    output: str | None = None,
    method: str | Method = "deepshap",
    values: Sequence[str] = (),
    providers: Sequence[str] | None = None,
    max_memory: int | None = None,
    progress: ProgressCallback | None = None,
) -> DepthProfile:
    """Attribute one explicand's output to every cut of the model, in one backward pass.

    Parameters
    ----------
    model, background, target, output, providers, max_memory
        As for `onnxshap.Explainer`; one target.
    x : ndarray [1, *x] or dict of them by input name
        One explicand.
    method : {"deepshap", "x_gradient", "input_x_gradient"} or an object of these
        The methods whose attributions to inner values are defined by the same backward pass.
        X-Gradient and input x gradient give each cut its activation times its gradient; the sums
        are the output where the model behind the cut is homogeneous.
    values : sequence of str
        Other values to make maps of, e.g. inside a block; they have no sum in the profile.
    progress : callable, optional
        As for calls of an `onnxshap.Explainer`.

    Returns
    -------
    DepthProfile

    Raises
    ------
    InputError
        If the method, an argument or a name does not fit, or X-Gradient is not certified at a cut.
    """
    chosen = named(method)
    if chosen.name not in _METHODS:
        raise InputError(
            f"depth_profile: method {chosen.name!r} has no attributions to inner values that "
            f"compare with those of the input; take {', '.join(map(repr, _METHODS))}"
        )
    loaded = load(model)
    varying = list(background) if isinstance(background, Mapping) else None
    graph = loaded.normalised.graph
    found = _cuts(graph, output, varying)
    if not found:
        raise InputError("depth_profile: no single value stands on every path to the output")
    degrees = _degrees(graph, found, chosen)
    names = [str(v.name) for v in found]
    explainer = Explainer(
        loaded,
        background,
        method=chosen if chosen.needs_background else InputXGradient(),
        target=target,
        output=output,
        inputs=list(dict.fromkeys([*names, *values])),
        providers=providers,
        max_memory=max_memory,
    )
    explained = explainer(x, progress=progress)
    if explained.outputs.shape != (1,):
        raise InputError(
            "depth_profile: give one explicand and one target; this call has "
            f"{' x '.join(map(str, explained.outputs.shape))} of them"
        )
    arrays = explained.attributions
    by_name = arrays if isinstance(arrays, dict) else {names[0]: arrays}
    maps = {name: array[0] for name, array in by_name.items()}
    for name, degree in zip(names, degrees, strict=True):
        if degree not in (None, 1):
            maps[name] = (maps[name] / float(degree)).astype(maps[name].dtype)
    base = None if explained.base_values is None else float(explained.base_values[0])
    value = float(explained.outputs[0])
    return DepthProfile(
        cuts=tuple(names),
        sums=np.array([maps[name].sum(dtype=np.float64) for name in names]),
        difference=value - (base or 0.0),
        complete=np.array([degree is not None for degree in degrees]),
        maps=maps,
        output=value,
        base_value=base,
        target=explained.targets[0] if len(explained.targets) == 1 else explained.targets,
        method=chosen.name,
        references=explained.references,
    )


def _cuts(
    graph: ir.Graph, output: str | None, inputs: str | Iterable[str] | None
) -> list[ir.Value]:
    by_name = {v.name: v for v in graph.inputs}
    values = by_name | {o.name: o for node in graph for o in node.outputs}
    if output is not None and output not in values:
        listed = ", ".join(str(v.name) for v in graph.outputs)
        raise InputError(f'the model has no value "{output}"; its outputs are {listed}')
    target = graph.outputs[0] if output is None else values[output]
    known = infer(graph, {})
    floats = [v for v in graph.inputs if _is_float(v, known)]
    asked = [inputs] if isinstance(inputs, str) else inputs
    if asked is None:
        chosen = floats or list(graph.inputs)
    elif missing := [name for name in asked if name not in by_name]:
        listed = ", ".join(str(v.name) for v in graph.inputs)
        raise InputError(f'the model has no input "{missing[0]}"; its inputs are {listed}')
    else:
        chosen = [by_name[name] for name in asked]
    return [v for v in single_cuts(graph, chosen, target) if _is_float(v, known)]


def _is_float(value: ir.Value, known: Mapping[ir.Value, Known]) -> bool:
    dtype = value.dtype or known.get(value, Known()).dtype  # inner values often declare none
    return dtype is not None and dtype.is_floating_point()


def _degrees(graph: ir.Graph, found: list[ir.Value], method: Method) -> list[Fraction | None]:
    """What attributions of each cut are divided by; None where their sum is not promised."""
    if method.name == "deepshap":
        return [Fraction(1)] * len(found)
    proofs = [prove(graph, [value], found[-1]) for value in found]
    if method.name == "input_x_gradient":
        return [p.degree if p.ok and p.degree == 1 else None for p in proofs]
    for value, proof in zip(found, proofs, strict=True):
        if not proof.ok and not getattr(method, "force", False):
            at_fault = "; ".join(
                f"{operator} {reason}: {', '.join(nodes)}"
                for (operator, reason), nodes in proof.reasons().items()
            )
            raise InputError(
                f'depth_profile: x_gradient is not certified from "{value.name}" on: '
                f"{proof.objection} ({at_fault}). Take method='deepshap', remove biases with "
                "onnxshap.xdnn.strip_bias, or accept incomplete sums with XGradient(force=True)"
            )
    return [p.degree if p.ok else None for p in proofs]
