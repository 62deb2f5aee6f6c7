"""The record of one bias that was removed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Removed:
    """What `strip_bias` took from one node."""

    node: str
    operator: str
    what: str
    """In words, e.g. ``bias``."""
    largest: float
    """Largest absolute value among what was removed; biases of 0 alone are not recorded."""


def removal(node: str, operator: str, what: str, *arrays: np.ndarray) -> list[Removed]:
    """Record what was removed; nothing if it was all zero."""
    largest = max((float(np.abs(a).max(initial=0)) for a in arrays), default=0.0)
    return [Removed(node, operator, what, largest)] if largest else []
