"""Save: the explanation as a file of each kind."""

from collections.abc import Callable
from pathlib import Path

import ipywidgets as W

from onnxshap.errors import InputError
from onnxshap_widgets.explorer.map import MapPanel
from onnxshap_widgets.explorer.parts import button, line, row, write
from onnxshap_widgets.explorer.view import figure_of
from onnxshap_widgets.jobs import Job, Worker
from onnxshap_widgets.study import Study

KINDS = {
    "onnx": ("One-shot ONNX", "model, references and explanation in one file for any runtime"),
    "png": ("Figure, PNG", "the map and its facts"),
    "npz": ("Arrays, NPZ", "every array of the explanation; onnxshap.Explanation.load reads it"),
    "html": ("Page, HTML", "the map with its controls, in a page that needs nothing else"),
}


class SavePanel(W.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Writes the explanation on view beside the notebook."""

    def __init__(self, study: Study, worker: Worker, shown: MapPanel) -> None:
        self._study, self._worker, self._shown = study, worker, shown
        self.name = W.Text("explanation", description="File name", continuous_update=False)
        self.name.add_class("oxa-field")
        self.buttons = {kind: button(*KINDS[kind]) for kind in KINDS}
        self.status = line("", "muted", live=True)
        what = [row(one, line(KINDS[kind][1], "muted")) for kind, one in self.buttons.items()]
        for kind, one in self.buttons.items():
            one.layout.width = "140px"
            one.on_click(lambda _, kind=kind: self.save(kind))
        super().__init__([self.name, *what, self.status])

    def save(self, kind: str) -> Job:
        """Write a file of one kind, in the notebook's folder."""
        write(self.status, "Writing…", "muted", live=True)
        return self._worker.submit(
            lambda job: self._write(kind),
            None,
            lambda path: write(self.status, f"Wrote {path.name}, {_size(path)}.", "good", True),
            lambda error: write(self.status, f"{type(error).__name__}: {error}", "error"),
        )

    def _write(self, kind: str) -> Path:
        question, explanation = self._shown.question, self._shown.explanation
        if question is None or explanation is None:
            raise InputError("there is no explanation yet: choose Explain first")
        path = Path(f"{self.name.value.strip() or 'explanation'}.{kind}")
        writers: dict[str, Callable[[], object]] = {
            "onnx": lambda: self._study.explainer(question).export(path),
            "png": lambda: figure_of(self._study, question.sample, explanation).savefig(path),
            "npz": lambda: explanation.save(path),
            "html": lambda: self._page(path),
        }
        writers[kind]()
        return path

    def _page(self, path: Path) -> None:
        overlay = self._shown.view.overlay
        if overlay is not None:
            overlay.to_html(path)
        else:
            assert self._shown.explanation is not None
            self._shown.explanation.to_html(path, labels=self._study.labels)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
