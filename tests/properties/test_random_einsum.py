"""Einsum of any equation of one or two operands."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.cases import Case, N, normal
from tests.properties.judge import judge, lists, numbers

LETTERS = "aBcD"
DOTS = "..."


@st.composite
def einsums(draw: st.DrawFn) -> Case:
    """An equation of letters and dots; sizes of 1 may be broadcast.

    Where the operator sees a batch it is the letter ``n``.
    """
    batched = draw(st.booleans())
    terms = draw(st.lists(_term(), min_size=1, max_size=2))
    free = draw(st.sets(st.integers(0, len(terms) - 1), min_size=1))
    sizes = dict(zip(LETTERS, draw(lists(len(LETTERS), 2 - batched, 3)), strict=True))
    dots = draw(lists(draw(st.integers(0, 2)), 2 - batched, 3))  # of one rank in all operands
    given: list[Any] = []
    for i, term in enumerate(terms):
        before = terms[0] if i else []  # ONNX infers the size that comes first
        own = {
            c: [draw(st.sampled_from((1, n, n))) if c in before else n] for c, n in sizes.items()
        }
        own[DOTS] = [draw(st.sampled_from((1, n, n))) for n in dots]
        if not batched:  # a first size of 1 would count samples
            own[term[0]] = [sizes[term[0]]]
        shape = [n for part in term for n in own[part]]
        if i not in free:
            given.append(normal(*shape))
            continue
        given.append((N, *shape))
        if batched:
            term.insert(0, "n")
    kept = sorted({c for term in terms for c in term} - {"n", DOTS})
    result = draw(st.permutations(kept))[: draw(st.integers(0, len(kept)))]
    if any(DOTS in term for term in terms):
        result.insert(draw(st.integers(0, len(result))), DOTS)
    equation = ",".join("".join(term) for term in terms)
    if batched:
        result.insert(draw(st.integers(0, len(result))), "n")
    if batched or draw(st.booleans()):
        equation += f"->{''.join(result)}"
    return Case("Einsum", given, {"equation": equation}, alone=not batched)


@st.composite
def _term(draw: st.DrawFn) -> list[str]:
    """Letters, perhaps with dots among or behind them."""
    term = draw(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=3))
    if draw(st.booleans()):
        term.insert(draw(st.integers(1, len(term))), DOTS)
    return term


@given(einsums(), numbers)
def test_einsum(case: Case, seed: int) -> None:
    judge(case, seed)
