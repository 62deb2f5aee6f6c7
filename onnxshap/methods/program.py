"""The graph of an explanation: model, reference side and backward pass in one, with named ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_ir as ir

Completeness = Literal["exact", "quadrature", "expectation", "none"]
"""Whether attributions sum to output minus base value.

exact:       up to rounding.
quadrature:  up to the error of a sum that stands for an integral; more steps make it smaller.
expectation: on average over what the method draws; more references make it smaller.
none:        not promised; no residual is given.
"""

Precision = Literal["float64", "float32", "float16", "bfloat16"]

Fill = Callable[[Mapping[str, np.ndarray], range, range], np.ndarray]
"""``fill(explicands, references, steps)``: what a method feeds to an input of its own.

``explicands``: the model's inputs as they are fed; ``references``, ``steps``: which rows and steps.
The array's first axis counts the steps.
"""


@dataclass(frozen=True)
class Filled:
    """An input [S, ...] of the graph that the method fills itself."""

    fill: Fill
    along: Literal["explicands", "references"] | None = None
    """Which rows the numbers belong to, beside the steps."""


@dataclass(frozen=True)
class Steps:
    """Points at which a method differentiates for every pair, run some at a time and summed."""

    weights: np.ndarray
    """float64 [S], summing to 1, in the order the points are visited."""
    weight_input: str
    """Graph input [S] the weights are fed to."""


@dataclass
class Program:
    """A graph that computes an explanation, and the names to feed and read it by.

    Separable programs take N explicands, M references and a seed [K, N, *output] at once and give
    contributions [K, N, M, *x] (without M for methods that need no references). The others take
    one explicand, one reference and one seed of the output's own shape.
    """

    model: ir.Model
    inputs: list[str]
    """Inputs of the model, in its order."""
    references: dict[str, str]
    """Reference-side input of every input that has one."""
    held: list[str]
    """Inputs with a reference side that is fed the explicand's own value."""
    seed: str
    """Weights of the explained sums."""
    output: str
    reference_output: str | None
    sources: list[str]
    """The explained inputs, or inner values, in the order asked for."""
    contributions: dict[str, str]
    mean: dict[str, str]
    deviation: dict[str, str]
    """Mean over the references given, and the sum of squared deviations from it: [K, N, *x]."""
    separable: bool
    batched: bool
    """Whether one sample has a batch axis of size 1 in a program that is not separable."""
    output_batch: int | None
    source_batch: dict[str, int | None]
    """Batch axes of the output and of each source, in the model's own layout."""
    output_sample: tuple[int, ...]
    source_sample: dict[str, tuple[int | None, ...]]
    """Shape of one sample of the output and of each source."""
    number: np.dtype
    """Type of seeds and attributions: float64 in float64 models, else float32."""
    precision: Precision
    """The coarsest type the model runs in between sources and output: what it rounds to."""
    method: str
    rules_hash: str
    closed: bool
    """Whether the sources cut every path from inputs to output: a residual then has meaning."""
    mixing: str | None = None
    """Why the program is not separable."""
    base: Literal["references", "zero"] | None = None
    """What the output is compared with: its mean over references, or 0, the output at 0."""
    completeness: Completeness = "none"
    note: str = ""
    """What a reader of the explanation must know, e.g. that completeness was waived."""
    steps: Steps | None = None
    filled: dict[str, Filled] = field(default_factory=dict)
    """Inputs of the pair pass that the method fills itself."""
