"""Reference sets: named, immutable, and told apart by a hash."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from onnxshap.errors import InputError
from onnxshap_widgets.samples import Samples, as_declared, image_axes, require_finite

LIMIT = 10
"""References in a ready-made set, at most: enough to start with, quick to explain."""
_BYTES = 64 * 2**20  # hashed at a time


@dataclass(frozen=True, eq=False)
class ReferenceSet:
    """Named references [M, *x] by input name. Arrays are read-only; memory maps stay on disk."""

    name: str
    arrays: Mapping[str, np.ndarray]
    note: str = ""
    """One sentence: what these references are."""
    sample: int | None = None
    """The sample they were made from; None where they go with any."""

    def __post_init__(self) -> None:
        arrays = {str(k): _read_only(v) for k, v in self.arrays.items()}
        counts = {name: len(array) for name, array in arrays.items()}
        if not arrays or len(set(counts.values())) > 1 or not all(counts.values()):
            listed = ", ".join(f'"{n}" {c}' for n, c in counts.items()) or "no arrays"
            raise InputError(
                f"references {self.name!r}: give at least one, and as many for each input; "
                f"got {listed}"
            )
        object.__setattr__(self, "arrays", arrays)

    @property
    def size(self) -> int:
        """M, the number of references."""
        return len(next(iter(self.arrays.values())))

    @cached_property
    def hash(self) -> str:
        """sha256 of input names, dtypes, shapes and values; of the values alone, not the name."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays.items()):
            digest.update(repr((name, array.dtype.str, array.shape)).encode())
            step = max(1, _BYTES * len(array) // max(1, array.nbytes))
            for start in range(0, len(array), step):
                digest.update(np.ascontiguousarray(array[start : start + step]).data)
        return digest.hexdigest()

    @property
    def short_hash(self) -> str:
        """The first 12 digits of `hash`, for people."""
        return self.hash[:12]

    def taking(self, indices: Sequence[int]) -> "ReferenceSet":
        """Return a set of some of these references, in the order given.

        Raises
        ------
        InputError
            If there are none, or an index is out of range.
        """
        rows = [int(i) for i in indices]
        wrong = [i for i in rows if not 0 <= i < self.size]
        if wrong:
            raise InputError(f"references {self.name!r}: no reference {wrong[0]} of {self.size}")
        if rows == list(range(self.size)):
            return self
        if not rows:
            raise InputError(f"references {self.name!r}: take at least one")
        taken = {name: np.asarray(array[rows]) for name, array in self.arrays.items()}
        return replace(self, name=f"{self.name} ({len(rows)} of {self.size})", arrays=taken)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReferenceSet):
            return NotImplemented
        return self is other or (self.name == other.name and self.hash == other.hash)

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"ReferenceSet({self.name!r}, {self.size} references, {self.short_hash})"


def _read_only(array: np.ndarray) -> np.ndarray:
    """Return a copy that nobody can write to; of a memory map, a view."""
    if isinstance(array, np.memmap):
        view = array.view()
        view.flags.writeable = False
        return view
    if not array.flags.writeable and array.base is None:
        return array
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


# --- sets of the user's own ----------------------------------------------------------------------


def named_sets(sets: Any, samples: Samples) -> list[ReferenceSet]:
    """Sets as users give them: an array, a set, a list of sets, or a dict of them by name.

    Parameters
    ----------
    sets : None, ndarray, ReferenceSet, list of ReferenceSet, or dict
        A dict by input name is one set; any other dict names arrays, dicts of arrays, or sets.
    samples : Samples
        Whose inputs they must fit.

    Raises
    ------
    InputError
        Naming the set and what is wrong with it.
    """
    if sets is None:
        return []
    if isinstance(sets, ReferenceSet):
        sets = [sets]
    if isinstance(sets, np.ndarray):
        return [own("own references", sets, samples)]
    if isinstance(sets, Mapping):
        if sets and all(k in samples.inputs.specs for k in sets):
            return [own("own references", sets, samples)]
        given = [(str(name), value) for name, value in sets.items()]
    else:
        given = [("", value) for value in sets]
        if not all(isinstance(value, ReferenceSet) for _, value in given):
            raise InputError(
                "references: give an array [M, *x], a dict of arrays by set name, or ReferenceSets"
            )
    found = [
        fitting(value, samples) if isinstance(value, ReferenceSet) else own(name, value, samples)
        for name, value in given
    ]
    names = [one.name for one in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"references: two sets are called {twice[0]!r}; give each its own name")
    return found


def fitting(references: ReferenceSet, samples: Samples) -> ReferenceSet:
    """Return the set, or refuse one that does not fit the samples' inputs."""
    own(references.name, references.arrays, samples)
    return references


def own(name: str, arrays: Any, samples: Samples) -> ReferenceSet:
    """Make a set of the user's own array [M, *x], or dict of them by input name."""
    inputs, what = samples.inputs, f"references {name!r}"
    expected = [] if isinstance(arrays, Mapping) else samples.sources
    named = inputs.by_name(arrays, what, expected)
    require_finite(named, what)
    return ReferenceSet(name, as_declared(inputs, named, what), "given by you")


