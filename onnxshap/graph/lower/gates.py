"""Activation functions of recurrent operators, with their parameters, as operators."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import onnx_ir as ir

from onnxshap.graph.builder import Builder
from onnxshap.graph.lower.lowering import Lowering

Function = Callable[[Builder, ir.Value], ir.Value]

# Name, and the defaults of the parameters it takes, in the order alpha, beta.
_PLAIN = {"relu": "Relu", "sigmoid": "Sigmoid", "softplus": "Softplus", "tanh": "Tanh"}
_PLAIN |= {"softsign": "Softsign"}
_ALPHA = {"elu": ("Elu", 1.0), "leakyrelu": ("LeakyRelu", 0.01)}
_ALPHA |= {"thresholdedrelu": ("ThresholdedRelu", 1.0)}
_ALPHA_BETA = {"affine": (1.0, 0.0), "hardsigmoid": (0.2, 0.5), "scaledtanh": (1.0, 1.0)}


def functions(
    low: Lowering, settings: dict[str, Any], defaults: Sequence[str], direction: int
) -> list[Function]:
    """One direction's activations. Parameters are handed out in order to those that take any."""
    names = list(settings.get("activations") or [])
    count = len(defaults)
    alphas = iter(settings.get("activation_alpha") or [])
    betas = iter(settings.get("activation_beta") or [])
    if not names:
        return [_function(low, name, alphas, betas) for name in defaults]
    found = [_function(low, name, alphas, betas) for name in names]
    return found[direction * count : (direction + 1) * count]


def _function(
    low: Lowering, name: str, alphas: Iterator[float], betas: Iterator[float]
) -> Function:
    key = name.lower()
    if key in _PLAIN:
        plain = _PLAIN[key]
        return lambda op, x: op.several(plain, x)[0]
    if key in _ALPHA:
        operator, default = _ALPHA[key]
        alpha = next(alphas, default)
        return lambda op, x: op.several(operator, x, alpha=alpha)[0]
    if key not in _ALPHA_BETA:
        raise low.refuse(f"its activation {name!r} is not one that ONNX defines.")
    a, b = next(alphas, _ALPHA_BETA[key][0]), next(betas, _ALPHA_BETA[key][1])
    if key == "hardsigmoid":
        return lambda op, x: op.HardSigmoid(x, alpha=a, beta=b)
    if key == "affine":
        return lambda op, x: op.Add(op.Mul(x, a), b)
    return lambda op, x: op.Mul(op.Tanh(op.Mul(x, b)), a)
