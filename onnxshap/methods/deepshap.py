"""DeepSHAP: DeepLIFT multipliers, averaged over references."""

from dataclasses import dataclass
from typing import ClassVar

from onnxshap.autodiff.registry import multiplier
from onnxshap.methods.draft import Draft
from onnxshap.methods.program import Program


@dataclass(frozen=True)
class DeepShap:
    """Mean over references of multiplier x (x - x_ref).

    Multipliers: DeepLIFT's Rescale rule and its kin (Shrikumar et al. 2017); their mean over
    references approximates Shapley values (Lundberg and Lee 2017; Chen et al. 2022). Every rule
    is complete, so attributions sum to the output minus the base value.
    """

    name: ClassVar[str] = "deepshap"
    needs_background: ClassVar[bool] = True

    def build(self, draft: Draft) -> Program:
        """Append the backward pass; contributions [K, N, M, *x]."""
        multipliers = draft.walk(multiplier)
        with draft.op.scope("attribution", side="backward"):
            contributions = {
                source: draft.op.Mul(m, draft.delta(source)) for source, m in multipliers.items()
            }
        return draft.finish(contributions, "exact", "references")
