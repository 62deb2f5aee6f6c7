"""X-Gradient: one backward pass that equals Integrated Gradients, for models that are certified."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from onnxshap.autodiff.registry import vjp
from onnxshap.errors import InputError
from onnxshap.homogeneity import Proof, prove
from onnxshap.methods.draft import Draft
from onnxshap.methods.gradient import times_explicand
from onnxshap.methods.program import Program


@dataclass(frozen=True)
class XGradient:
    """x times d target / d x over k, for a model with f(a x) = a^k f(x).

    Hesse, Schaub-Meyer and Roth 2021: for nonnegatively homogeneous models this is Integrated
    Gradients from the zero reference in closed form, so attributions sum to the output. The model
    is proven to be of degree k >= 1 on its graph; one that is not is refused, naming the nodes at
    fault. ``force`` explains it all the same, as input x gradient, and the explanation says that
    completeness is not promised.
    """

    force: bool = False

    name: ClassVar[str] = "x_gradient"
    needs_background: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.force, bool):
            raise InputError(f"XGradient: force={self.force!r} must be True or False")

    def build(self, draft: Draft) -> Program:
        """Append the backward pass; contributions [K, N, *x]."""
        proof = prove(draft.graph, draft.sources, draft.target)
        if not proof.ok and not self.force:
            raise InputError(_refusal(draft, proof))
        degree = proof.degree if proof.ok and proof.degree is not None else Fraction(1)
        found = times_explicand(draft, draft.walk(vjp), float(1 / degree))
        if not proof.ok:
            return draft.finish(found, note=f"completeness is not promised: {proof.objection}")
        return draft.finish(found, "exact", "zero")


def _refusal(draft: Draft, proof: Proof) -> str:
    ends = f'from "{draft.sources[0].name}" to "{draft.target.name}"'
    lines = [
        f"\n  {operator} {reason}: {', '.join(names)}"
        for (operator, reason), names in proof.reasons().items()
    ]
    return (
        f"x_gradient: the model is not certified {ends}: {proof.objection}{''.join(lines)}\n"
        "Take method='integrated_gradients'; or, where it helps, remove biases with "
        "onnxshap.xdnn.strip_bias, or explain the logits (output=). "
        "onnxshap.methods.XGradient(force=True) explains it without a promise."
    )
