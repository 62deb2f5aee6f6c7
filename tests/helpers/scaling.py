"""Small models with inputs of given degrees, and how their outputs really scale.

``X(2, 3)`` in a row's inputs is an input of the model, of degree 1. Behind it stand, for other
degrees, ``X(2, 3, k=2)``: its square, ``k=0``: its sign, ``k=-1``: its reciprocal. An array is an
initializer, ``Held(array)`` an input that is not explained, None is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxshap.graph.model import Model
from onnxshap.homogeneity import Proof, prove
from onnxshap.scoreboard.reference_ops import CORRECTED, ScatterElements

OPERATORS = [op for op in CORRECTED if op is not ScatterElements]  # which lacks reductions
FACTORS = (0.01, 0.3, 7.0, 100.0)
PREFIX = {2: ("Mul", 2), 0: ("Sign", 1), -1: ("Reciprocal", 1)}


class X:
    """A float input of the model, explained; ``k``: its degree by the time the operator reads it.

    ``low``, ``high``: where it is drawn from.
    """

    def __init__(self, *shape: int, k: int = 1, low: float = -2.0, high: float = 2.0) -> None:
        self.shape, self.k, self.low, self.high = shape, k, low, high


@dataclass(frozen=True, eq=False)
class Held:
    """An input of the model that is not explained."""

    array: np.ndarray


@dataclass(frozen=True, eq=False)
class Row:
    """One use of one operator, and what must come of it.

    ``expected``: the degree of the output, or of each; or a piece of the reason why there is none.
    """

    op: str
    inputs: list[Any]
    expected: Fraction | int | list[Fraction | int] | str
    attrs: dict[str, Any] = field(default_factory=dict)
    opset: int = 20
    outputs: int = 1
    breaks: bool = True
    """For a row that is refused: whether its numbers show why, or the refusal is a caution."""
    tolerance: float = 1e-9
    """Of the numbers, relative to the largest: wider for what rounds to float32."""
    dtype: Any = np.float64
    """What inputs and float64 arrays are in the model."""
    on_runtime: bool = False
    """Whether to run it on onnxruntime, for want of a reference implementation."""
    domain: str = ""

    @property
    def id(self) -> str:
        """Readable test name."""
        kinds = []
        for given in self.inputs:
            if isinstance(given, X):
                kinds.append(f"k{given.k}")
            elif given is None:
                kinds.append("-")
            else:
                array = given.array if isinstance(given, Held) else given
                zero = "zeros" if not array.any() else "const"
                kinds.append(f"{zero}{list(array.shape)}")
        settings = [
            f"{k}={v}" for k, v in self.attrs.items() if not isinstance(v, onnx.TensorProto)
        ]
        return f"{self.op}({', '.join([*kinds, *settings])})"

    @property
    def degrees(self) -> list[Fraction | int]:
        """Expected degrees of all outputs."""
        assert not isinstance(self.expected, str)
        return self.expected if isinstance(self.expected, list) else [self.expected]

    @property
    def model(self) -> onnx.ModelProto:
        """The operator, behind what makes its inputs' degrees."""
        nodes, inputs, constants, names = [], [], [], []
        for i, given in enumerate(self.inputs):
            name = f"x{i}" if isinstance(given, X) else f"c{i}"
            if isinstance(given, X):
                inputs.append(_tensor(name, np.dtype(self.dtype), given.shape))
                if given.k != 1:
                    op, count = PREFIX[given.k]
                    nodes.append(helper.make_node(op, [name] * count, [f"d{i}"], f"prefix{i}"))
                    name = f"d{i}"
            elif isinstance(given, Held):
                inputs.append(_tensor(name, given.array.dtype, given.array.shape))
            elif given is not None:
                array = given.astype(self.dtype) if given.dtype == np.float64 else given
                constants.append(numpy_helper.from_array(array, name))
            names.append("" if given is None else name)
        ends = [f"y{k}" for k in range(self.outputs)]
        nodes.append(
            helper.make_node(self.op, names, ends, "node", domain=self.domain, **self.attrs)
        )
        outputs = [onnx.ValueInfoProto(name=end) for end in ends]
        graph = helper.make_graph(nodes, "row", inputs, outputs, constants)
        opsets = [helper.make_opsetid("", self.opset)]
        if self.domain:
            opsets.append(helper.make_opsetid(self.domain, 1))
        bare = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        inferred = onnx.shape_inference.infer_shapes(bare)
        for output in inferred.graph.output:
            if not output.type.tensor_type.elem_type:
                output.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
        return inferred

    def draw(self) -> dict[str, np.ndarray]:
        """Values of the model's inputs."""
        rng = np.random.default_rng(0)
        drawn: dict[str, np.ndarray] = {}
        for i, given in enumerate(self.inputs):
            if isinstance(given, X):
                drawn[f"x{i}"] = rng.uniform(given.low, given.high, given.shape).astype(self.dtype)
            elif isinstance(given, Held):
                drawn[f"c{i}"] = given.array
        return drawn


def _tensor(name: str, dtype: np.dtype, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


def proofs(row: Row) -> list[Proof]:
    """What is proven of every output."""
    graph = Model(row.model).normalised.graph
    sources = [v for v in graph.inputs if str(v.name).startswith("x")]
    return [prove(graph, sources, output) for output in graph.outputs]


def runs(row: Row) -> tuple[list[np.ndarray], dict[float, list[np.ndarray]]]:
    """Outputs f(x), and f(a x) for every factor a."""
    feeds, engine = row.draw(), None
    if row.on_runtime:
        data = row.model.SerializeToString()
        engine = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    else:
        engine = ReferenceEvaluator(row.model, new_ops=OPERATORS)

    def outputs(factor: float) -> list[np.ndarray]:
        scaled = {n: a * a.dtype.type(factor) if n[0] == "x" else a for n, a in feeds.items()}
        with np.errstate(all="ignore"):
            return [np.asarray(o) for o in engine.run(None, scaled)]

    return outputs(1.0), {factor: outputs(factor) for factor in FACTORS}


def check(row: Row) -> None:
    """Fail unless a row's proof is what the row expects, and true of its numbers."""
    found = proofs(row)
    if isinstance(row.expected, str):
        reasons = [o.reason for o in found[0].offenders]
        assert found[0].degree is None, f"degree {found[0].degree}, expected: {row.expected}"
        assert len(reasons) == 1, reasons
        assert row.expected in reasons[0], reasons
        if row.breaks:
            own, scaled = runs(row)
            powers = np.arange(-8, 8.5, 0.25).tolist()
            fitting = [k for k in powers if follows(own[0], scaled, 0, k, row.tolerance)]
            assert not fitting, f"refused, but it scales by degree {fitting}"
        return
    assert [p.degree for p in found] == row.degrees, found
    own, scaled = runs(row)
    for place, degree in enumerate(row.degrees):
        true = follows(own[place], scaled, place, float(degree), row.tolerance)
        assert true, f"output {place} does not scale by degree {degree}"


def follows(
    own: np.ndarray,
    scaled: dict[float, list[np.ndarray]],
    place: int,
    degree: float,
    tolerance: float,
) -> bool:
    """Whether f(a x) = a^degree f(x) for every factor, within tolerance of the largest."""
    for factor, outputs in scaled.items():
        expected = factor**degree * own.astype(np.float64)
        if outputs[place].shape != expected.shape:
            return False
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=1e-300)
        bound = tolerance * scale
        if not np.allclose(outputs[place], expected, rtol=0, atol=bound, equal_nan=True):
            return False
    return True
