"""Contenders that run ONNX: the explainer, its files in bare onnxruntime, and the floor."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

import onnxshap
from onnxshap.explainer import BackgroundAs
from tests.benchmarks.nets import Task

THREADS = len(os.sched_getaffinity(0))  # as many as the process is bound to
CPU = ["CPUExecutionProvider"]
BATCH = 2**25
"""Bytes of inputs in one run of the floor: more are no faster on a CPU, and take more memory."""
Call = Callable[[], np.ndarray]


def session(model: str | Path) -> ort.InferenceSession:
    """Bare onnxruntime; its threads rest while others run."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model, options, providers=CPU)


def explainer(task: Task, targets: list[int]) -> Call:
    """onnxshap as a user calls it, again and again with the same references."""
    made = _explainer(task, targets)
    x = task.x
    return lambda: made(x).attributions[0]


def one_shot(task: Task, targets: list[int]) -> Call:
    """The exported file with its references in it, in bare onnxruntime."""
    return _file(task, targets, "embed")


def unsplit(task: Task, targets: list[int]) -> Call:
    """The same graph with references as an input: their side is run anew at every call."""
    return _file(task, targets, "input")


def floor(task: Task, targets: list[int]) -> Call:
    """Forward run of the explicands, and of one image for each pair, [N + N M K, classes]."""
    forward = session(task.path)
    (source,) = (i.name for i in forward.get_inputs())
    x, background = task.x, task.background
    images = np.concatenate([x, *[background] * (len(x) * len(targets))])

    def call() -> np.ndarray:
        parts = np.array_split(images, -(-images.nbytes // BATCH))
        return np.concatenate([forward.run(None, {source: part})[0] for part in parts])

    return call


def _explainer(task: Task, targets: list[int]) -> onnxshap.Explainer:
    return onnxshap.Explainer(task.path, task.background, target=targets, providers=CPU)


def _file(task: Task, targets: list[int], background: BackgroundAs) -> Call:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "explained.onnx"
        _explainer(task, targets).export(file, background)
        ready = session(file)
    (source, *rest) = (i.name for i in ready.get_inputs())
    feeds = {source: task.x} | dict.fromkeys(rest, task.background)
    return lambda: ready.run([f"{source}/attribution"], feeds)[0][0]
