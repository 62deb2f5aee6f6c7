"""Explain ONNX models: DeepLIFT and Shapley attributions, computed as ONNX graphs."""

import importlib
from typing import TYPE_CHECKING

from onnxshap.errors import (
    CompletenessWarning,
    ExecutionError,
    InputError,
    ModelFileError,
    OnnxShapError,
    OnnxShapWarning,
    ProviderError,
    UnknownShapeError,
    UnsupportedOpError,
)

if TYPE_CHECKING:
    from onnxshap import methods, xdnn
    from onnxshap.autodiff.registry import multiplier, vjp
    from onnxshap.explainer import Explainer
    from onnxshap.explanation import Explanation
    from onnxshap.graph.model import Model, load
    from onnxshap.report import Report, check
    from onnxshap.transform import build
    from onnxshap_widgets import explore

__version__ = "0.1.0"

# Loaded when first used: importing onnxshap loads numpy, and neither onnx nor a runtime.
_LAZY = {
    "Explainer": "onnxshap.explainer",
    "Explanation": "onnxshap.explanation",
    "Model": "onnxshap.graph.model",
    "Report": "onnxshap.report",
    "build": "onnxshap.transform",
    "check": "onnxshap.report",
    "load": "onnxshap.graph.model",
    "multiplier": "onnxshap.autodiff.registry",
    "vjp": "onnxshap.autodiff.registry",
}
_LAZY_MODULES = ("methods", "xdnn")

__all__ = [
    "CompletenessWarning",
    "ExecutionError",
    "Explainer",
    "Explanation",
    "InputError",
    "Model",
    "ModelFileError",
    "OnnxShapError",
    "OnnxShapWarning",
    "ProviderError",
    "Report",
    "UnknownShapeError",
    "UnsupportedOpError",
    "build",
    "check",
    "explore",
    "load",
    "methods",
    "multiplier",
    "vjp",
    "xdnn",
]


def __getattr__(name: str) -> object:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"onnxshap.{name}")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name == "explore":
        try:
            return importlib.import_module("onnxshap_widgets").explore
        except ModuleNotFoundError as error:
            raise InputError(
                f"onnxshap.explore needs {error.name}, which is not installed: "
                'pip install "onnxshap[lab]"'
            ) from error
    raise AttributeError(f"module 'onnxshap' has no attribute {name!r}")
