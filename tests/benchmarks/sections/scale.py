"""Many references within a budget of memory, and many rows of a table."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import onnxshap
from tests.benchmarks.contenders.onnx_runtime import CPU
from tests.benchmarks.nets import MLP, Task
from tests.benchmarks.sections import Cell, Cells, Options, apart
from tests.benchmarks.sections.capacity import peak
from tests.benchmarks.sections.compare import measure
from tests.benchmarks.workers import status

NET = "efficientnet_b0"
BUDGET = 2 * 2**30
"""Bytes given as ``max_memory``: what 20 references leave of themselves nearly fills its cache."""
REFERENCES = (10, 20, 1000)
GROWING = {"shap": (2, 8, 20)}
"""References that a peer without a budget is asked for."""
ROWS, OF_ROWS = 10_000, 100
TABLE = ["shap", "captum", "onnxshap", "one_shot"]


def section(options: Options, _: Cells) -> Iterator[Cell]:
    """Memory and seconds by references, then the seconds of a table."""
    for count in REFERENCES:
        yield f"references/onnxshap/{count}", lambda count=count: apart(bounded, Task(NET, count))
    for name, counts in GROWING.items():
        for count in counts:
            yield (
                f"references/{name}/{count}",
                lambda name=name, count=count: {"peak": peak(NET, name, count)},
            )
    table = Task(MLP, OF_ROWS, explicands=ROWS)
    rounds = Options(rounds=options.rounds, budget=options.budget)
    yield "rows", lambda: measure(table, ["floor", *TABLE], rounds)


def bounded(task: Task) -> dict[str, Any]:
    """Peak bytes over the idle process, the references' own file apart; seconds of two calls.

    Cold: the first call with these references, everything else being ready.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "references.npy"
        np.save(file, task.background)
        x, background = task.x, np.load(file, mmap_mode="r")
        del task
        with peak_of_own_memory() as reached:
            warm = onnxshap.Explainer(
                Task(NET, 2).path, background[:2] + 1, target=3, providers=CPU, max_memory=BUDGET
            )
            warm(x)
            explainer = warm.with_background(background)
            seconds = []
            for _ in range(2):
                began = time.perf_counter()
                explainer(x)
                seconds.append(time.perf_counter() - began)
        return {"peak": reached[0], "cold": seconds[0], "again": seconds[1]}


@contextmanager
def peak_of_own_memory() -> Iterator[list[int]]:
    """Watch anonymous memory, what is mapped from files apart, in bytes over its present size."""
    idle, reached, done = status("RssAnon"), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            reached[0] = max(reached[0], status("RssAnon") - idle)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield reached
    finally:
        done.set()
        watcher.join()
