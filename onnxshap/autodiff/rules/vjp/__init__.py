"""Reverse rules for gradients: cotangent of the output in, cotangents of the inputs out."""

from onnxshap.autodiff.rules.vjp import (  # importing a file registers its rules
    activation,
    conv,
    elementwise,
    index,
    linalg,
    nondiff,
    norm,
    pool,
    quantise,
    reduce,
    sampling,
    shape,
    signal,
    trigonometry,
)

__all__ = [
    "activation",
    "conv",
    "elementwise",
    "index",
    "linalg",
    "nondiff",
    "norm",
    "pool",
    "quantise",
    "reduce",
    "sampling",
    "shape",
    "signal",
    "trigonometry",
]
