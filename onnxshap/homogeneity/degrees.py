"""Degrees of homogeneity: f has degree k when f(a x) = a^k f(x) for every a > 0."""

from collections.abc import Iterable
from enum import Enum
from fractions import Fraction
from typing import Final, Literal


class _Zero(Enum):
    ANY = "any"

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Zero.ANY
"""The degree of what is exactly zero: zero is homogeneous of every degree."""

Degree = Fraction | Literal[_Zero.ANY]

CONSTANT = Fraction(0)
"""The degree of what scaling leaves alone."""


class Offence(Exception):
    """A node's result is not homogeneous.

    ``assumed``: the degree the walk goes on with. ``always``: also where nothing that scales
    enters, since the result is no function of the inputs at all.
    """

    def __init__(self, reason: str, assumed: Degree, always: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.assumed, self.always = reason, assumed, always


def product(*factors: Degree) -> Degree:
    """Degree of a product: the sum of the factors' degrees."""
    if any(factor is ANY for factor in factors):
        return ANY
    return sum((f for f in factors if f is not ANY), CONSTANT)


def power(degree: Degree, exponent: Fraction | int) -> Degree:
    """Degree of a power with a positive exponent."""
    return ANY if degree is ANY else degree * exponent


def scales(degree: Degree) -> bool:
    """Whether a value of this degree changes when the inputs are scaled."""
    return degree is not ANY and degree != 0


def largest(degrees: Iterable[Degree]) -> Degree:
    """The largest degree there is, zeros aside."""
    return max((d for d in degrees if d is not ANY), default=ANY)


def spell(degree: Degree) -> str:
    """``1``, ``1/2``, ``-0.5``-like decimals where a fraction would be unreadable, ``any``."""
    if degree is ANY:
        return "any"
    return str(degree) if degree.denominator < 1000 else f"{float(degree):.6g}"
