"""The large nets on a GPU: seconds beside the floor, the CPU's attributions, and where nodes ran.

``python -m tests.benchmarks.stock``, then ``python -m tests.benchmarks.cuda``. The floor is one
forward run of the explicand and its references in bare onnxruntime. Contenders alternate; medians.
The sum's gap and how far CPU and CUDA are apart are parts of the sum of absolute attributions.
"""

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

import onnxshap
from onnxshap.runtime.providers import CPU
from tests.benchmarks.nets import LITE0, STOCK, TITLES, Task
from tests.benchmarks.timing import PROVIDERS, bare, seconds
from tests.helpers.placement import Ran, profiled

HEAD = ["net", "floor, ms", "explainer, ms", "one-shot file, ms", "first call, s", "gap of the sum"]
HEAD += ["apart from the CPU", "nodes on the GPU", "on the CPU", "copies"]


@dataclass(frozen=True)
class Measured:
    """What one net gives."""

    first: float
    """Seconds from the file to the first explanation."""
    seconds: dict[str, float]
    gap: float
    apart: float
    nodes: list[Ran]
    """Those that ran in the explainer's passes, each once."""


def measure(task: Task, asked: list[str], rounds: int) -> Measured:
    """Explain one explicand's likeliest class on ``asked`` providers, and on the CPU."""
    images = np.concatenate([task.x, task.background])
    forward = ort.InferenceSession(task.path, providers=bare(asked))
    source = forward.get_inputs()[0].name
    outputs = forward.run(None, {source: images})[0].astype(np.float64)
    target = int(outputs[0].argmax())
    true = outputs[0, target] - outputs[1:, target].mean()

    def explainer(providers: list[str]) -> onnxshap.Explainer:
        return onnxshap.Explainer(task.path, task.background, target=target, providers=providers)

    began = time.perf_counter()
    own = explainer(asked)
    found = own(task.x).attributions.astype(np.float64)
    first = time.perf_counter() - began
    scale = np.abs(found).sum()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "explained.onnx"
        own.export(file)
        one_shot = ort.InferenceSession(file, providers=bare(asked))
    taken = seconds(
        {
            "floor": lambda: forward.run(None, {source: images}),
            "explainer": lambda: own(task.x),
            "file": lambda: one_shot.run([f"{source}/attribution"], {source: task.x}),
        },
        rounds,
    )
    with tempfile.TemporaryDirectory() as folder, profiled(Path(folder)) as nodes:
        explainer(asked)(task.x)
        ran = {one.node: one for one in nodes()}
    apart = np.abs(found - explainer([CPU])(task.x).attributions).sum() / scale
    return Measured(first, taken, abs(found.sum() - true) / scale, apart, list(ran.values()))


def cells(net: str, found: Measured) -> list[str]:
    """One line of the table."""
    floor = found.seconds["floor"]
    away = [n for n in found.nodes if n.off_the_device]
    copies = [n for n in away if n.copies]
    line = [TITLES[net], f"{floor * 1e3:.1f}"]
    for name in ("explainer", "file"):
        line.append(f"{found.seconds[name] * 1e3:.1f} ({found.seconds[name] / floor:.1f}x)")
    line += [f"{found.first:.1f}", f"{found.gap:.1e}", f"{found.apart:.1e}"]
    line += map(str, (len(found.nodes) - len(away), len(away) - len(copies), len(copies)))
    return line


def elsewhere(nodes: list[Ran]) -> str:
    """Which operators ran on the CPU or copied, those of large values apart."""
    away = [n for n in nodes if n.off_the_device]
    large = Counter(f"{n.op} {dict(n.outputs)}" for n in away if not n.is_shape_arithmetic)
    small = Counter(n.op for n in away if n.is_shape_arithmetic)
    return f"large values: {_told(large)}; shape arithmetic: {_told(small)}"


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common()) or "none"


def main() -> None:
    """Print the table, and which nodes were not on the device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--providers", choices=PROVIDERS, default="cuda")
    parser.add_argument("--nets", default=",".join([*STOCK, LITE0]))
    parser.add_argument("--references", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print("| " + " | ".join(HEAD) + " |\n" + "| --- " * len(HEAD) + "|", flush=True)
    away = {}
    for net in asked.nets.split(","):
        task = Task(net, asked.references)
        found = measure(task, PROVIDERS[asked.providers], asked.rounds)
        print("| " + " | ".join(cells(net, found)) + " |", flush=True)
        away[net] = elsewhere(found.nodes)
    print()
    for net, told in away.items():
        print(f"* {TITLES[net]}: {told}")


if __name__ == "__main__":
    main()
