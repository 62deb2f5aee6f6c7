"""The JupyterLab side of onnxshap: explore a model, its explanations and their graphs in a cell."""

from onnxshap_widgets.compare import CompareGrid, Panel
from onnxshap_widgets.explorer import Explorer, explore
from onnxshap_widgets.gallery import Gallery
from onnxshap_widgets.graph import GraphView
from onnxshap_widgets.overlay import Overlay
from onnxshap_widgets.picker import ReferencePicker
from onnxshap_widgets.references import ReferenceSet
from onnxshap_widgets.samples import Samples
from onnxshap_widgets.study import Question, Study

__all__ = [
    "CompareGrid",
    "Explorer",
    "Gallery",
    "GraphView",
    "Overlay",
    "Panel",
    "Question",
    "ReferencePicker",
    "ReferenceSet",
    "Samples",
    "Study",
    "explore",
]
