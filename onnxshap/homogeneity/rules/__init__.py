"""Homogeneity rules, one file an operator family; importing a file registers its rules."""

from onnxshap.homogeneity.rules import (
    elementwise,
    index,
    linear,
    norm,
    pool,
    reduce,
    refused,
    shape,
)

__all__ = ["elementwise", "index", "linear", "norm", "pool", "reduce", "refused", "shape"]
