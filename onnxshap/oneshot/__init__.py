"""The one-shot file: model, references and explanation as one ONNX graph."""

from onnxshap.oneshot.averages import ChunkSizes
from onnxshap.oneshot.build import BackgroundAs, one_shot

__all__ = ["BackgroundAs", "ChunkSizes", "one_shot"]
