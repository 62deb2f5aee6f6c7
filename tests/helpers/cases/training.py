"""Operators as they are in training, which are rewritten before anything is differentiated."""

from collections.abc import Iterator

import numpy as np

from tests.helpers.cases.case import Case, N, normal, positive, scalar

SPREAD = (-2.0, -1.0, 0.0, 0.5, 2.0)
# Not equal to scale and bias: onnxruntime would make one tensor of them, and then write over it.
RUNNING = [normal(3) + 1, positive(3) + 1]


def training() -> Iterator[Case]:
    batch, affine = {"training_mode": 1}, [positive(3), normal(3)]
    for shown, what in enumerate(("of a batch", "running mean", "running variance")):
        image = [(N, 2, 3, 4), *affine, *RUNNING]
        shows = {"outputs": 3, "join": (shown,), "alone": True, "special": SPREAD}
        yield Case("BatchNormalization", image, batch, note=what, **shows)
        every = [(N, 4, 3, 2), *[(N, 3)] * 4]
        settings = batch | {"epsilon": 0.1, "momentum": 0.6}
        yield Case("BatchNormalization", every, settings, note=f"{what}, all move", **shows)
    vectors = [(N, 5, 3), *affine, *RUNNING]
    yield Case("BatchNormalization", vectors, batch, note="of vectors", outputs=3, alone=True)
    ratio, drops = scalar(0.4), np.array(True)
    drawn = {"alone": True, "on_runtime": False}  # other numbers are drawn there
    yield Case("Dropout", [(N, 4, 5), ratio, drops], {"seed": 3}, note="drops", **drawn)
    shows_mask = {"outputs": 2, "note": "and shows its mask"}
    yield Case("Dropout", [(N, 4, 5), ratio, drops], {"seed": 1}, **shows_mask, **drawn)
    yield Case("Dropout", [(N, 4), scalar(0.0), drops], {"seed": 0}, note="of nothing", alone=True)
