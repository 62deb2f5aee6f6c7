"""What is explained: indices, the top classes, or a weighted sum of one sample's output."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxshap.errors import InputError

TargetSpec = int | str | Sequence[int] | tuple[int, ...] | np.ndarray


@dataclass(frozen=True)
class Target:
    """A target specification, checked against the shape of one sample's output."""

    spec: TargetSpec
    shape: tuple[int, ...]
    """Shape of one sample's output."""

    def __post_init__(self) -> None:
        _ = self.single, self.count

    @property
    def single(self) -> bool:
        """Whether results have no axis for targets."""
        return not isinstance(self.spec, list) and not (isinstance(self.spec, str) and self.top > 1)

    @property
    def top(self) -> int:
        """K of "topK"."""
        digits = str(self.spec).removeprefix("top")
        if not str(self.spec).startswith("top") or not digits.isdecimal() or int(digits) < 1:
            raise InputError(f'target {self.spec!r}: a word can only be "top1", "top2", ...')
        classes = self._classes(f'"{self.spec}"')
        if int(digits) > classes:
            raise InputError(f'target "{self.spec}": the output has {classes} elements')
        return int(digits)

    @property
    def count(self) -> int:
        """K, the number of targets."""
        return self.top if isinstance(self.spec, str) else len(self.fixed)

    @property
    def fixed(self) -> np.ndarray:
        """Weights [K, *output] of a target that does not depend on the explicand."""
        spec = self.spec
        if isinstance(spec, np.ndarray) and spec.ndim and spec.dtype.kind in "fiub":
            if spec.shape != self.shape:
                raise InputError(
                    f"target weights have shape {spec.shape}; one sample's output has {self.shape}"
                )
            if not np.isfinite(spec).all():
                raise InputError("target weights must be finite")
            return spec[None].astype(np.float64)
        indices = spec if isinstance(spec, list) else [spec]
        if not indices:
            raise InputError("target: the list of indices is empty")
        if len({isinstance(index, tuple) for index in indices}) > 1:
            raise InputError(
                f"target {spec}: the list mixes tuples with other indices; give all as tuples, or "
                "all as ints"
            )
        weights = np.zeros((len(indices), *self.shape))
        for k, index in enumerate(indices):
            weights[(k, *self._place(index))] = 1
        return weights

    def _place(self, index: object) -> tuple[int, ...]:
        if isinstance(index, tuple):
            if len(index) != len(self.shape) or not all(
                isinstance(i, int | np.integer) and -s <= i < s
                for i, s in zip(index, self.shape, strict=True)
            ):
                raise InputError(f"target {index}: not an index into an output of {self.shape}")
            return tuple(int(i) % s for i, s in zip(index, self.shape, strict=True))
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise InputError(
                f"target {index!r}: give an int, a tuple, a list of them, 'topK', or an array of "
                f"weights shaped like one sample's output {self.shape}"
            )
        classes = self._classes(f"{index}")
        if not -classes <= index < classes:
            raise InputError(f"target {index}: the output has {classes} elements")
        return tuple(int(i) for i in np.unravel_index(int(index) % classes, self.shape))

    def _classes(self, what: str) -> int:
        """Length of the output as a vector, unit axes squeezed."""
        if sum(s != 1 for s in self.shape) > 1:
            raise InputError(
                f"target {what} needs an output that is a vector; one sample's output has shape "
                f"{self.shape}. Give a tuple index, or weights of that shape."
            )
        return int(np.prod(self.shape))

    def seeds(self, outputs: np.ndarray) -> np.ndarray:
        """Weights [K, N, *output] for outputs [N, *output]."""
        if not isinstance(self.spec, str):
            fixed = self.fixed
            return np.broadcast_to(fixed[:, None], (len(fixed), len(outputs), *self.shape))
        chosen = self._top_indices(outputs)
        flat = np.zeros((self.top, len(outputs), int(np.prod(self.shape))))
        np.put_along_axis(flat, chosen.T[..., None], 1, axis=2)
        return flat.reshape(self.top, len(outputs), *self.shape)

    def labels(self, outputs: np.ndarray) -> np.ndarray:
        """Targets as the explanation reports them; the dtype tells classes from weights.

        int64 [N, K] for classes, [N, K, rank] for tuples into outputs of that rank, all counted
        from the front; float64 [*output] for weights.
        """
        if isinstance(self.spec, str):
            return self._top_indices(outputs)
        if isinstance(self.spec, np.ndarray) and self.spec.ndim:
            return self.spec.astype(np.float64)
        indices = self.spec if isinstance(self.spec, list) else [self.spec]
        row = np.array([self._label(index) for index in indices], np.int64)
        return np.broadcast_to(row, (len(outputs), *row.shape)).copy()

    def _label(self, index: object) -> int | tuple[int, ...]:
        """Index counted from the front, so that -1 is reported as the class it means."""
        place = self._place(index)
        if isinstance(index, tuple):
            return place if len(place) != 1 else place[0]
        return max(place, default=0)  # in a vector, all other axes have size 1

    def _top_indices(self, outputs: np.ndarray) -> np.ndarray:
        flat = outputs.reshape(len(outputs), int(np.prod(self.shape)))
        return np.argsort(-flat, axis=1, kind="stable")[:, : self.top].astype(np.int64)


def expected_targets(spec: TargetSpec) -> int:
    """How many targets a specification stands for, before an output is there to check it."""
    if isinstance(spec, list):
        return len(spec)
    digits = spec.removeprefix("top") if isinstance(spec, str) else ""
    return int(digits) if digits.isdecimal() else 1
