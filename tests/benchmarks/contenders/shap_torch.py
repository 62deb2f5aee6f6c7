"""shap.DeepExplainer on the torch twin."""

from collections.abc import Callable

import numpy as np
import shap
import torch
from torch import nn

from tests.benchmarks import stock
from tests.benchmarks.nets import Task
from tests.benchmarks.twin import Twin


def prepare(task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    """The likeliest classes, which shap explains one after the other, [K, *x]."""
    return _on(Twin(task.path), task, targets)


def prepare_stock(task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    """The same on the net as its authors wrote it."""
    return _on(stock.model(task.net), task, targets)


def _on(net: nn.Module, task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    explainer = shap.DeepExplainer(net, torch.from_numpy(task.background))
    x = torch.from_numpy(task.x)

    def call() -> np.ndarray:
        # Its own check compares ranks with classes, and so fails where outputs are ranked.
        values, found = explainer.shap_values(
            x, ranked_outputs=len(targets), check_additivity=False
        )
        assert found[0].tolist() == targets
        return np.moveaxis(values[0], -1, 0)

    return call
