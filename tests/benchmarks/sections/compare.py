"""All contenders on all nets: seconds, memory and completeness."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.benchmarks import nets
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.nets import Task
from tests.benchmarks.sections import Cell, Cells, Options
from tests.benchmarks.workers import ContenderError, Worker

MANY = 50
"""References from which on contenders take turns with the floor alone, and are given less time."""
LARGE = 2**26
"""Bytes of a net beyond which not all contenders fit into memory side by side."""
SLOW = 10.0
"""Seconds of a first call beyond which it counts, if nothing is compiled in it."""
ONNXSHAP = "onnxshap"


def section(options: Options, cells: Cells) -> Iterator[Cell]:
    """One cell for each net, number of references and number of targets."""
    few = replace(options, budget=options.budget / 3)
    for net in options.nets or nets.TITLES:
        for targets in options.targets:
            for references in options.references:
                task = Task(net, references, targets)
                asked = _asked(task, options, cells.get(f"{net}/{references}/1"))
                own = options if targets == 1 and references < MANY else few
                yield (
                    f"{net}/{references}/{targets}",
                    lambda task=task, asked=asked, own=own: measure(task, asked, own),
                )


def _asked(task: Task, options: Options, single: dict[str, Any] | None) -> list[str]:
    """Contenders that explain several targets in bearable time, by their time for one."""
    names = list(options.contenders or CONTENDERS)
    if task.targets == 1 or single is None:
        return names
    found = []
    for name in names:
        taken = single["contenders"].get(name, {}).get("seconds") or [0.0]
        # Ten targets take those that know only one ten times as long: shown once, where cheap.
        once = CONTENDERS[name].per_target and task.references > 1
        if name == "floor" or not (once or task.targets * min(taken) > options.patience):
            found.append(name)
    return found


def measure(task: Task, contenders: Sequence[str], options: Options) -> dict[str, Any]:
    """Let contenders take turns on one task."""
    found: dict[str, dict[str, Any]] = {"floor": _empty()}
    results: dict[str, np.ndarray] = {}
    with floor(task) as truth:
        for group in _groups(task, [name for name in contenders if name != "floor"]):
            with ExitStack() as stack:
                workers = {name: stack.enter_context(Worker(name)) for name in group}
                for name, worker in workers.items():
                    try:
                        load = worker.prepare(task, truth.targets)
                        found[name] = {"load": load, **_empty()}
                    except ContenderError as error:
                        found[name] = {"error": str(error)}
                _rounds({"floor": truth.worker, **workers}, found, results, options)
    _compare(found, results, truth.expected)
    return {
        "net": task.net,
        "references": task.references,
        "targets": task.targets,
        "expected": truth.expected.tolist(),
        "contenders": found,
    }


def _groups(task: Task, names: list[str]) -> list[list[str]]:
    """Who takes turns with whom, and with the floor: as many as fit into memory side by side."""
    if task.references >= MANY:
        return [[name] for name in names]
    if task.path.stat().st_size < LARGE:
        return [names]
    peers = [name for name in names if CONTENDERS[name].per_target]
    return [peers, [name for name in names if name not in peers]]


def _empty() -> dict[str, Any]:
    return {"seconds": [], "cpu": []}


@dataclass(frozen=True)
class Floor:
    """The floor's worker; the likeliest classes, and the true differences of their outputs."""

    worker: Worker
    targets: list[int]
    expected: np.ndarray


@contextmanager
def floor(task: Task) -> Iterator[Floor]:
    """Run the floor once, which says what the others are asked for."""
    with Worker("floor") as worker:
        worker.prepare(task, list(range(task.targets)))
        _, _, outputs = worker.run()
        targets = [int(k) for k in np.argsort(-outputs[0], kind="stable")[: task.targets]]
        rows = slice(task.explicands, task.explicands + task.references)
        chosen = outputs[:, targets].astype(np.float64)
        yield Floor(worker, targets, chosen[0] - chosen[rows].mean(0))


def _rounds(
    workers: dict[str, Worker],
    found: dict[str, dict[str, Any]],
    results: dict[str, np.ndarray],
    options: Options,
) -> None:
    """Run in turns until everyone has its rounds, or has spent its budget."""
    for turn in range(options.rounds + 1):
        for name, worker in workers.items():
            own = found[name]
            if "error" in own or len(own["seconds"]) == options.rounds:
                continue
            if own["seconds"] and sum(own["seconds"]) > options.budget:
                continue
            try:
                wall, processor, results[name] = worker.run()
                own["peak"] = worker.peak()
            except ContenderError as error:
                own["error"] = str(error)
                continue
            if turn or (wall > SLOW and CONTENDERS[name].eager):
                own["seconds"].append(wall)
                own["cpu"].append(processor)


def _compare(
    found: dict[str, dict[str, Any]], results: dict[str, np.ndarray], expected: np.ndarray
) -> None:
    """Add to each contender its sums, and how far its attributions are from onnxshap's."""
    own = results.get(ONNXSHAP)
    for name, result in results.items():
        if name == "floor":
            continue
        sums = result.reshape(len(result), -1).sum(1, dtype=np.float64)
        found[name]["sums"] = sums.tolist()
        found[name]["residual"] = float(np.abs(sums - expected).max())
        found[name]["scale"] = float(
            np.abs(result).reshape(len(result), -1).sum(1, dtype=np.float64).max()
        )
        if own is not None:
            gap = np.abs(result.astype(np.float64) - own)
            found[name]["difference"] = float(gap.sum() / np.abs(own).sum(dtype=np.float64))
