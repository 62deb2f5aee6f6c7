"""Prove on the graph that a value is nonnegatively homogeneous: f(a x) = a^k f(x) for a > 0."""

import onnxshap.homogeneity.rules  # noqa: F401  registers the rules
from onnxshap.homogeneity.proof import Offender, Proof, prove

__all__ = ["Offender", "Proof", "prove"]
