"""The table of one-node models that every derivative rule is tested on: a row an operator use.

A row's inputs are, in the operator's order:

    (N, 3, 4)      a float input of the model, batch axis first; drawn from the row's domain
    Rows(array)    an integer or boolean input of the model, ``array[n]`` for sample ``n``
    an array       an initializer: float64 is cast to the run's dtype, other dtypes are kept
    Sizes(3, 4)    a shape computed in the model: the batch's own size in front of these
    None           left out
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

N = "N"
"""The batch axis in a row's shapes."""

DTYPE = "dtype"
"""An attribute whose value is the run's own dtype."""

Shape = tuple[str | int, ...]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Rows:
    """An input that is not differentiated: one row a sample, the first for all references."""

    values: np.ndarray


@dataclass(frozen=True)
class Sizes:
    """A shape whose first entry is read from the first input's batch axis."""

    rest: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """One use of one operator."""

    op: str
    inputs: list[Any]
    attrs: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    domain: Interval | list[Interval] = (-2.0, 2.0)
    """Where inputs are drawn from, for all or for each."""
    special: tuple[float, ...] = (0.0, 1.0, -1.0)
    """Values whose every combination must keep multipliers finite and complete."""
    wrt: tuple[int, ...] | None = None
    """Places of the inputs that are explained; None: every float input of the model."""
    batch: int = 0
    """Where the operator sees the batch: a Transpose in front moves it there."""
    opset: int = 18
    outputs: int = 1
    join: tuple[int, ...] = (0,)
    """Outputs that are explained; several are concatenated along the ``axis`` attribute."""
    flips: bool = False
    """Whether rows of the references differ from the explicands': a condition that switches."""
    alone: bool = False
    """Whether the operator sees samples one at a time, without a batch axis: N is not in the model.

    For operators that mix samples, and values that have no batch axis, as weights are.
    """
    on_runtime: bool = True
    """Whether onnxruntime's CPU provider has a kernel for this use of the operator."""

    @property
    def id(self) -> str:
        """Readable test name."""
        settings = [f"{k}={_spell(v)}" for k, v in self.attrs.items()]
        moved = [f"batch={self.batch}"] if self.batch else []
        return "-".join([self.op, *([self.note] if self.note else settings), *moved])

    @cached_property
    def free(self) -> dict[str, Shape]:
        """Float inputs of the model by name."""
        return {f"x{i}": s for i, s in enumerate(self.inputs) if isinstance(s, tuple)}

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """Integer and boolean inputs of the model by name."""
        return {f"x{i}": s.values for i, s in enumerate(self.inputs) if isinstance(s, Rows)}

    @cached_property
    def explained(self) -> list[str]:
        """Names of the inputs that are differentiated."""
        return [n for n in self.free if self.wrt is None or int(n[1:]) in self.wrt]

    def interval(self, name: str) -> Interval:
        """Where input ``name`` is drawn from."""
        if isinstance(self.domain, list):
            return self.domain[list(self.free).index(name)]
        return self.domain

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Return ``count`` random samples of every input of the model."""
        drawn: dict[str, np.ndarray] = {}
        for name, shape in self.free.items():
            low, high = self.interval(name)
            drawn[name] = low + (high - low) * _apart(rng, count, shape[1:])
        return drawn | self.held(count)

    def draw_special(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Return samples whose elements are special values: ties, zeros and saturation abound."""
        drawn: dict[str, np.ndarray] = {}
        for name, shape in self.free.items():
            low, high = self.interval(name)
            fitting = [
                v for v in self.special if not isinstance(self.domain, list) or low <= v <= high
            ]
            values = fitting or [low, high]
            drawn[name] = rng.choice(values, (count, *shape[1:]))
        return drawn | self.held(count)

    def held(self, count: int, varied: bool = False) -> dict[str, np.ndarray]:
        """Integer and boolean inputs: the same row for all, or a row a sample."""
        pick = np.arange(count) if varied else np.zeros(count, np.int64)
        return {name: values[pick % len(values)] for name, values in self.rows.items()}


def _apart(rng: np.random.Generator, count: int, shape: tuple[Any, ...]) -> np.ndarray:
    """Numbers in (0, 1) of which no two are close within a sample: maxima stay where they are."""
    size = int(np.prod(shape, dtype=int))
    ranks = rng.permuted(np.tile(np.arange(size), (count, 1)), axis=1)
    return ((ranks + rng.uniform(0.25, 0.75, ranks.shape)) / size).reshape(count, *shape)


def _spell(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return str(value)


def normal(*shape: int) -> np.ndarray:
    """Fixed random weights of a shape."""
    return np.random.default_rng(sum(shape) + 31 * len(shape)).normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    """Fixed random weights between 0.5 and 2."""
    return np.random.default_rng(sum(shape) + 17 * len(shape)).uniform(0.5, 2, shape)


def ints(*values: int) -> np.ndarray:
    """Indices, axes, sizes."""
    return np.array(values, np.int64)


def scales(*values: float) -> np.ndarray:
    """Resize's scales, float32 whatever the run's dtype."""
    return np.array(values, np.float32)


def scalar(value: float) -> np.ndarray:
    """A rank-0 parameter in the run's dtype."""
    return np.array(value, np.float64)


ROW: Shape = (N, 5)
IMAGE: Shape = (N, 2, 5, 6)
WIDE = (-30.0, -3.0, -1e-3, 0.0, 1e-3, 0.5, 3.0, 30.0, 50.0, -50.0)
POSITIVE = (1e-3, 0.5, 1.0, 2.0, 50.0)


def unary(op: str, note: str = "", **settings: Any) -> Case:
    """A row for a function of one number."""
    attrs = settings.pop("attrs", {})
    return Case(op, [ROW], attrs, note=note, **({"special": WIDE} | settings))
