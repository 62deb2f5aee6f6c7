"""Whether peers run torchvision's nets as they are, and whether what they say adds up."""

from collections.abc import Iterator
from typing import Any

from tests.benchmarks import nets
from tests.benchmarks.contenders import AS_PUBLISHED, Contender
from tests.benchmarks.nets import Task
from tests.benchmarks.sections import Cell, Cells, Options
from tests.benchmarks.sections.compare import floor
from tests.benchmarks.workers import ContenderError, Worker


def section(options: Options, _: Cells) -> Iterator[Cell]:
    """One cell for each net and peer."""
    for net in options.nets or nets.STOCK:
        for name, contender in AS_PUBLISHED.items():
            yield f"{net}/{name}", lambda net=net, c=contender: trial(Task(net, 2), c)


def trial(task: Task, contender: Contender) -> dict[str, Any]:
    """The sum of attributions and what it should be, or why there is none."""
    with floor(task) as truth:
        expected = float(truth.expected[0])
    try:
        with Worker(contender) as worker:
            worker.prepare(task, truth.targets)
            _, _, result = worker.run()
    except ContenderError as error:
        return {"expected": expected, "error": str(error)}
    return {"expected": expected, "sum": float(result.sum(dtype="float64"))}
