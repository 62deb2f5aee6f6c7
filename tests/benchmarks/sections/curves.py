"""How seconds grow: with references, explicands, the picture's size, and the graph's nodes."""

from collections.abc import Iterator, Sequence

from tests.benchmarks.nets import CHAIN, LITE0, Task, chain
from tests.benchmarks.sections import Cell, Cells, Options
from tests.benchmarks.sections.compare import measure

OURS = ["onnxshap", "one_shot"]
PEERS = {"shap": 30, "captum": 30, "opt_torch": 300}
"""The most references their memory is asked for: about 100 MB and 15 MB for each."""
ROUNDS = Options(rounds=3, budget=5.0)


def section(options: Options, _: Cells) -> Iterator[Cell]:
    """One cell for each point of each curve."""

    def cell(key: str, task: Task, contenders: Sequence[str]) -> Cell:
        return key, lambda: measure(task, ["floor", *contenders], ROUNDS)

    for m in (1, 3, 10, 30, 100, 300, 1000):
        peers = [name for name, most in PEERS.items() if m <= most]
        yield cell(f"references/{m}", Task(LITE0, m), [*OURS, *peers])
    for n in (1, 2, 4, 8, 16, 32):
        yield cell(f"explicands/{n}", Task(LITE0, 10, explicands=n), OURS)
    for size in (64, 96, 128, 192, 224, 320, 448):
        yield cell(f"size/{size}", Task("resnet50", 10, size=size), [*OURS, "opt_torch"])
    for nodes in (10, 30, 100, 300, 1000):
        yield cell(f"nodes/{nodes}", Task(chain(nodes), 10, size=CHAIN), OURS)
