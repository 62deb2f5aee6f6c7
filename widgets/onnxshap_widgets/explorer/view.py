"""How an explanation looks: an overlay for images, a figure for everything else."""

import base64
import html
import time
from io import BytesIO
from typing import Any

import ipywidgets as W
import numpy as np

from onnxshap.explanation import Explanation
from onnxshap_widgets.overlay import Overlay
from onnxshap_widgets.study import Question, Study, facts

CELLS = 64
"""Cells a side that a map is first summed to: of single pixels the eye makes out little."""


class View(W.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """The explanation of one sample and target, redrawn as it refines."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.overlay: Overlay | None = None
        self._figure = W.HTML()
        self._drawn: tuple[Question | None, float] = None, 0.0  # what the figure shows, since when
        super().__init__([])

    def show(self, question: Question, explanation: Explanation, title: str) -> None:
        """Show an explanation; what the user has set in the overlay stays."""
        samples = self._study.samples
        if samples.form != "image":
            self._draw(question, explanation, title)
            return
        values = attributions(explanation, samples.source)[0]
        picture, told = samples.picture(question.sample), facts(question, explanation)
        if self.overlay is None:
            self.overlay = Overlay(
                channels_first(values), picture, title=title, facts=told, block=cells(picture)
            )
            self.children = [self.overlay]
        else:
            self.overlay.update(channels_first(values), picture, told, title)

    def _draw(self, question: Question, explanation: Explanation, title: str) -> None:
        """Draw a figure; of a refining explanation one a second, since figures take long."""
        now, (drawn, since) = time.monotonic(), self._drawn
        if drawn == question and now - since < 1 and not explanation.complete:
            return
        self._drawn = question, now
        figure = figure_of(self._study, question.sample, explanation)
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        told = ", ".join(f"{label} {text}" for label, text in facts(question, explanation))
        data = base64.b64encode(buffer.getvalue()).decode("ascii")
        self._figure.value = (
            f'<img class="oxa-figure" alt="{html.escape(f"{title}: {told}")}" '
            f'src="data:image/png;base64,{data}">'
        )
        self.children = [self._figure]


def cells(picture: np.ndarray) -> int:
    """Pixels a side of the squares that maps over a picture are first summed to."""
    side: int = min(picture.shape[:2])
    return max(1, round(side / CELLS))


def attributions(explanation: Explanation, source: str) -> np.ndarray:
    """Attributions of one input."""
    found = explanation.attributions
    return found[source] if isinstance(found, dict) else found


def channels_first(values: np.ndarray) -> np.ndarray:
    """[H, W], [C, H, W] or [H, W, C] as an `Overlay` takes it."""
    if values.ndim == 3 and values.shape[-1] in (1, 3, 4) and values.shape[0] not in (1, 3, 4):
        return np.moveaxis(values, -1, 0)
    return values


def figure_of(study: Study, sample: int, explanation: Explanation) -> Any:
    """Draw an explanation of one sample with matplotlib, in the form that fits the model."""
    samples = study.samples
    options: dict[str, Any] = {"labels": study.labels}
    if samples.form == "tokens":
        options |= {"form": "tokens", "tokens": samples.tokens(sample)}
    if samples.form == "image" and not isinstance(explanation.attributions, dict):
        options["image"] = [samples.picture(sample)]
    return explanation.plot(**options)
