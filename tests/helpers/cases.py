"""The table of one-node models that every derivative rule is tested on: a row an operator use.

A row's inputs are, in the operator's order:

    (N, 3, 4)      a float input of the model, batch axis first; drawn from the row's domain
    Rows(array)    an integer or boolean input of the model, ``array[n]`` for sample ``n``
    an array       an initializer: float64 is cast to the run's dtype, other dtypes are kept
    Sizes(3, 4)    a shape computed in the model: the batch's own size in front of these
    None           left out
"""

from collections.abc import Iterator
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


def activations() -> Iterator[Case]:
    yield Case("Clip", [ROW, scalar(-1), scalar(1.5)], note="both", special=(*WIDE, -1.0, 1.5))
    yield Case("Clip", [ROW, scalar(0.25)], note="min", special=(*WIDE, 0.25))
    yield Case("Clip", [ROW, None, scalar(0.25)], note="max", special=(*WIDE, 0.25))
    yield unary("Clip", "unbounded")
    yield unary("Elu")
    yield unary("Elu", attrs={"alpha": 0.3})
    yield unary("Erf")
    yield unary("Gelu", "exact", opset=20)
    yield unary("Gelu", "tanh", attrs={"approximate": "tanh"}, opset=20)
    yield unary("HardSigmoid", domain=(-4, 4), special=(*WIDE, 2.5, -2.5))
    yield unary("HardSigmoid", attrs={"alpha": 0.5, "beta": 0.25})
    yield unary("HardSwish", domain=(-5, 5), special=(*WIDE, -3.0, 3.0))
    yield unary("LeakyRelu")
    yield unary("LeakyRelu", attrs={"alpha": 0.3})
    for op in ("LogSoftmax", "Softmax"):
        yield Case(op, [(N, 4)], special=(-30.0, 0.0, 0.5, 30.0))
        yield Case(op, [(N, 3, 4)], {"axis": 1}, special=(-30.0, 0.0, 0.5, 30.0))
        yield Case(op, [(N, 2, 3, 4)], {"axis": -2}, domain=(-4, 4))
        yield Case(op, [(N, 3, 4)], {"axis": 0}, batch=1)
        yield Case(op, [(N, 3, 4)], {"axis": 2}, batch=1)
        yield Case(op, [(N, 3, 1)], {"axis": -1}, note="one class")
    yield unary("Relu")
    yield Case("Relu", [(N, 3, 2)], special=WIDE, batch=2)
    yield unary("Selu")
    yield unary("Selu", attrs={"alpha": 1.2, "gamma": 0.8})
    yield unary("Sigmoid")
    yield unary("Softplus")
    yield unary("Tanh")
    yield Case("Tanh", [(N,)], note="scalar samples", special=WIDE)


