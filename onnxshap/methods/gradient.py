"""Gradient, and input times gradient."""

from dataclasses import dataclass
from typing import ClassVar

from onnxshap.autodiff.registry import vjp
from onnxshap.methods.program import Draft, Program


@dataclass(frozen=True)
class Gradient:
    """d target / d x, by the chain rule. Says how the output moves, not what it is made of."""

    name: ClassVar[str] = "gradient"
    needs_background: ClassVar[bool] = False
    complete: ClassVar[bool] = False

    def build(self, draft: Draft) -> Program:
        """Append the backward pass; contributions are gradients [K, N, *x]."""
        return draft.finish(draft.walk(vjp))


@dataclass(frozen=True)
class InputXGradient:
    """x times d target / d x. Complete only for homogeneous models, against a zero reference."""

    name: ClassVar[str] = "input_x_gradient"
    needs_background: ClassVar[bool] = False
    complete: ClassVar[bool] = False

    def build(self, draft: Draft) -> Program:
        """Append the backward pass; contributions [K, N, *x]."""
        gradients = draft.walk(vjp)
        with draft.op.scope("attribution", side="backward"):
            products = {
                source: draft.op.Mul(
                    draft.lift.pair(
                        source, draft.layouts[source], "explicand", draft.layouts[source]
                    ),
                    gradient,
                )
                for source, gradient in gradients.items()
            }
        return draft.finish(products)
