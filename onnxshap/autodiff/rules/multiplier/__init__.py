"""Reverse rules for DeepLIFT multipliers: each is complete, sum of m dx = m dy at its node.

Linear and bilinear operators are not here: they share their vjp rule (see `RuleSet`).
"""

from onnxshap.autodiff.rules.multiplier import (  # importing a file registers its rules
    activation,
    elementwise,
    index,
    linalg,
    norm,
    pool,
    quantise,
    reduce,
    sampling,
    softmax,
    trigonometry,
)

__all__ = [
    "activation",
    "elementwise",
    "index",
    "linalg",
    "norm",
    "pool",
    "quantise",
    "reduce",
    "sampling",
    "softmax",
    "trigonometry",
]
