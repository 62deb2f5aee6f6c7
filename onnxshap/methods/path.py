"""Integrals of the gradient along the straight line from a reference to an explicand."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir

from onnxshap.errors import InputError
from onnxshap.methods.draft import Draft
from onnxshap.methods.parameters import require_count, require_seed
from onnxshap.methods.points import Points
from onnxshap.methods.program import Completeness, Fill, Program


@dataclass(frozen=True)
class IntegratedGradients:
    """(x - x_ref) times the mean gradient between x_ref and x; mean over references.

    Sundararajan, Taly and Yan 2017, equation 1, by Gauss-Legendre quadrature with ``steps``
    points. Attributions sum to the output minus the base value up to the error of the quadrature,
    which the residual measures: where it is large, take more steps. At inner values (``inputs=``)
    the line runs between the values themselves: layer IG. Paths around them run on inputs that
    move along their own line.
    """

    steps: int = 128

    name: ClassVar[str] = "integrated_gradients"
    needs_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(self, "steps", self.steps)

    def build(self, draft: Draft) -> Program:
        """Append the points and the backward pass; contributions [K, N, M, *x]."""
        places, weights = np.polynomial.legendre.leggauss(self.steps)
        order = _spread_out(self.steps)  # so that the first few stand for all
        positions = (places[order, None] + 1) / 2
        return _integrate(
            draft,
            weights[order] / 2,
            lambda _, __, steps: positions[steps.start : steps.stop],
            "quadrature",
        )


@dataclass(frozen=True)
class ExpectedGradients:
    """(x - x_ref) times the gradient at a random point between them; mean over references.

    Erion et al. 2021. Complete on average: the residual is the error of the draw, and falls with
    the number of references, as the standard error does. ``samples`` points are drawn for each
    reference, by ``seed`` and the reference's row, so that results do not depend on chunks.
    """

    samples: int = 1
    seed: int = 0

    name: ClassVar[str] = "expected_gradients"
    needs_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_count(self, "samples", self.samples)
        require_seed(self, self.seed)

    def build(self, draft: Draft) -> Program:
        """Append the points and the backward pass; contributions [K, N, M, *x]."""

        def positions(_: object, references: range, steps: range) -> np.ndarray:
            drawn = [np.random.default_rng([self.seed, m]).random(self.samples) for m in references]
            return np.stack(drawn, axis=1)[steps.start : steps.stop]

        weights = np.full(self.samples, 1 / self.samples)
        return _integrate(draft, weights, positions, "expectation")


def _integrate(
    draft: Draft, weights: np.ndarray, positions: Fill, completeness: Completeness
) -> Program:
    """Sum gradients at ``positions`` [S, M] or [S, 1] on the lines, 0 at the reference, 1 at x."""
    points, op = Points(draft, weights), draft.op
    along: Literal["references"] | None = "references" if completeness == "expectation" else None
    position = draft.add_filled("position", draft.number, [along or 1], positions, along)

    def between(value: ir.Value) -> ir.Value:
        if not draft.layouts[value].dtype.is_floating_point():
            raise InputError(
                f'input "{value.name}" is {draft.layouts[value].dtype.name}: there is no line '
                "between whole numbers. Leave it out of the background, so that it is held."
            )
        r = points.reference(value)
        share = points.positions(position, value)
        return op.Add(r, op.Mul(op.Sub(points.explicand(value), r), share))

    gradients = points.gradients(between)
    with op.scope("attribution", side="backward"):
        contributions = {s: op.Mul(g, draft.delta(s)) for s, g in gradients.items()}
    return draft.finish(contributions, completeness, "references")


def _spread_out(count: int) -> np.ndarray:
    """0 to count - 1 in van der Corput's order: every beginning is spread over the whole."""
    bits = max(1, (count - 1).bit_length())
    reversed_bits = [int(f"{k:0{bits}b}"[::-1], 2) for k in range(count)]
    return np.argsort(reversed_bits)
