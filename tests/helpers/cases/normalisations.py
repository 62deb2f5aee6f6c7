"""Normalisations."""

from collections.abc import Iterator

from tests.helpers.cases.case import Case, N, normal, positive


def normalisations() -> Iterator[Case]:
    yield Case(
        "BatchNormalization",
        [(N, 3, 2, 4), positive(3), normal(3), normal(3), positive(3)],
        note="2-D",
    )
    yield Case(
        "BatchNormalization",
        [(N, 3), positive(3), normal(3), normal(3), positive(3)],
        {"epsilon": 0.1},
    )
    yield Case(
        "BatchNormalization",
        [(N, 3, 5), positive(3), normal(3), normal(3), positive(3)],
        note="1-D",
    )
    channels = [(N, 3)] * 4
    spread = [(-2.0, 2.0)] * 4 + [(0.5, 2.0)]
    yield Case(
        "BatchNormalization",
        [(N, 2, 3, 4), *channels],
        note="all move",
        domain=spread,
        special=(0.5, 1.0, 2.0),
        alone=True,
    )
    yield Case(
        "BatchNormalization",
        [(N, 2, 3), normal(3), normal(3), normal(3), (N, 3)],
        note="variance moves",
        domain=[spread[0], spread[4]],
        special=(0.5, 1.0, 2.0),
        alone=True,
    )
    yield Case(
        "BatchNormalization",
        [(N, 3, 4), (N,), (N,), (N,), (N,)],
        note="a channel a sample",
        domain=spread,
        special=(0.5, 1.0, 2.0),
        batch=1,
    )
    yield Case("InstanceNormalization", [(N, 3, 2, 4), normal(3), normal(3)], note="2-D")
    yield Case("InstanceNormalization", [(N, 2, 3, 4), (N, 3), (N, 3)], note="all move", alone=True)
    yield Case("InstanceNormalization", [(N, 3, 5), positive(3), normal(3)], {"epsilon": 0.1})
    yield Case("LayerNormalization", [(N, 6), normal(6), normal(6)], note="vector")
    yield Case("LayerNormalization", [(N, 3, 6), normal(6)], note="no bias")
    yield Case("LayerNormalization", [(N, 2, 3, 4), normal(3, 4), normal(3, 4)], {"axis": -2})
    yield Case("LayerNormalization", [(N, 2, 3, 4), normal(2, 3, 4)], {"axis": 1, "epsilon": 0.1})
    yield Case("LayerNormalization", [(N, 3, 4), normal(4)], {"axis": 2}, batch=1)
    yield Case(
        "LayerNormalization", [(N, 3, 6), normal(6)], note="far from the origin", domain=(9, 11)
    )
    yield Case("LayerNormalization", [(N, 2, 3, 4), (N, 4), (N, 4)], note="all move", alone=True)
    yield Case(
        "LayerNormalization",
        [(N, 2, 3, 4), (N, 3, 4), normal(3, 4)],
        {"axis": 1},
        note="scale moves",
        alone=True,
    )
    for p in (1, 2):
        hard = {"special": (0.0, 1.0, -2.0)}
        yield Case("LpNormalization", [(N, 3, 4)], {"p": p}, **hard)
        yield Case("LpNormalization", [(N, 3, 4)], {"axis": 1, "p": p}, **hard)
        yield Case("LpNormalization", [(N, 3, 4)], {"axis": 0, "p": p}, batch=1, **hard)
    yield Case("LRN", [(N, 5, 2, 2)], {"size": 3})
    yield Case(
        "LRN",
        [(N, 5, 2, 2)],
        {"size": 4, "alpha": 0.5, "beta": 0.6, "bias": 2.0},
        note="even",
        on_runtime=False,
    )
    yield Case("LRN", [(N, 6, 3)], {"size": 5, "alpha": 1.5}, note="odd, 1-D", on_runtime=False)
    yield Case("LRN", [(N, 3, 2, 2)], {"size": 9, "alpha": 1.0}, note="wider than channels")
    yield Case("RMSNormalization", [(N, 6), normal(6)], note="vector", opset=23)
    yield Case(
        "RMSNormalization",
        [(N, 2, 3, 4), normal(3, 4)],
        {"axis": -2, "epsilon": 0.1},
        opset=23,
    )
    yield Case("RMSNormalization", [(N, 3, 4), normal(1)], {"axis": 2}, batch=1, opset=23)
    yield Case("RMSNormalization", [(N, 2, 3, 4), (N, 4)], note="both move", opset=23, alone=True)
