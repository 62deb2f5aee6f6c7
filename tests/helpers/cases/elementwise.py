"""Arithmetic, comparisons and choices, element by element."""

from collections.abc import Iterator

import numpy as np

from tests.helpers.cases.case import (
    POSITIVE,
    ROW,
    WIDE,
    Case,
    N,
    Rows,
    ints,
    normal,
    positive,
    scalar,
    unary,
)


def elementwise() -> Iterator[Case]:
    yield unary("Abs")
    for op in ("Add", "Sub", "Mul", "Div"):
        apart = {"domain": [(-2.0, 2.0), (0.5, 2.0)]} if op == "Div" else {}
        both = {"special": (0.5, 1.0, 2.0) if op == "Div" else (0.0, 1.0, -1.0)}
        constant = positive if op == "Div" else normal
        yield Case(op, [(N, 3, 4), (N, 3, 4)], note="both", **apart, **both)
        yield Case(op, [(N, 3, 4), constant(4)], note="constant lower rank")
        yield Case(op, [(N, 3, 4), constant(1, 3, 1)], note="constant size 1")
        yield Case(op, [(N, 3, 4), constant()], note="constant scalar")
        yield Case(op, [(N, 1, 4), (N, 3, 1)], note="both stretched", **apart, **both)
        yield Case(op, [(N, 1, 4), constant(3, 1)], note="constant stretches", **both)
        yield Case(op, [(N, 4), constant(2, 1, 4)], note="constant of higher rank", **both)
        yield Case(op, [(N, 4), constant(3, 1, 1)], note="constant adds an axis", **both)
        yield Case(op, [(N, 3), (N, 3)], note="both", batch=1, **apart, **both)
        flipped = {"domain": (0.5, 2.0), "special": (0.5, 2.0)} if op == "Div" else {}
        yield Case(op, [normal(3, 4), (N, 3, 4)], note="constant first", **flipped)
        yield Case(
            op, [normal(2, 1, 1, 4), (N, 3, 1)], note="constant first, higher rank", **flipped
        )
    yield Case("Div", [ROW, ROW], note="negative", domain=[(-2.0, 2.0), (-2.0, -0.5)])
    for op in ("Ceil", "Floor", "Round", "Sign"):
        yield unary(op, domain=(-4, 4), special=(*WIDE, 1.0, 2.0))
    yield unary("Exp")
    yield unary("Exp", "wide", domain=(-10, 10))
    yield unary("Log", domain=(0.2, 3), special=POSITIVE)
    for op in ("Max", "Min"):
        yield Case(op, [ROW], note="1 input")
        yield Case(op, [(N, 3, 4), (N, 3, 4)], note="2 inputs")
        yield Case(op, [(N, 3, 4), normal(4)], note="constant")
        yield Case(op, [normal(3, 1), (N, 1, 4)], note="constant first, stretched")
        yield Case(op, [(N, 3, 4), (N, 1, 4), (N, 3, 1)], note="3 inputs stretched")
        yield Case(op, [ROW, normal(5), ROW, ROW], note="4 inputs")
    yield Case("Mean", [ROW], note="1 input")
    yield Case("Mean", [(N, 3, 4), (N, 1, 4), normal(3, 1)], note="3 inputs stretched")
    fmod = {"fmod": 1}
    yield Case("Mod", [ROW, scalar(0.75)], fmod, note="constant", special=(0.0, 0.75, -0.75, 30.0))
    yield Case("Mod", [(N, 3, 4), positive(3, 1)], fmod, note="constants")
    periods = [(-2.0, 2.0), (1.1, 1.9)]
    yield Case("Mod", [(N, 3, 4), (N, 1, 4)], fmod, note="both", domain=periods)
    yield Case(
        "Mod", [positive(5), ROW], fmod, note="constant first", domain=(2.1, 3), special=(2.2, 2.9)
    )
    yield unary("Neg")
    for p in (1.0, 2.0, 3.0, 0.5, -1.0, -0.5, 2.5, 0.0):
        whole = p in (1.0, 2.0, 3.0)
        domain = (-2.0, 2.0) if whole else (0.3, 2.0)
        special = (0.0, 1.0, -1.0, 2.0) if whole else (0.5, 1.0, 2.0)
        yield Case("Pow", [ROW, scalar(p)], note=f"exponent {p}", domain=domain, special=special)
    yield Case("Pow", [ROW, ints(2)], note="integer exponent")
    yield Case(
        "Pow",
        [ROW, np.array([1.0, 2, 3, 0.5, -1])],
        note="exponents",
        domain=(0.3, 2),
        special=POSITIVE[:4],
    )
    yield Case("Pow", [ROW, ROW], note="both", domain=(0.3, 2.0), special=(0.5, 1.0, 2.0))
    yield Case("Pow", [positive(5), ROW], note="constant base")
    yield Case(
        "Pow", [(N, 1, 4), (N, 3, 1)], note="both stretched", domain=(0.3, 2.0), special=(0.5, 1.0)
    )
    yield unary("Reciprocal", domain=(0.5, 2), special=POSITIVE)
    yield unary("Reciprocal", "negative", domain=(-2, -0.5), special=(-0.5, 0.5, -50.0, 50.0))
    yield unary("Sqrt", domain=(0.2, 3), special=(0.0, *POSITIVE))
    yield Case("Sum", [ROW], note="1 input")
    yield Case("Sum", [(N, 3, 4), (N, 1, 4), normal(3, 1), (N, 1, 1)], note="4 inputs stretched")
    choice = np.array(
        [[True, False, True, True], [False, False, True, False], [True, True, False, True]]
    )
    yield Case("Where", [choice, (N, 3, 4), (N, 3, 4)], note="constant condition")
    yield Case("Where", [choice[:1], (N, 3, 4), scalar(0.5)], note="constant other")
    yield Case("Where", [choice[:, :1], (N, 1, 4), (N, 3, 1)], note="all stretched")
    yield Case("Where", [Rows(choice), (N, 4), (N, 4)], note="condition a sample")
    yield Case("Where", [Rows(choice), (N, 4), (N, 4)], note="condition flips", flips=True)
    yield Case(
        "Where",
        [Rows(choice[:, :1]), (N, 4), (N, 1)],
        note="condition flips, stretched",
        flips=True,
    )
    yield Case(
        "Where",
        [Rows(choice), (N, 4), normal(4)],
        note="condition flips, constant other",
        flips=True,
    )
