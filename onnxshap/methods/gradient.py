"""Gradient, and input times gradient."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from onnxshap.autodiff.registry import vjp
from onnxshap.methods.draft import Draft
from onnxshap.methods.program import Program


@dataclass(frozen=True)
class Gradient:
    """d target / d x, by the chain rule. Says how the output moves, not what it is made of."""

    name: ClassVar[str] = "gradient"
    needs_background: ClassVar[bool] = False

    def build(self, draft: Draft) -> Program:
        """Append the backward pass; contributions are gradients [K, N, *x]."""
        return draft.finish(draft.walk(vjp))


@dataclass(frozen=True)
class InputXGradient:
    """x times d target / d x. Complete only for homogeneous models, against a zero reference."""

    name: ClassVar[str] = "input_x_gradient"
    needs_background: ClassVar[bool] = False

    def build(self, draft: Draft) -> Program:
        """Append the backward pass; contributions [K, N, *x]."""
        return draft.finish(times_explicand(draft, draft.walk(vjp)))


def times_explicand(
    draft: Draft, gradients: dict[ir.Value, ir.Value], factor: float = 1.0
) -> dict[ir.Value, ir.Value]:
    """``factor`` x gradient, in pair form, for every source."""
    op, layouts = draft.op, draft.layouts
    with op.scope("attribution", side="backward"):
        found = {}
        for source, gradient in gradients.items():
            x = draft.lift.pair(source, layouts[source], "explicand", layouts[source])
            found[source] = op.Mul(x if factor == 1 else op.Mul(x, factor), gradient)
        return found