# --- ready-made sets -----------------------------------------------------------------------------


def zeros(samples: Samples) -> ReferenceSet:
    """One reference of zeros: what the model takes for nothing, or for mean grey."""
    arrays = {name: np.zeros_like(samples.arrays[name][:1]) for name in samples.sources}
    return ReferenceSet("zeros", arrays, "every value 0")


def mean(samples: Samples) -> ReferenceSet:
    """One reference: the mean of all samples."""
    arrays = {
        name: array.mean(axis=0, keepdims=True, dtype=np.float64).astype(array.dtype)
        for name, array in _explained(samples).items()
    }
    return ReferenceSet("mean", arrays, f"the mean of the {samples.count} samples")


def blurred(samples: Samples, sample: int, count: int = 9) -> ReferenceSet:
    """Gaussian blurs of one sample, from one that hides texture to one that hides everything.

    Standard deviations grow geometrically, from 1/56 to 1/4.7 of the longer side: 4 to 48 pixels
    of 224. Inputs that are no images are not blurred and have no references: they are held.
    """
    row = samples.arrays[samples.source][sample]
    axes = image_axes(row.shape)
    side = max(row.shape[a] for a in axes)
    sigmas = np.geomspace(side / 56, side / 4.7, count)
    stack = np.stack([_gaussian(row, axes, float(s)) for s in sigmas]).astype(row.dtype)
    note = f"sample {sample}, blurred with standard deviations of {sigmas[0]:.2g} to "
    note += f"{sigmas[-1]:.2g} pixels"
    return ReferenceSet("blurred", {samples.source: stack}, note, sample)


def noise(samples: Samples, count: int = LIMIT, seed: int = 0) -> ReferenceSet:
    """Normal noise with the samples' mean and standard deviation, value by value.

    For images, channel by channel: one mean for all pixels.
    """
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, array in _explained(samples).items():
        over: tuple[int, ...] = (0,)
        if samples.form == "image" and name == samples.source:
            over += tuple(1 + a for a in image_axes(array.shape[1:]))
        centre = array.mean(axis=over, keepdims=True, dtype=np.float64)
        spread = array.std(axis=over, keepdims=True, dtype=np.float64)
        drawn = rng.standard_normal((count, *array.shape[1:]))
        arrays[name] = (centre + spread * drawn).astype(array.dtype)
    return ReferenceSet("noise", arrays, f"normal, mean and spread of the samples, seed {seed}")


def others(samples: Samples, sample: int, count: int = LIMIT) -> ReferenceSet:
    """The other samples; where there are many, some of them, spread over all."""
    rows = [i for i in range(samples.count) if i != sample]
    found = of_samples("other samples", samples, rows, count)
    return replace(found, sample=sample)


def of_samples(
    name: str, samples: Samples, rows: Sequence[int], count: int = LIMIT
) -> ReferenceSet:
    """Make a set of some samples; where there are many, of ``count`` spread over them."""
    if not rows:
        raise InputError(f"references {name!r}: there are no such samples")
    few = sorted({rows[round(k)] for k in np.linspace(0, len(rows) - 1, min(count, len(rows)))})
    arrays = {n: np.asarray(samples.arrays[n][few]) for n in samples.sources}
    note = "samples " + ", ".join(map(str, few))
    return ReferenceSet(name, arrays, note if len(few) > 1 else f"sample {few[0]}")


def per_class(
    samples: Samples,
    classes: Sequence[int],
    label: str,
    index: int,
    sample: int | None = None,
    count: int = LIMIT,
) -> ReferenceSet:
    """Samples that the model takes for class ``index``, without ``sample`` itself.

    ``classes``: what the model takes each sample for.
    """
    rows = [i for i, c in enumerate(classes) if c == index and i != sample]
    return replace(of_samples(f"predicted {label}", samples, rows, count), sample=sample)


def _explained(samples: Samples) -> dict[str, np.ndarray]:
    return {name: samples.arrays[name] for name in samples.sources}


def _gaussian(row: np.ndarray, axes: tuple[int, int], sigma: float) -> np.ndarray:
    """Blur along ``axes``, edges mirrored: separable, so one matrix an axis."""
    found = row.astype(np.float64)
    for axis in axes:
        matrix = _blur_matrix(row.shape[axis], sigma)
        found = np.moveaxis(np.tensordot(found, matrix, axes=(axis, 1)), -1, axis)
    return found


def _blur_matrix(size: int, sigma: float) -> np.ndarray:
    """Rows of weights that blur ``size`` values, mirrored at the ends as often as needed."""
    reach = int(np.ceil(4 * sigma))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    places = np.abs((np.arange(size)[:, None] + offsets) % (2 * size))
    places = np.minimum(places, 2 * size - 1 - places)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], places), np.broadcast_to(weights, places.shape))
    return matrix
