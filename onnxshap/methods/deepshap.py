"""DeepSHAP: DeepLIFT multipliers, averaged over references."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from onnxshap.autodiff.registry import multiplier, shap
from onnxshap.errors import InputError
from onnxshap.methods.draft import Draft
from onnxshap.methods.program import Program

Rules = Literal["exact", "shap"]
"""Which multipliers.

exact: every rule complete and precise, a softmax in log form.
shap:  those of shap.DeepExplainer wherever its own are right; the rest stay exact.
"""

_SETS = {"exact": multiplier, "shap": shap}
_NOTES = {"exact": "", "shap": "multipliers as shap.DeepExplainer has them, thresholds included"}


@dataclass(frozen=True)
class DeepShap:
    """Mean over references of multiplier x (x - x_ref).

    Multipliers: DeepLIFT's Rescale rule and its kin (Shrikumar et al. 2017); their mean over
    references approximates Shapley values (Lundberg and Lee 2017; Chen et al. 2022). Every rule
    is complete, so attributions sum to the output minus the base value.

    ``rules="shap"`` gives the numbers of shap.DeepExplainer (PyTorch, 0.51.0): a softmax's outputs
    each charged to their own logit; the derivative at the reference where an activation's inputs
    are closer than 1e-6, and nothing where a max pool's are closer than 1e-7. These thresholds can
    cost completeness, which the residual tells. Where shap is wrong the exact rules stay:
    overlapping max pools, softmax outputs whose own logit does not change, and every operator it
    does not see, such as products, normalisations other than BatchNormalization, and SiLU.
    """

    rules: Rules = "exact"

    name: ClassVar[str] = "deepshap"
    needs_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rules not in tuple(_SETS):
            raise InputError(f"rules={self.rules!r}: there is {' and '.join(map(repr, _SETS))}")

    def build(self, draft: Draft) -> Program:
        """Append the backward pass; contributions [K, N, M, *x]."""
        multipliers = draft.walk(_SETS[self.rules])
        with draft.op.scope("attribution", side="backward"):
            contributions = {
                source: draft.op.Mul(m, draft.delta(source)) for source, m in multipliers.items()
            }
        return draft.finish(contributions, "exact", "references", _NOTES[self.rules])
