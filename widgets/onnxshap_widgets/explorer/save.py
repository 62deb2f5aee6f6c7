"""Save: the explanation as a file of each kind."""

from collections.abc import Callable
from pathlib import Path

import ipywidgets as W

from onnxshap.errors import InputError
from onnxshap.explanation import Explanation, counted
from onnxshap_widgets.explorer.map import MapPanel
from onnxshap_widgets.explorer.parts import WorkPanel, button, line, row, write
from onnxshap_widgets.explorer.view import figure_of
from onnxshap_widgets.jobs import Job
from onnxshap_widgets.study import Study

KINDS = {
    "onnx": ("One-shot ONNX", "model, references and explanation in one file for any runtime"),
    "png": ("Figure, PNG", "the map and its facts"),
    "npz": ("Arrays, NPZ", "every array of the explanation; onnxshap.Explanation.load reads it"),
    "html": ("Page, HTML", "the map with its controls, in a page that needs nothing else"),
}


class SavePanel(WorkPanel):
    """Writes the explanation on view beside the notebook."""

    def __init__(self, study: Study, shown: MapPanel) -> None:
        self._study, self._shown = study, shown
        super().__init__()
        self.name = W.Text("explanation", description="File name", continuous_update=False)
        self.name.add_class("oxa-field")
        self.buttons = {kind: button(*KINDS[kind]) for kind in KINDS}
        what = [row(one, line(KINDS[kind][1], "muted")) for kind, one in self.buttons.items()]
        for kind, one in self.buttons.items():
            one.layout.width = "140px"
            one.on_click(lambda _, kind=kind: self.save(kind))
        self.children = [self.name, *what, self.status]

    def save(self, kind: str) -> Job | None:
        """Write a file of one kind, in the notebook's folder, of what is on view now."""
        question, explanation = self._shown.question, self._shown.explanation
        if question is None or explanation is None:
            self.fail(InputError("there is no explanation yet: choose Explain first"))
            return None
        name = self.name.value.strip().removesuffix(f".{kind}") or "explanation"
        path = Path(f"{name}.{kind}")
        writers: dict[str, Callable[[], object]] = {
            "onnx": lambda: self._study.explainer(question).export(path),
            "png": lambda: figure_of(self._study, question.sample, explanation).savefig(path),
            "npz": lambda: explanation.save(path),
            "html": lambda: self._page(path, explanation),
        }
        partial = kind != "onnx" and not explanation.complete
        so_far = f", over the first {counted(explanation.references)}" if partial else ""

        def done(_: object) -> None:
            write(self.status, f"Wrote {path.name}, {_size(path)}{so_far}.", "good", live=True)

        return self.start("Writing…", lambda job: writers[kind](), done)

    def _page(self, path: Path, explanation: Explanation) -> None:
        overlay = self._shown.view.overlay
        if overlay is not None:
            overlay.to_html(path)
        else:
            explanation.to_html(path, labels=self._study.labels)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
