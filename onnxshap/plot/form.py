"""A block of a figure: all maps, bars or texts of an input."""

from abc import ABC, abstractmethod

from onnxshap.plot.canvas import Canvas


class Form(ABC):
    """Something of known size, in inches, that can draw itself."""

    coloured = True
    """Whether colours stand for values, so that they need a limit."""
    width: float
    height: float

    @abstractmethod
    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Draw every row below ``top``."""

    def notes(self) -> list[str]:
        """Sentences for the figure's foot on how to read this form."""
        return []
