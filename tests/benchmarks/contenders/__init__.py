"""Who competes. Each is a function in a module of its own kind, loaded in the process it runs in.

A contender is ``prepare(task, targets) -> call``; ``call()`` returns attributions of the first
explicand, [K, *x]. The floor returns outputs instead.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.nets import Task

Prepare = Callable[[Task, list[int]], Callable[[], np.ndarray]]


@dataclass(frozen=True)
class Contender:
    """Where a contender is found, and how it is named in tables."""

    title: str
    module: str
    function: str
    per_target: bool = False
    """Whether it explains one target after the other, so that K take K times as long."""
    eager: bool = False
    """Whether nothing is compiled by its first call, which then counts where it takes long."""

    def load(self) -> Prepare:
        """Import its module and return its function."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        found: Prepare = getattr(module, self.function)
        return found


CONTENDERS = {
    "floor": Contender("floor: onnxruntime forward", "onnx_runtime", "floor"),
    "shap": Contender("shap.DeepExplainer (torch)", "shap_torch", "prepare", True, True),
    "captum": Contender("captum DeepLiftShap", "captum_torch", "prepare", True, True),
    "opt_torch": Contender(
        "OPT-PyTorch (ours, cached references)", "opt_torch", "prepare", eager=True
    ),
    "shap_tf": Contender("shap.DeepExplainer (TensorFlow)", "shap_tf", "prepare", per_target=True),
    "opt_tf": Contender("OPT-TF (ours, cached references)", "opt_tf", "prepare"),
    "unsplit": Contender("onnxshap, references not split off", "onnx_runtime", "unsplit"),
    "onnxshap": Contender("onnxshap", "onnx_runtime", "explainer"),
    "one_shot": Contender("onnxshap's one-shot file, bare runtime", "onnx_runtime", "one_shot"),
}
AS_PUBLISHED = {
    "shap": Contender("shap.DeepExplainer (torch)", "shap_torch", "prepare_stock"),
    "captum": Contender("captum DeepLiftShap", "captum_torch", "prepare_stock"),
}
"""Peers on nets as their authors wrote them."""
