"""Circular and hyperbolic functions."""

from collections.abc import Iterator

from tests.helpers.cases.case import Case, unary

NARROW = (-3.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 1.0, 3.0, 10.0)
INSIDE = (-0.99, -1e-3, 0.0, 1e-3, 0.5, 0.75, 0.99)


def trigonometry() -> Iterator[Case]:
    for op in ("Acos", "Asin"):
        yield unary(op, domain=(-0.9, 0.9), special=(*INSIDE, -1.0, 1.0))
    yield unary("Acosh", domain=(1.2, 4), special=(1.0, 1.001, 1.5, 2.0, 50.0))
    yield unary("Asinh")
    yield unary("Atan")
    yield unary("Atanh", domain=(-0.9, 0.9), special=INSIDE)
    for op in ("Cos", "Sin"):
        yield unary(op)
    for op in ("Cosh", "Sinh"):
        yield unary(op, special=NARROW)
    yield unary("Tan", domain=(-1.2, 1.2), special=(-1.5, -1.0, -1e-3, 0.0, 1e-3, 0.5, 1.5))
