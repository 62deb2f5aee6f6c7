"""Every row of the table: what is proven, and whether the numbers agree."""

from fractions import Fraction

import pytest

from onnxshap.homogeneity import registry
from onnxshap.homogeneity.context import Context
from onnxshap.homogeneity.degrees import CONSTANT, Degree, Offence
from onnxshap.homogeneity.registry import RuleFunction
from tests.helpers.degrees import ROWS, C, V, i, scalar, w
from tests.helpers.scaling import Row, X, check


@pytest.mark.parametrize("row", [pytest.param(r, id=f"{n}-{r.id}") for n, r in enumerate(ROWS)])
def test_row(row: Row) -> None:
    check(row)


def kept(ctx: Context) -> Degree:
    return ctx.degree()


def refused(ctx: Context) -> Degree:
    raise Offence("adds a constant", CONSTANT)


PLANTED = [
    (Row("Tanh", [V], 1), kept, "output 0 does not scale by degree 1"),
    (Row("Tanh", [V], "no power"), kept, "degree 1, expected: no power"),
    (Row("Sign", [V], 1), kept, "output 0 does not scale by degree 1"),
    (Row("Sqrt", [X(2, low=1)], 1), kept, "output 0 does not scale by degree 1"),
    (Row("Add", [V, C], 1), kept, "output 0 does not scale by degree 1"),
    (Row("Clip", [V, scalar(0), scalar(1)], 1), kept, "output 0 does not scale by degree 1"),
    (Row("Conv", [X(1, 2, 4, 4), w(3, 2, 2, 2), w(3)], 1), kept, "does not scale by degree 1"),
    (Row("TopK", [V, i(2)], [1, 1], outputs=2), lambda _: [Fraction(1)] * 2, "makes INT64"),
    (Row("Relu", [V], 2), kept, r"degree=Fraction\(1, 1\)"),
    (Row("Relu", [V], "adds a constant"), refused, r"refused, but it scales by degree \[1.0\]"),
]


@pytest.mark.parametrize(("row", "rule", "said"), PLANTED, ids=[r.id for r, _, _ in PLANTED])
def test_a_planted_wrong_rule_is_caught(
    row: Row, rule: RuleFunction, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.RULES, row.op, rule)
    with pytest.raises(AssertionError, match=said):
        check(row)
