"""Seconds until a heatmap is known to 10 %: Lite0 on a photo, crops of photos as references."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import onnxshap
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.nets import LITE0, Task
from tests.benchmarks.sections import Cell, Cells, Options
from tests.benchmarks.sections.compare import floor
from tests.benchmarks.workers import ContenderError, Worker

GOAL = 0.10
WINDOW = 9
MOST = 2000
CHUNK = 32
HOLDS = {"shap": 40, "captum": 40, "shap_tf": 40, "opt_torch": 200, "opt_tf": 200}
"""References that contenders whose memory grows are asked for; the cost of more follows."""


def section(options: Options, cells: Cells) -> Iterator[Cell]:
    """First how many references that takes, then the seconds of each contender for as many."""
    yield "needed", references_needed
    for name in options.contenders or [n for n in CONTENDERS if n != "floor"]:
        yield name, lambda name=name: seconds(name, cells["needed"])


def references_needed() -> dict[str, Any]:
    """Stream references until the smoothed map's relative standard error is below the goal."""
    task = Task(LITE0, MOST)
    with floor(Task(LITE0, 1)) as small:
        (target,) = small.targets
    x, background = task.x, task.background
    explainer = onnxshap.Explainer(
        task.path, background, target=target, providers=["CPUExecutionProvider"]
    )
    total, squares, count, curve = 0.0, 0.0, 0, []
    for start in range(0, MOST, CHUNK):
        part = explainer.with_background(background[start : start + CHUNK])
        single = part(x, per_reference=True).per_reference
        assert isinstance(single, np.ndarray)
        maps = smooth(single[0].sum(1, dtype=np.float64))
        total, squares, count = total + maps.sum(0), squares + (maps**2).sum(0), count + len(maps)
        mean = total / count
        error = np.sqrt(np.maximum(squares / count - mean**2, 0) / (count - 1))
        curve.append([count, float(np.sqrt((error**2).mean() / (mean**2).mean()))])
        if curve[-1][1] <= GOAL:
            break
    return {"references": count, "target": target, "curve": curve, "reached": curve[-1][1] <= GOAL}


def smooth(maps: np.ndarray) -> np.ndarray:
    """Mean over a window around every pixel of maps [M, H, W] that has a whole one."""
    for axis in (1, 2):
        sums = np.cumsum(maps, axis)
        edge = np.zeros_like(np.take(sums, [0], axis))
        sums = np.concatenate([edge, sums], axis)
        size = sums.shape[axis]
        after = np.take(sums, range(WINDOW, size), axis)
        maps = (after - np.take(sums, range(size - WINDOW), axis)) / WINDOW
    return maps


def seconds(contender: str, needed: dict[str, Any]) -> dict[str, Any]:
    """Seconds for as many references as it takes; of fewer, scaled up, where they do not fit.

    ``first``: getting ready and one call; ``again``: another call with the same references.
    """
    whole = int(needed["references"])
    count = min(whole, HOLDS.get(contender, whole))
    try:
        with Worker(contender) as worker:
            ready = worker.prepare(Task(LITE0, count), [needed["target"]])
            called = worker.run()[0]
            again = worker.run()[0]
            peak = worker.peak()
    except ContenderError as error:
        return {"error": str(error)}
    grown = whole / count
    return {
        "references": whole,
        "measured_references": count,
        "first": ready + called * grown,
        "again": again * grown,
        "peak": peak,
    }
