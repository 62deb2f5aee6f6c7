"""The explorer: one application in a cell."""

from onnxshap_widgets.explorer.app import Explorer, explore

__all__ = ["Explorer", "explore"]
