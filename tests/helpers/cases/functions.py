"""Operators that are replaced by what they are made of; see onnxshap/graph/expand.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.helpers.cases.case import DTYPE, Case, N, Rows, ints, normal, positive

LABELS = np.array([[0, 3, 1], [2, 2, 0], [1, 0, 3]])

SPREAD = (-1.0, 0.0, 0.5, 1.0, 2.0)  # where all are alike, an epsilon of 1e-9 is all there is


def functions() -> Iterator[Case]:
    newest: dict[str, Any] = {"opset": 28, "on_runtime": False}
    yield Case("CastLike", [(N, 4), normal(2)])
    yield Case("CausalConvWithState", [(N, 2, 5), normal(2, 1, 3)], outputs=2, **newest)
    yield Case(
        "CausalConvWithState",
        [(N, 2, 5), normal(2, 1, 3), normal(2), (N, 2, 2)],
        note="with a state",  # an activation is run in float32, whatever the input
        outputs=2,
        **newest,
    )
    yield Case(
        "CausalConvWithState",
        [(N, 1, 2, 5), (N, 2, 1, 3), (N, 2)],
        note="weights move",
        outputs=2,
        alone=True,
        **newest,
    )
    yield Case("CenterCropPad", [(N, 4, 5), ints(3, 8)], {"axes": [1, -1]})
    groups = {"num_groups": 2, "stash_type": DTYPE}
    image = (N, 4, 2, 3)
    yield Case("GroupNormalization", [image, normal(4), normal(4)], groups, opset=21)
    yield Case(
        "GroupNormalization",
        [(N, 2, 4, 3), (N, 4), (N, 4)],
        groups,
        note="all move",
        opset=21,
        alone=True,
    )
    yield Case("MeanVarianceNormalization", [(N, 3, 2, 4)], {"axes": [2, 3]}, special=SPREAD)
    for op in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"):
        each = {"reduction": "none"}
        yield Case(op, [(N, 4, 3), Rows(LABELS)], each)
        yield Case(op, [(N, 4, 3), Rows(LABELS), positive(4)], each | {"ignore_index": 0})
        batches = [(N, 3, 4, 3), Rows(LABELS[None])]
        yield Case(op, batches, note="mean", alone=True)
        yield Case(op, [*batches, positive(4)], note="weighted mean", alone=True)
        yield Case(
            op, [*batches, (N, 4)], note="weights move", domain=[(-2, 2), (0.5, 2)], alone=True
        )
    yield Case("SwiGLU", [(N, 3, 4), (N, 3, 4)], **newest)
    yield Case("SwiGLU", [(N, 3, 4), (N, 3, 4)], {"alpha": 1.7}, **newest)
