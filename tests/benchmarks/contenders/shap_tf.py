"""shap.DeepExplainer on the Keras twin."""

from collections.abc import Callable

import numpy as np
import shap

from tests.benchmarks.keras_twin import channels_first, channels_last, twin
from tests.benchmarks.nets import Task


def prepare(task: Task, targets: list[int]) -> Callable[[], np.ndarray]:
    """The likeliest classes, which shap explains one after the other, [K, *x]."""
    explainer = shap.DeepExplainer(twin(task.path), channels_last(task.background))
    x = channels_last(task.x)

    def call() -> np.ndarray:
        values, found = explainer.shap_values(
            x, ranked_outputs=len(targets), check_additivity=False
        )
        assert np.asarray(found)[0].tolist() == targets
        return channels_first(np.moveaxis(values[0], -1, 0))

    return call
