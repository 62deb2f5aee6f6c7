"""The one-shot file: model, references and explanation as one ONNX graph."""

from onnxshap.oneshot.averages import Chunks
from onnxshap.oneshot.build import BackgroundAs, one_shot

__all__ = ["BackgroundAs", "Chunks", "one_shot"]
