"""Seconds to read a model, to build its explanation, and to load what is exported."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

import onnxshap
from tests.benchmarks import nets
from tests.benchmarks.contenders.onnx_runtime import CPU, session
from tests.benchmarks.nets import Task
from tests.benchmarks.sections import Cell, Cells, Options, apart


def section(options: Options, _: Cells) -> Iterator[Cell]:
    """One cell for each net, each in a process of its own."""
    for net in options.nets or nets.TITLES:
        yield net, lambda net=net: apart(measure, Task(net, 10))


def measure(task: Task) -> dict[str, Any]:
    """Seconds of each stage, in the order a user meets them."""
    x, background, found = task.x, task.background, {}
    found["nodes"] = len(onnx.load(task.path).graph.node)
    found["model_bytes"] = task.path.stat().st_size

    def timed(name: str, call: Any) -> Any:
        began = time.perf_counter()
        result = call()
        found[name] = time.perf_counter() - began
        return result

    timed("session", lambda: session(task.path))  # what anybody pays who runs the model at all
    model = timed("load", lambda: onnxshap.load(task.path))
    explainer = timed("build", lambda: onnxshap.Explainer(model, background, providers=CPU))
    timed("first", lambda: explainer(x))
    timed("again", lambda: explainer(x))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "explained.onnx"
        timed("export", lambda: explainer.export(file))
        found["file_bytes"] = sum(f.stat().st_size for f in Path(folder).iterdir())
        timed("file_session", lambda: session(file))
    return found
