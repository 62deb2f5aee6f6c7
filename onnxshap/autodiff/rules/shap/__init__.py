"""Multipliers as shap.DeepExplainer has them (PyTorch, 0.51.0), where those differ from ours.

Laid over the exact multiplier rules, which hold for every operator not named here. Linear ones are
the same in shap; of the others it sees no multiplier, only the reference's gradient: incomplete.
"""

from onnxshap.autodiff.rules.shap import (  # importing a file registers its rules
    activation,
    pool,
    softmax,
)

__all__ = ["activation", "pool", "softmax"]
