"""Seconds that building takes, as models get deeper."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import onnxshap
from tests.benchmarks.contenders.onnx_runtime import CPU
from tests.benchmarks.sections import Cell, Cells, Options, apart
from tests.helpers import chains, models

NODES = (100, 1_000, 10_000)
ROUNDS = 3
"""Of which the fastest counts, but for the deepest model."""


def section(options: Options, _: Cells) -> Iterator[Cell]:
    """One cell for each depth, each in a process of its own."""
    for nodes in NODES:
        yield str(nodes), lambda nodes=nodes: apart(measure, nodes)


def measure(nodes: int) -> dict[str, Any]:
    """Seconds to load a chain of mixed operators and to build its explainer."""
    proto = chains.mixed(nodes // chains.NODES)
    background = models.samples(proto, 10)["x"].astype(np.float32)
    onnxshap.Explainer(chains.mixed(1), background, providers=CPU)  # once in a process
    found: dict[str, Any] = {"nodes": len(proto.graph.node)}
    loads, builds = [], []
    for _ in range(1 if nodes == NODES[-1] else ROUNDS):
        began = time.perf_counter()
        model = onnxshap.load(proto)
        loads.append(time.perf_counter() - began)
        began = time.perf_counter()
        explainer = onnxshap.Explainer(model, background, providers=CPU)
        builds.append(time.perf_counter() - began)
        found["emitted"] = len(explainer._engine.program.model.graph)
    return found | {"load": min(loads), "build": min(builds)}
