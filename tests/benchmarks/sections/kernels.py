"""Where the time goes: milliseconds by kind of kernel, of a pair and of a forward run.

Chunks run side by side, one processor each, so kernels of one thread are what a pair costs. Forward
runs of one image are made the same way, as many side by side.
"""

import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnxruntime as ort

import onnxshap
from tests.benchmarks import nets
from tests.benchmarks.contenders.onnx_runtime import CPU
from tests.benchmarks.nets import Task
from tests.benchmarks.sections import Cell, Cells, Options, apart
from tests.benchmarks.workers import THREADS
from tests.helpers.placement import profiled, ran

_ELEMENTWISE = "Abs Add Clip Div Equal Greater Less Max Min Mul Neg QuickGelu Relu Sigmoid Sub Sum"
_WINDOWS = "AveragePool GlobalAveragePool MaxPool ReduceMean ReduceSum Resize ScatterElements"
_LAYOUT = (
    "Concat Expand Identity ReorderInput ReorderOutput Reshape Slice Split Transpose Unsqueeze"
)
KINDS = {
    "convolutions, products": "Conv FusedConv FusedGemm FusedMatMul Gemm MatMul",
    "transposed convolutions": "ConvTranspose",
    "element by element": f"{_ELEMENTWISE} Tanh Where",
    "windows, means, scatter": _WINDOWS,
    "layout, copies": _LAYOUT,
}
"""Operators by what they do; all others are the rest."""
REST = "rest"
REFERENCES = 10
CALLS = 5
"""After one to warm up."""


def section(options: Options, _: Cells) -> Iterator[Cell]:
    """One cell for each net of pictures, each in a process of its own."""
    for net in options.nets or (*nets.STOCK, nets.LITE0):
        yield net, lambda net=net: apart(measure, Task(net, REFERENCES))


def measure(task: Task) -> dict[str, Any]:
    """Milliseconds of the explicand's pass, of a pair and of a forward run, by kind."""
    with tempfile.TemporaryDirectory() as folder, profiled(Path(folder)):
        explainer = onnxshap.Explainer(task.path, task.background, target=0, providers=CPU)
        for _ in range(1 + CALLS):
            explainer(task.x)
        passes = {which: s for (which, *_), s in explainer._engine.compiled._sessions.items()}
        explicand, pair = (_by_kind(passes[p]._session) for p in ("explicand", "pair"))
        return {"explicand": explicand, "pair": pair, "forward": _forward(task)}


def _forward(task: Task) -> dict[str, float]:
    """One image, one thread, on every processor."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    plain = ort.InferenceSession(str(task.path), options, providers=CPU)
    feeds = {plain.get_inputs()[0].name: task.x}
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: plain.run(None, feeds), range(REFERENCES * (1 + CALLS))))
    return _by_kind(plain)


def _by_kind(session: ort.InferenceSession) -> dict[str, float]:
    """Milliseconds of one run's kernels: medians over the runs, the first call's among them."""
    spent: dict[tuple[str, str], list[int]] = {}
    for one in ran(session):
        spent.setdefault((one.op, one.node[1]), []).append(one.microseconds)
    kinds = {op: kind for kind, ops in KINDS.items() for op in ops.split()}
    total = dict.fromkeys([*KINDS, REST], 0.0)
    for (op, _), times in spent.items():
        total[kinds.get(op, REST)] += statistics.median(times) / 1e3
    return total
