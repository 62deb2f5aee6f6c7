"""X-DNNs: certify that a model is nonnegatively homogeneous, and make it so without its biases.

Hesse, Schaub-Meyer and Roth 2021, "Fast Axiomatic Attribution for Neural Networks": where
f(a x) = a f(x) for every a > 0, one gradient gives Integrated Gradients in closed form.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxshap.xdnn.certificate import Certificate, certify
    from onnxshap.xdnn.strip import Removed, Stripped, strip_bias

_LAZY = {
    "Certificate": "onnxshap.xdnn.certificate",
    "Removed": "onnxshap.xdnn.strip",
    "Stripped": "onnxshap.xdnn.strip",
    "certify": "onnxshap.xdnn.certificate",
    "strip_bias": "onnxshap.xdnn.strip",
}

__all__ = ["Certificate", "Removed", "Stripped", "certify", "strip_bias"]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'onnxshap.xdnn' has no attribute {name!r}")
