"""Put the results of chunks together into explanations."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from onnxshap.compiled import References
from onnxshap.explanation import Arrays, Explanation
from onnxshap.runtime.moments import Moments


class Chunk:
    """Results of some references for all explicands and targets, assembled piece by piece.

    ``summed``: pieces are sums over some of the method's steps, which add up.
    """

    def __init__(self, per_reference: bool, references: References | None, summed: bool) -> None:
        self._per_reference = per_reference and references is not None
        self._references, self._summed = references, summed
        self._arrays: dict[str, dict[str, np.ndarray]] = {}

    def place(
        self,
        found: dict[str, dict[str, np.ndarray]],
        targets: slice,
        explicands: slice,
        shape: tuple[int, ...],
    ) -> None:
        """Put the results [k, n, ...] of some targets and explicands in their place."""
        for kind, arrays in found.items():
            for source, array in arrays.items():
                whole = self._arrays.setdefault(kind, {})
                if source not in whole:
                    dtype = np.dtype(np.float64) if self._summed else array.dtype
                    whole[source] = np.zeros((*shape, *array.shape[2:]), dtype)
                whole[source][targets, explicands] += array

    @property
    def means(self) -> dict[str, np.ndarray]:
        """Mean over the chunk's references, by source."""
        if "mean" in self._arrays:
            return self._arrays["mean"]
        own = self._arrays["contributions"]
        if self._references is not None:  # one at a time: the axis of references has size 1
            own = {s: a[:, :, 0] for s, a in own.items()}
        return own

    @property
    def squares(self) -> dict[str, np.ndarray]:
        """Sum of squared deviations from the mean; 0 for a single reference."""
        found = self._arrays.get("deviation", {})
        return {s: found.get(s, np.broadcast_to(0.0, a.shape)) for s, a in self.means.items()}

    @property
    def single(self) -> dict[str, np.ndarray]:
        """Contributions of every reference [K, N, M, *x], where they were asked for."""
        return self._arrays["contributions"] if self._per_reference else {}

    @property
    def count(self) -> int:
        """How many references these are of; 1 for methods without."""
        return 1 if self._references is None else len(self._references.rows)

    @property
    def base(self) -> np.ndarray | None:
        """Mean output over the chunk's references, float64."""
        if self._references is None or self._references.outputs is None:
            return None
        mean: np.ndarray = self._references.outputs.mean(0, dtype=np.float64)
        return mean


class Running:
    """What has come together so far: means over references, and those of every reference."""

    def __init__(self) -> None:
        self.means: dict[str, Moments] = {}
        self.base = Moments()
        self.single: list[dict[str, np.ndarray]] = []

    def add(self, chunk: Chunk) -> None:
        """Add the results of more references."""
        for source, mean in chunk.means.items():
            moments = self.means.setdefault(source, Moments())
            moments.add(chunk.count, mean, chunk.squares[source])
        if chunk.base is not None:
            self.base.add(chunk.count, chunk.base, np.zeros_like(chunk.base))
        self.single.append(chunk.single)

    def with_part(self, chunk: Chunk, share: float) -> "Running":
        """Return what there would be if the rest of ``chunk`` were like the ``share`` that is."""
        other = Running()
        for source, mean in chunk.means.items():
            before = self.means.get(source, Moments())
            other.means[source] = before.plus(chunk.count, mean / share, chunk.squares[source])
        if chunk.base is not None:
            other.base = self.base.plus(chunk.count, chunk.base, np.zeros_like(chunk.base))
        part = {source: a / share for source, a in chunk.single.items()}
        other.single = [*self.single, part]
        return other


def samples_first(array: np.ndarray | None, dtype: np.dtype) -> Any:
    """[K, N, ...] -> [N, K, ...] of ``dtype``."""
    return None if array is None else np.ascontiguousarray(array.swapaxes(0, 1), dtype)


def weighted(seeds: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Sum over one sample's output, weighted by the targets: float64 [N, K]."""
    product = seeds * outputs.astype(np.float64)
    summed: np.ndarray = product.reshape(*seeds.shape[:2], -1).sum(-1).T
    return summed


def total(attributions: dict[str, np.ndarray]) -> np.ndarray:
    """Sum over all features of all inputs: [N, K, *x] by source -> float64 [N, K]."""
    parts = [a.sum(tuple(range(2, a.ndim)), dtype=np.float64) for a in attributions.values()]
    return np.asarray(sum(parts))


def without_single_axes(explanation: Explanation, single_target: bool) -> Explanation:
    """Drop the target axis of a single target, and the dict around a single explained value."""
    changes: dict[str, Any] = {}
    for name in ("attributions", "standard_error", "per_reference", "data"):
        arrays = getattr(explanation, name)
        if arrays is None:
            continue
        if single_target and name != "data":
            arrays = {s: a[:, 0] for s, a in arrays.items()}
        changes[name] = next(iter(arrays.values())) if len(arrays) == 1 else arrays
    if single_target:
        for name in ("outputs", "base_values", "residual"):
            array = getattr(explanation, name)
            changes[name] = None if array is None else array[:, 0]
        targets = explanation.targets
        changes["targets"] = targets if _are_weights(targets) else targets[:, 0]
    return replace(explanation, **changes)


def concatenate(parts: list[Explanation]) -> Explanation:
    """Join explanations of consecutive explicands."""
    if len(parts) == 1:
        return parts[0]
    changes: dict[str, Any] = {}
    for f in fields(Explanation):
        values = [getattr(p, f.name) for p in parts]
        if isinstance(values[0], dict):
            names = values[0]
            changes[f.name] = {n: np.concatenate([v[n] for v in values]) for n in names}
        elif isinstance(values[0], np.ndarray) and not _shared(f.name, values[0]):
            changes[f.name] = np.concatenate(values)
    return replace(parts[0], **changes)


def _shared(name: str, array: np.ndarray) -> bool:
    """Whether an array is the same for every explicand."""
    return name == "targets" and _are_weights(array)


def _are_weights(targets: np.ndarray) -> bool:
    """Whether targets are weights, float; class indices are integers."""
    return targets.dtype.kind == "f"


def map_arrays(explanation: Explanation, change: Callable[[np.ndarray], np.ndarray]) -> Explanation:
    """Return the explanation with every array that has an axis of explicands changed."""
    changes: dict[str, Any] = {}
    for f in fields(Explanation):
        value: Arrays | Any = getattr(explanation, f.name)
        if isinstance(value, dict):
            changes[f.name] = {n: change(a) for n, a in value.items()}
        elif isinstance(value, np.ndarray) and not _shared(f.name, value):
            changes[f.name] = change(value)
    return replace(explanation, **changes)