def elementwise() -> Iterator[Case]:
    yield unary("Abs")
    for op in ("Add", "Sub", "Mul", "Div"):
        apart = {"domain": [(-2.0, 2.0), (0.5, 2.0)]} if op == "Div" else {}
        both = {"special": (0.5, 1.0, 2.0) if op == "Div" else (0.0, 1.0, -1.0)}
        constant = positive if op == "Div" else normal
        yield Case(op, [(N, 3, 4), (N, 3, 4)], note="both", **apart, **both)
        yield Case(op, [(N, 3, 4), constant(4)], note="constant lower rank")
        yield Case(op, [(N, 3, 4), constant(1, 3, 1)], note="constant size 1")
        yield Case(op, [(N, 3, 4), constant()], note="constant scalar")
        yield Case(op, [(N, 1, 4), (N, 3, 1)], note="both stretched", **apart, **both)
        yield Case(op, [(N, 1, 4), constant(3, 1)], note="constant stretches", **both)
        yield Case(op, [(N, 4), constant(2, 1, 4)], note="constant of higher rank", **both)
        yield Case(op, [(N, 4), constant(3, 1, 1)], note="constant adds an axis", **both)
        yield Case(op, [(N, 3), (N, 3)], note="both", batch=1, **apart, **both)
        flipped = {"domain": (0.5, 2.0), "special": (0.5, 2.0)} if op == "Div" else {}
        yield Case(op, [normal(3, 4), (N, 3, 4)], note="constant first", **flipped)
        yield Case(
            op, [normal(2, 1, 1, 4), (N, 3, 1)], note="constant first, higher rank", **flipped
        )
    yield Case("Div", [ROW, ROW], note="negative", domain=[(-2.0, 2.0), (-2.0, -0.5)])
    for op in ("Ceil", "Floor", "Round", "Sign"):
        yield unary(op, domain=(-4, 4), special=(*WIDE, 1.0, 2.0))
    yield unary("Exp")
    yield unary("Exp", "wide", domain=(-10, 10))
    yield unary("Log", domain=(0.2, 3), special=POSITIVE)
    for op in ("Max", "Min"):
        yield Case(op, [ROW], note="1 input")
        yield Case(op, [(N, 3, 4), (N, 3, 4)], note="2 inputs")
        yield Case(op, [(N, 3, 4), normal(4)], note="constant")
        yield Case(op, [normal(3, 1), (N, 1, 4)], note="constant first, stretched")
        yield Case(op, [(N, 3, 4), (N, 1, 4), (N, 3, 1)], note="3 inputs stretched")
        yield Case(op, [ROW, normal(5), ROW, ROW], note="4 inputs")
    yield Case("Mean", [ROW], note="1 input")
    yield Case("Mean", [(N, 3, 4), (N, 1, 4), normal(3, 1)], note="3 inputs stretched")
    yield unary("Neg")
    for p in (1.0, 2.0, 3.0, 0.5, -1.0, -0.5, 2.5, 0.0):
        whole = p in (1.0, 2.0, 3.0)
        domain = (-2.0, 2.0) if whole else (0.3, 2.0)
        special = (0.0, 1.0, -1.0, 2.0) if whole else (0.5, 1.0, 2.0)
        yield Case("Pow", [ROW, scalar(p)], note=f"exponent {p}", domain=domain, special=special)
    yield Case("Pow", [ROW, ints(2)], note="integer exponent")
    yield Case(
        "Pow",
        [ROW, np.array([1.0, 2, 3, 0.5, -1])],
        note="exponents",
        domain=(0.3, 2),
        special=POSITIVE[:4],
    )
    yield Case("Pow", [ROW, ROW], note="both", domain=(0.3, 2.0), special=(0.5, 1.0, 2.0))
    yield Case("Pow", [positive(5), ROW], note="constant base")
    yield Case(
        "Pow", [(N, 1, 4), (N, 3, 1)], note="both stretched", domain=(0.3, 2.0), special=(0.5, 1.0)
    )
    yield unary("Reciprocal", domain=(0.5, 2), special=POSITIVE)
    yield unary("Reciprocal", "negative", domain=(-2, -0.5), special=(-0.5, 0.5, -50.0, 50.0))
    yield unary("Sqrt", domain=(0.2, 3), special=(0.0, *POSITIVE))
    yield Case("Sum", [ROW], note="1 input")
    yield Case("Sum", [(N, 3, 4), (N, 1, 4), normal(3, 1), (N, 1, 1)], note="4 inputs stretched")
    choice = np.array(
        [[True, False, True, True], [False, False, True, False], [True, True, False, True]]
    )
    yield Case("Where", [choice, (N, 3, 4), (N, 3, 4)], note="constant condition")
    yield Case("Where", [choice[:1], (N, 3, 4), scalar(0.5)], note="constant other")
    yield Case("Where", [choice[:, :1], (N, 1, 4), (N, 3, 1)], note="all stretched")
    yield Case("Where", [Rows(choice), (N, 4), (N, 4)], note="condition a sample")
    yield Case("Where", [Rows(choice), (N, 4), (N, 4)], note="condition flips", flips=True)
    yield Case(
        "Where",
        [Rows(choice[:, :1]), (N, 4), (N, 1)],
        note="condition flips, stretched",
        flips=True,
    )
    yield Case(
        "Where",
        [Rows(choice), (N, 4), normal(4)],
        note="condition flips, constant other",
        flips=True,
    )


