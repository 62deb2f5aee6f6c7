"""The application: what is asked on the left, what was found on the right."""

from typing import Any

import ipywidgets as W

from onnxshap.explanation import Explanation
from onnxshap.graph.model import Model, ModelSource
from onnxshap.report import check
from onnxshap_widgets.explorer.ask import AskPanel
from onnxshap_widgets.explorer.compare import ComparePanel
from onnxshap_widgets.explorer.graph import GraphPanel
from onnxshap_widgets.explorer.map import MapPanel
from onnxshap_widgets.explorer.parts import Frame, line
from onnxshap_widgets.explorer.save import SavePanel
from onnxshap_widgets.explorer.still import picture
from onnxshap_widgets.explorer.xdnn import XdnnPanel
from onnxshap_widgets.jobs import Job
from onnxshap_widgets.portable import Pictured
from onnxshap_widgets.samples import Preprocess
from onnxshap_widgets.study import Labels, Question, Study

TABS = ("Map", "Compare", "X-Gradient", "Graph", "Save")


def explore(
    model: ModelSource | Model,
    samples: Any,
    backgrounds: Any = None,
    labels: Labels = None,
    preprocess: Preprocess | None = None,
) -> "Explorer":
    """Explore a model in a notebook cell.

    Choose a sample, a class and what to compare with; watch the heatmap settle; set methods,
    classes and references side by side; see the graph that computes it; save it.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
    samples : ndarray [N, *x], dict of them by input name, or photos
        What the model takes; photos (paths, PIL images, arrays [H, W, C]) with ``preprocess``.
    backgrounds : ndarray [M, *x], dict of them by name, or list of ReferenceSet, optional
        References to compare with, offered before the ready-made sets.
    labels : sequence or mapping of str, optional
        Name of each class.
    preprocess : callable, optional
        Makes of one photo what the model takes, ``[*x]`` or ``[1, *x]``.

    Returns
    -------
    Explorer
        A widget; the last value of a cell is shown. Its ``explanation`` is the one on view.

    Raises
    ------
    ModelFileError, InputError
        If the model, the samples or the references do not fit.

    Examples
    --------
    >>> onnxshap.explore("model.onnx", photos, preprocess=prepare)  # doctest: +SKIP
    """
    return Explorer(Study(model, samples, backgrounds, labels, preprocess=preprocess))


class Explorer(Pictured, W.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """One application in a cell. Made by `explore`."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.ask = AskPanel(study, self._changed)
        self.map = MapPanel(study, self.ask)
        self.compare = ComparePanel(study, self.ask)
        self.xdnn = XdnnPanel(study, self.ask)
        self.graph = GraphPanel(study, self.ask)
        self.save = SavePanel(study, self.map)
        self.panels = (self.map, self.compare, self.xdnn, self.graph, self.save)
        self.tabs = W.Tab(self.panels, titles=TABS)
        found = W.VBox([self.map.trust, self.tabs])
        found.add_class("oxa-found")
        main = W.HBox([self.ask, found])
        main.add_class("oxa-main")
        super().__init__([Frame(), line(_about(study), "muted"), main])
        self.add_class("onnxshap")
        self.add_class("oxa-explorer")
        self.tabs.observe(lambda _: self._open(), "selected_index")

    @property
    def question(self) -> Question:
        """What is asked, as the controls have it."""
        return self.ask.question()

    @property
    def explanation(self) -> Explanation | None:
        """The explanation on view, None before the first."""
        return self.map.explanation

    def run(self) -> Job | None:
        """Explain what is asked, as the button does; ``run().wait()`` waits for the result."""
        return self.map.run()

    def png(self) -> bytes:
        """What is on view, as the bytes of a PNG file. Needs matplotlib."""
        return picture(self.study, self.ask.sample, self.map.question, self.explanation)

    def close(self) -> None:
        """Stop all work, and give back what the page and the kernel hold of this explorer."""
        for panel in self.panels:
            panel.worker.cancel()
        held: list[W.Widget] = list(self.children)
        for part in held:  # which grows: what a part shows, and what it keeps to show
            own = (*getattr(part, "children", ()), *vars(part).values())
            held.extend(w for w in own if isinstance(w, W.Widget) and w not in held)
        for part in held:
            part.close()
        super().close()

    def _changed(self) -> None:
        self.map.changed()
        self._open()

    def _open(self) -> None:
        """Let the panel on view see what is asked."""
        panel = self.tabs.children[self.tabs.selected_index or 0]
        if panel in (self.compare, self.xdnn, self.graph):
            panel.enter()


def _about(study: Study) -> str:
    """The model in one line."""
    report = check(study.model, output=study.outputs()[0].name)
    return str(report).split("\n")[0]
