"""captum's DeepLiftShap on the torch twin; its DeepLift for a single reference."""

from collections.abc import Callable

import numpy as np
import torch
from captum.attr import DeepLift, DeepLiftShap
from torch import nn

from tests.benchmarks import stock
from tests.benchmarks.nets import Task
from tests.benchmarks.twin import Twin


def prepare(task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    """One class after the other: it takes no more at once, [K, *x]."""
    return _on(Twin(task.path), task, targets)


def prepare_stock(task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    """The same on the net as its authors wrote it."""
    return _on(stock.model(task.net), task, targets)


def _on(net: nn.Module, task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    # DeepLiftShap refuses a single reference; DeepLift is what it is made of.
    method = DeepLiftShap(net) if task.references > 1 else DeepLift(net)
    x, background = torch.from_numpy(task.x), torch.from_numpy(task.background)

    def call() -> np.ndarray:
        found = [method.attribute(x, background, target=target) for target in targets]
        return torch.stack([each[0] for each in found]).detach().numpy()

    return call