def convolutions() -> Iterator[Case]:
    w, b = normal(4, 2, 3, 3), normal(4)
    yield Case("Conv", [IMAGE, w, b], note="plain")
    yield Case("Conv", [IMAGE, w], {"pads": [1, 1, 1, 1]}, note="same size")
    yield Case(
        "Conv",
        [IMAGE, w, b],
        {"strides": [2, 2], "pads": [1, 0, 0, 1]},
        note="strides, uneven pads",
    )
    yield Case("Conv", [IMAGE, w], {"strides": [3, 2]}, note="strides leave a rest")
    yield Case("Conv", [IMAGE, w], {"dilations": [2, 1], "pads": [1, 2, 1, 2]}, note="dilations")
    yield Case(
        "Conv", [IMAGE, w], {"dilations": [1, 2], "strides": [2, 1]}, note="dilations, strides"
    )
    yield Case("Conv", [IMAGE, w], {"pads": [3, 3, 4, 3]}, note="pads beyond the kernel")
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case("Conv", [IMAGE, normal(3, 2, 2, 4)], {"auto_pad": auto, "strides": [2, 2]})
    yield Case(
        "Conv",
        [IMAGE, normal(3, 2, 2, 2)],
        {"auto_pad": "SAME_LOWER"},
        note="even kernel SAME_LOWER",
    )
    yield Case("Conv", [(N, 4, 5, 5), normal(6, 2, 3, 2), normal(6)], {"group": 2}, note="groups")
    yield Case(
        "Conv",
        [(N, 4, 5, 5), normal(6, 2, 3, 2)],
        {"group": 2, "strides": [2, 2]},
        note="groups, strides",
    )
    yield Case("Conv", [(N, 3, 5, 5), normal(3, 1, 3, 3)], {"group": 3}, note="depthwise")
    yield Case(
        "Conv", [(N, 3, 5, 5), normal(6, 1, 2, 2)], {"group": 3}, note="depthwise, multiplier 2"
    )
    yield Case("Conv", [(N, 3, 4, 4), normal(2, 3, 1, 1)], note="1x1")
    yield Case(
        "Conv",
        [(N, 2, 7), normal(3, 2, 3), normal(3)],
        {"strides": [2], "pads": [1, 1]},
        note="1-D",
    )
    yield Case(
        "Conv", [(N, 1, 3, 4, 3), normal(2, 1, 2, 2, 2)], {"pads": [0, 1, 0, 1, 0, 0]}, note="3-D"
    )
    small = (N, 2, 3, 3)
    wt = normal(2, 3, 3, 3)
    yield Case("ConvTranspose", [small, wt, normal(3)], note="plain")
    yield Case(
        "ConvTranspose",
        [small, wt],
        {"strides": [2, 3], "pads": [1, 0, 0, 1]},
        note="strides, uneven pads",
    )
    yield Case(
        "ConvTranspose",
        [small, wt],
        {"strides": [2, 2], "output_padding": [1, 1], "pads": [1, 1, 1, 1]},
        note="output_padding",
    )
    yield Case(
        "ConvTranspose",
        [small, wt],
        {"strides": [2, 2], "output_shape": [6, 5]},
        note="output_shape",
    )
    yield Case(
        "ConvTranspose",
        [small, wt],
        {"strides": [3, 2], "output_shape": [10, 8]},
        note="output_shape larger",
    )
    yield Case("ConvTranspose", [small, wt], {"dilations": [2, 1]}, note="dilations")
    yield Case(
        "ConvTranspose",
        [(N, 4, 3, 3), normal(4, 3, 2, 2)],
        {"group": 2, "strides": [2, 2]},
        note="groups",
    )
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case("ConvTranspose", [small, wt], {"auto_pad": auto, "strides": [2, 2]})
    yield Case("ConvTranspose", [(N, 2, 4), normal(2, 3, 3)], {"strides": [2]}, note="1-D")


