"""X-Gradient on the CPU, as `tests.benchmarks.x_gradient` measures it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnxshap.runtime.providers import CPU
from tests.benchmarks.sections import Cell, Cells, Options
from tests.benchmarks.x_gradient import Net, measure, nets


def section(options: Options, _: Cells) -> Iterator[Cell]:
    """One cell for each net without biases."""
    for net in nets():
        yield net.name, lambda net=net: _cell(net)


def _cell(net: Net) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return measure(net, Path(folder), [CPU])