def pools() -> Iterator[Case]:
    k2, k3 = {"kernel_shape": [2, 2]}, {"kernel_shape": [3, 3]}
    uneven = {"strides": [2, 2], "pads": [1, 1, 0, 1]}
    ties = (0.0, 1.0, -1.0, 0.5)
    yield Case("AveragePool", [IMAGE], {**k2, "strides": [2, 2]}, note="2x2")
    yield Case("AveragePool", [IMAGE], {**k3}, note="overlapping")
    yield Case("AveragePool", [IMAGE], {**k3, **uneven}, note="padded")
    yield Case(
        "AveragePool", [IMAGE], {**k3, **uneven, "count_include_pad": 1}, note="padded, pads count"
    )
    yield Case("AveragePool", [IMAGE], {**k2, "strides": [2, 2], "ceil_mode": 1}, note="ceil_mode")
    yield Case(
        "AveragePool",
        [IMAGE],
        {**k3, "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1, "count_include_pad": 1},
        note="ceil_mode, pads count",
    )
    # A last window that starts past the input is dropped by the runtimes. ONNX's own inference,
    # which checks the emitted files, does so from opset 22; tests/graph/test_shapes.py has 18.
    line = (N, 2, 5)
    padded = {"kernel_shape": [3], "strides": [3], "pads": [1, 1], "ceil_mode": 1}
    gaps = {"kernel_shape": [1], "strides": [3], "ceil_mode": 1}
    yield Case("AveragePool", [line], {**padded}, note="ceil_mode, window in padding", opset=22)
    yield Case(
        "AveragePool",
        [line],
        {**padded, "count_include_pad": 1},
        note="ceil_mode, window in padding, pads count",
        opset=22,
    )
    yield Case(
        "AveragePool", [(N, 2, 6)], {**gaps}, note="ceil_mode, window past the end", opset=22
    )
    yield Case(
        "AveragePool",
        [(N, 2, 6)],
        {**gaps, "auto_pad": "VALID"},
        note="ceil_mode, VALID, window past the end",
        opset=22,
    )
    yield Case("AveragePool", [IMAGE], {**k2, "dilations": [2, 2]}, note="dilations", opset=19)
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case("AveragePool", [IMAGE], {**k2, "strides": [2, 2], "auto_pad": auto}, note=auto)
    yield Case("AveragePool", [(N, 2, 6)], {"kernel_shape": [3], "strides": [2]}, note="1-D")
    yield Case("AveragePool", [(N, 1, 3, 3, 4)], {"kernel_shape": [2, 2, 2]}, note="3-D")
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        ties_too = {"special": ties} if op == "GlobalMaxPool" else {}
        yield Case(op, [(N, 3, 3, 4)], note="2-D", **ties_too)
        yield Case(op, [(N, 3, 5)], note="1-D", **ties_too)
        yield Case(op, [(N, 2, 2, 3, 2)], note="3-D", **ties_too)
    pool: dict[str, Any] = {"special": ties}
    yield Case("MaxPool", [IMAGE], {**k2, "strides": [2, 2]}, note="2x2", **pool)
    yield Case("MaxPool", [IMAGE], {**k3}, note="overlapping", **pool)
    yield Case(
        "MaxPool",
        [IMAGE],
        {**k3, "strides": [2, 2], "pads": [1, 1, 1, 1]},
        note="overlapping, padded",
        **pool,
    )
    yield Case("MaxPool", [IMAGE], {**k3, **uneven}, note="uneven pads", **pool)
    yield Case(
        "MaxPool", [IMAGE], {**k2, "strides": [2, 2], "ceil_mode": 1}, note="ceil_mode", **pool
    )
    yield Case("MaxPool", [line], {**padded}, note="ceil_mode, window in padding", opset=22, **pool)
    yield Case(
        "MaxPool", [(N, 2, 6)], {**gaps}, note="ceil_mode, window past the end", opset=22, **pool
    )
    yield Case("MaxPool", [IMAGE], {**k2, "dilations": [2, 2]}, note="dilations", **pool)
    yield Case("MaxPool", [IMAGE], {**k2, "strides": [3, 3]}, note="gaps", **pool)
    for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case(
            "MaxPool", [IMAGE], {**k2, "strides": [2, 2], "auto_pad": auto}, note=auto, **pool
        )
    for auto in ("SAME_UPPER", "SAME_LOWER"):
        both = {"kernel_shape": [4], "strides": [2], "auto_pad": auto}
        yield Case("MaxPool", [line], both, note=f"overlapping {auto}", **pool)
        yield Case("AveragePool", [line], both, note=f"overlapping {auto}")
    yield Case("MaxPool", [(N, 2, 7)], {"kernel_shape": [3], "strides": [2]}, note="1-D", **pool)
    yield Case("MaxPool", [(N, 1, 3, 3, 4)], {"kernel_shape": [2, 2, 2]}, note="3-D", **pool)


def normalisations() -> Iterator[Case]:
    yield Case(
        "BatchNormalization",
        [(N, 3, 2, 4), positive(3), normal(3), normal(3), positive(3)],
        note="2-D",
    )
    yield Case(
        "BatchNormalization",
        [(N, 3), positive(3), normal(3), normal(3), positive(3)],
        {"epsilon": 0.1},
    )
    yield Case(
        "BatchNormalization",
        [(N, 3, 5), positive(3), normal(3), normal(3), positive(3)],
        note="1-D",
    )
    yield Case("InstanceNormalization", [(N, 3, 2, 4), normal(3), normal(3)], note="2-D")
    yield Case("InstanceNormalization", [(N, 3, 5), positive(3), normal(3)], {"epsilon": 0.1})
    yield Case("LayerNormalization", [(N, 6), normal(6), normal(6)], note="vector")
    yield Case("LayerNormalization", [(N, 3, 6), normal(6)], note="no bias")
    yield Case("LayerNormalization", [(N, 2, 3, 4), normal(3, 4), normal(3, 4)], {"axis": -2})
    yield Case("LayerNormalization", [(N, 2, 3, 4), normal(2, 3, 4)], {"axis": 1, "epsilon": 0.1})
    yield Case("LayerNormalization", [(N, 3, 4), normal(4)], {"axis": 2}, batch=1)
    yield Case(
        "LayerNormalization", [(N, 3, 6), normal(6)], note="far from the origin", domain=(9, 11)
    )
    yield Case("LRN", [(N, 5, 2, 2)], {"size": 3})
    yield Case(
        "LRN",
        [(N, 5, 2, 2)],
        {"size": 4, "alpha": 0.5, "beta": 0.6, "bias": 2.0},
        note="even",
        on_runtime=False,
    )
    yield Case("LRN", [(N, 6, 3)], {"size": 5, "alpha": 1.5}, note="odd, 1-D", on_runtime=False)
    yield Case("LRN", [(N, 3, 2, 2)], {"size": 9, "alpha": 1.0}, note="wider than channels")


def products() -> Iterator[Case]:
    yield Case("Einsum", [(N, 3, 4), normal(4, 2)], {"equation": "nij,jk->nik"})
    yield Case("Einsum", [(N, 3, 4), (N, 4, 2)], {"equation": "bij,bjk->bik"})
    yield Case(
        "Einsum", [(N, 3, 4), (N, 2, 4)], {"equation": "bqd,bkd->bqk"}, note="attention scores"
    )
    yield Case("Einsum", [(N, 3, 4)], {"equation": "bij->bji"})
    yield Case("Einsum", [(N, 3, 4)], {"equation": "bij->b"}, note="summed out")
    yield Case("Einsum", [(N, 3, 4), normal(4)], {"equation": "b i j , j -> b i"}, note="spaces")
    yield Case("Einsum", [(N, 3, 4), normal(4, 5)], {"equation": "...j,jk->...k"}, note="dots")
    yield Case(
        "Einsum",
        [(N, 2, 3, 4), (N, 2, 4, 2)],
        {"equation": "...ij,...jk->...ik"},
        note="dots, both",
    )
    yield Case("Einsum", [(N, 3), normal(3, 4)], {"equation": "bi,ij"}, note="implicit")
    yield Case(
        "Einsum",
        [(N, 3), (N, 4), normal(3, 4, 2)],
        {"equation": "bi,bj,ijk->bk"},
        note="3 operands",
        special=(0.0, 1.0),
    )
    yield Case("Einsum", [normal(5, 3), (N, 3)], {"equation": "oi,bi->bo"}, note="constant first")
    yield Case("Gemm", [(N, 3), normal(3, 4), normal(4)], note="plain")
    yield Case("Gemm", [(N, 3), normal(4, 3), normal(4)], {"transB": 1, "alpha": 0.5, "beta": 2.0})
    yield Case("Gemm", [(N, 3), normal(3, 4)], {"transA": 1}, note="transA", batch=1)
    yield Case(
        "Gemm",
        [(N, 3), normal(4, 3)],
        {"transA": 1, "transB": 1, "alpha": 1.5},
        note="transA transB",
        batch=1,
    )
    yield Case("Gemm", [normal(4, 3), (N, 3)], {"transB": 1, "alpha": 0.5}, note="B varies, transB")
    yield Case("Gemm", [normal(4, 3), (N, 3)], {"alpha": 0.5}, note="B varies", batch=1)
    yield Case(
        "Gemm", [normal(3, 4), (N, 3)], {"transA": 1, "transB": 1}, note="B varies, transA transB"
    )
    yield Case("Gemm", [normal(3, 4), (N, 3)], {"transA": 1}, note="B varies, transA", batch=1)
    yield Case("Gemm", [(N, 3), normal(3, 4), (N, 4)], {"beta": 0.5}, note="C varies")
    yield Case("Gemm", [(N, 3), normal(3, 4), (N, 1)], note="C varies, broadcast")
    yield Case("MatMul", [(N, 3), normal(3, 4)], note="matrix, constant")
    yield Case("MatMul", [(N, 2, 3), normal(3, 4)], note="3-D, constant")
    yield Case("MatMul", [(N, 2, 2, 3), normal(3, 4)], note="4-D, constant")
    yield Case("MatMul", [(N, 2, 2, 3), normal(2, 3, 4)], note="4-D, constant 3-D")
    yield Case("MatMul", [(N, 2, 3), normal(1, 3, 4)], note="constant 1 batch")
    yield Case("MatMul", [(N, 1, 2, 3), normal(4, 3, 2)], note="constant stretches")
    yield Case("MatMul", [(N, 2, 3), normal(3)], note="constant vector")
    yield Case("MatMul", [(N, 3), normal(3)], note="constant vector, row")
    yield Case("MatMul", [normal(4, 3), (N, 3, 2)], note="constant first")
    yield Case("MatMul", [normal(3), (N, 3, 2)], note="constant vector first")
    yield Case(
        "MatMul", [normal(5, 1, 2, 4, 3), (N, 1, 3, 2)], note="constant first of higher rank"
    )
    yield Case("MatMul", [(N, 2, 3), (N, 3, 4)], note="both")
    yield Case("MatMul", [(N, 2, 2, 3), (N, 2, 3, 2)], note="both 4-D")
    yield Case("MatMul", [(N, 1, 2, 3), (N, 4, 3, 2)], note="both, left stretched")
    yield Case("MatMul", [(N, 4, 2, 3), (N, 1, 3, 2)], note="both, right stretched")
    yield Case("MatMul", [(N, 2, 2, 3), (N, 2, 3, 2)], note="both", batch=1)
    yield Case("MatMul", [normal(4, 3), (N, 3)], note="batch is the last axis", batch=1)


def reductions() -> Iterator[Case]:
    for reverse in (0, 1):
        for exclusive in (0, 1):
            yield Case(
                "CumSum", [(N, 4, 3), np.array(1)], {"reverse": reverse, "exclusive": exclusive}
            )
    yield Case("CumSum", [(N, 4, 3), np.array(-1)], note="last axis")
    for op in ("ReduceL2", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum"):
        extra: dict[str, Any] = {"special": (0.0, 1.0, -1.0, 2.0)}
        yield Case(op, [(N, 3, 4), ints(1)], note="axis 1", **extra)
        yield Case(op, [(N, 3, 4), ints(-1)], {"keepdims": 0}, note="axis -1 dropped", **extra)
        yield Case(op, [(N, 3, 4), ints(1, 2)], {"keepdims": 0}, note="axes 1 2 dropped", **extra)
        yield Case(op, [(N, 2, 3, 2), ints(-1, 1)], note="axes -1 1", **extra)
        yield Case(
            op, [(N, 2, 3, 2), ints(3, 1)], {"keepdims": 0}, note="axes 3 1 dropped", **extra
        )
        yield Case(op, [(N, 3, 4)], {"noop_with_empty_axes": 1}, note="noop", **extra)
        yield Case(
            op, [(N, 3, 4), ints(0)], {"keepdims": 0}, note="axis 0 dropped", batch=1, **extra
        )
        yield Case(op, [(N, 3, 4), ints(0)], note="axis 0", batch=2, **extra)
        yield Case(op, [(N, 3, 1), ints(2)], note="size 1", **extra)


def shapes() -> Iterator[Case]:
    yield Case("Cast", [ROW], {"to": DTYPE})
    yield Case("Concat", [(N, 2, 3), (N, 4, 3)], {"axis": 1})
    yield Case("Concat", [(N, 2, 3), (N, 2, 1), (N, 2, 2)], {"axis": -1})
    yield Case("Concat", [(N, 3)], {"axis": 1}, note="1 input")
    yield Case("Concat", [(N, 2, 3), (N, 1, 3)], {"axis": 0}, batch=1)
    for mode in ("DCR", "CRD"):
        yield Case("DepthToSpace", [(N, 8, 2, 3)], {"blocksize": 2, "mode": mode})
    yield Case("DepthToSpace", [(N, 9, 1, 2)], {"blocksize": 3})
    yield Case("Dropout", [ROW], note="plain")
    yield Case("Dropout", [ROW, scalar(0.3)], note="ratio")
    yield Case("Dropout", [ROW, scalar(0.3), np.array(False)], note="inference")
    yield Case("Expand", [(N, 1, 3), ints(1, 4, 3)], note="size 1")
    yield Case("Expand", [(N, 1, 3), ints(4, 1)], note="shorter shape")
    yield Case("Expand", [(N, 3), ints(2, 1, 3)], note="new axis")
    yield Case("Flatten", [(N, 2, 3)], note="axis 1")
    yield Case("Flatten", [(N, 2, 3)], {"axis": -2})
    yield Case("Identity", [ROW])
    pads = {
        "both sides": ([0, 1, 2, 0, 3, 1], {}),
        "negative": ([0, -1, 2, 0, 1, -2], {}),
        "reflect": ([0, 2, 1, 0, 1, 3], {"mode": "reflect"}),
        "edge": ([0, 2, 1, 0, 1, 3], {"mode": "edge"}),
        "edge, negative": ([0, -1, 2, 0, 2, -1], {"mode": "edge"}),
        "reflect, negative": ([0, -1, 2, 0, 1, -1], {"mode": "reflect"}),
    }
    for note, (amounts, attrs) in pads.items():
        yield Case("Pad", [(N, 3, 4), ints(*amounts)], attrs, note=note)
    yield Case("Pad", [(N, 3, 4), ints(0, 2, 1, 0, 1, 3)], {"mode": "wrap"}, note="wrap", opset=19)
    yield Case(
        "Pad", [(N, 3, 4), ints(0, 2, 5, 0, 1, 6)], {"mode": "wrap"}, note="wrap twice", opset=19
    )
    yield Case("Pad", [(N, 3, 4), ints(0, 1, 2, 0, 3, 1), scalar(2.5)], note="value")
    yield Case("Pad", [(N, 3, 4), ints(1, 2, 3, 1), None, ints(-1, 1)], note="axes")
    yield Case("Pad", [(N, 3, 4), ints(2, 1), None, ints(-1)], {"mode": "edge"}, note="axes, edge")
    yield from resizes()
    yield Case("Reshape", [(N, 3, 4), ints(0, -1)], note="flat")
    yield Case("Reshape", [(N, 12), ints(-1, 3, 4)], note="unflat")
    yield Case("Reshape", [(N, 12), ints(0, 2, 2, 3)], note="zero")
    yield Case("Reshape", [(N, 12), Sizes((4, 3))], note="computed")
    yield Case("Expand", [(N, 1, 3), Sizes((4, 3))], note="computed")
    yield Case("Reshape", [(N, 2, 6), ints(-1, 4, 3)], {"allowzero": 1})
    slices = {
        "plain": ([1], [3], [1], None),
        "no axes": ([0, 1], [2**62, 3], None, None),
        "negative": ([-3], [-1], [-1], None),
        "far end": ([1, 1], [99, 2**62], [1, 2], [1, 1]),
        "step 2": ([0], [5], [2], [2]),
        "step -1": ([-1], [-99], [2], [-1]),
        "step -2": ([4], [-(2**62)], [-1], [-2]),
        "steps mixed": ([0, 4], [4, 0], [1, 2], [3, -1]),
        "negative start far": ([-99], [2], [1], None),
        "step -1 clipped": ([99], [0], [1], [-1]),
    }
    for note, parts in slices.items():
        own = [None if p is None else ints(*p) for p in parts]
        yield Case("Slice", [(N, 4, 5), *own], note=note)
    yield Case("Slice", [(N, 4, 5), ints(1), ints(3), ints(0)], note="axis 0", batch=1)
    yield Case("SpaceToDepth", [(N, 2, 4, 6)], {"blocksize": 2})
    yield Case("SpaceToDepth", [(N, 1, 3, 3)], {"blocksize": 3})
    yield Case("Split", [(N, 6), ints(2, 4)], {"axis": 1}, note="first of two", outputs=2)
    yield Case(
        "Split", [(N, 6), ints(1, 3, 2)], {"axis": -1}, note="one unused", outputs=3, join=(2, 0)
    )
    yield Case(
        "Split",
        [(N, 5, 2)],
        {"axis": 1, "num_outputs": 3},
        note="num_outputs, uneven",
        outputs=3,
        join=(0, 2),
    )
    yield Case(
        "Split", [(N, 4, 2), ints(3, 1)], {"axis": 0}, note="all", outputs=2, join=(1, 0), batch=1
    )
    yield Case("Squeeze", [(N, 1, 3, 1), ints(1, 3)], note="axes")
    yield Case("Squeeze", [(N, 1, 3, 1), ints(-1)], note="negative axis")
    yield Case("Tile", [(N, 3, 2), ints(1, 2, 3)], note="both")
    yield Case("Tile", [(N, 3), ints(1, 1)], note="once")
    yield Case("Tile", [(N, 3, 2), ints(2, 1, 2)], note="both", batch=1)
    yield Case("Transpose", [(N, 2, 3)], {"perm": [0, 2, 1]})
    yield Case("Transpose", [(N, 2, 3)], note="reversed")
    yield Case("Transpose", [(N, 2, 3, 2)], {"perm": [2, 0, 3, 1]})
    yield Case("Unsqueeze", [(N, 3), ints(1, 3)], note="axes")
    yield Case("Unsqueeze", [(N, 3), ints(-1)], note="negative axis")
    yield Case("Unsqueeze", [(N, 3), ints(0)], note="in front")


def resizes() -> Iterator[Case]:
    empty = scales()
    x = (N, 2, 4, 5)
    for mode in ("nearest", "linear", "cubic"):
        yield Case("Resize", [x, empty, scales(1, 1, 2, 1.6)], {"mode": mode}, note=f"{mode} up")
        yield Case(
            "Resize", [x, empty, scales(1, 1, 0.5, 0.7)], {"mode": mode}, note=f"{mode} down"
        )
        yield Case(
            "Resize", [x, None, None, Sizes((2, 3, 7))], {"mode": mode}, note=f"{mode} sizes"
        )
    modes = ("align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")
    for coordinates in modes:
        opset = 19 if coordinates == "half_pixel_symmetric" else 18
        attrs = {"mode": "linear", "coordinate_transformation_mode": coordinates}
        yield Case("Resize", [x, empty, scales(1, 1, 2, 0.6)], attrs, note=coordinates, opset=opset)
    for rounding in ("floor", "ceil", "round_prefer_ceil"):
        attrs = {
            "mode": "nearest",
            "nearest_mode": rounding,
            "coordinate_transformation_mode": "asymmetric",
        }
        yield Case("Resize", [x, empty, scales(1, 1, 1.7, 2)], attrs, note=f"nearest {rounding}")
    cubic = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}
    yield Case("Resize", [x, empty, scales(1, 1, 1.7, 0.8)], cubic, note="cubic exclude_outside")
    axes = {"mode": "linear", "axes": [2, 3]}
    yield Case("Resize", [x, None, None, ints(6, 3)], axes, note="axes", opset=18)
    axes = {"mode": "linear", "axes": [3, 2]}
    yield Case("Resize", [x, None, scales(2, 1.5)], axes, note="axes turned")
    antialias = {"mode": "linear", "antialias": 1}
    yield Case("Resize", [x, empty, scales(1, 1, 0.5, 0.6)], antialias, note="antialias")
    crop = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    roi = np.array([0, 0, 0.1, 0.2, 1, 1, 0.9, 0.7])
    yield Case("Resize", [x, roi, None, Sizes((2, 3, 7))], crop, note="crop")
    yield Case("Resize", [(N, 2, 5), empty, scales(1, 1, 2)], {"mode": "linear"}, note="1-D")


def indices() -> Iterator[Case]:
    data = (N, 4, 3)
    yield Case("Gather", [data, np.array(2)], {"axis": 1}, note="scalar")
    yield Case("Gather", [data, np.array(-1)], {"axis": -1}, note="scalar, last axis")
    yield Case("Gather", [data, ints(0, 3, 3, -1)], {"axis": 1}, note="repeated, negative")
    yield Case("Gather", [data, np.array([[0, 2], [2, 1]])], {"axis": 2}, note="2-D")
    yield Case("Gather", [data, np.array([[0, 2, 1], [2, 1, 1]])], {"axis": 1}, note="2-D, axis 1")
    yield Case("Gather", [data, ints(1, 0, 1)], {"axis": 0}, note="axis 0", batch=1)
    yield Case(
        "Gather", [data, np.array([[1, 0], [1, 1]])], {"axis": 0}, note="2-D, axis 0", batch=1
    )
    yield Case("Gather", [data, np.array(1)], {"axis": 0}, note="scalar, axis 0", batch=2)
    picks = np.array([[[0, 3, 1], [2, 2, 2]], [[1, 1, -1], [0, 0, 0]]])
    yield Case("GatherElements", [data, Rows(picks)], {"axis": 1})
    last = np.array([[[0, 2], [1, 1], [-1, 0], [2, 2]], [[2, 1], [0, 0], [1, 2], [0, 1]]])
    yield Case("GatherElements", [data, Rows(last)], {"axis": -1})
    places = np.array([[[0, 3, 1], [2, 1, -1]], [[1, 0, 3], [0, 2, 0]]])
    yield Case("ScatterElements", [data, Rows(places), (N, 2, 3)], {"axis": 1}, note="none")
    yield Case(
        "ScatterElements",
        [data, Rows(picks), (N, 2, 3)],
        {"axis": 1, "reduction": "add"},
        note="add",
    )


CASES: list[Case] = [
    *activations(),
    *elementwise(),
    *convolutions(),
    *pools(),
    *normalisations(),
    *products(),
    *reductions(),
    *shapes(),
    *indices(),
]
