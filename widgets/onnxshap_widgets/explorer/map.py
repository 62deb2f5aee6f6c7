"""The map: run, watch it refine, cancel; and how far it is to be trusted."""

import time
from dataclasses import replace

import ipywidgets as W

from onnxshap.explanation import Explanation, counted
from onnxshap_widgets.explorer.ask import AskPanel
from onnxshap_widgets.explorer.parts import Kind, button, line, row, write
from onnxshap_widgets.explorer.view import View
from onnxshap_widgets.jobs import Job, Worker
from onnxshap_widgets.study import Question, Study, advice

SETTLED, ROUGH = 0.1, 0.5
"""Relative standard errors up to which a map is called settled, and rough."""
SPREAD = 64
"""References of which f(reference) is shown, at most: each takes a run of its own."""


class MapPanel(W.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Explains the question asked, shows the map as it refines, tells errors as text."""

    def __init__(self, study: Study, worker: Worker, ask: AskPanel) -> None:
        self._study, self._worker, self._ask = study, worker, ask
        self.explanation: Explanation | None = None
        """The explanation on view; it may still be refining."""
        self.question: Question | None = None
        """What it answers."""
        self.job: Job | None = None
        self.run_button = button("Explain", "explain this sample", main=True)
        self.cancel_button = button("Cancel", "stop at once")
        self.cancel_button.disabled = True
        self.live = W.Checkbox(
            True, description="on every change", indent=False, layout=W.Layout(width="auto")
        )
        self.progress = W.IntProgress(0, 0, 1, layout=W.Layout(width="160px"))
        self.progress.add_class("oxa-progress")
        self.status = line("Choose a sample and a class, then Explain.", "muted", live=True)
        self.trust = line()
        self.view = View(study)
        bar = row(self.run_button, self.cancel_button, self.live, self.progress, self.status)
        super().__init__([bar, self.trust, self.view])
        self.run_button.on_click(lambda _: self.run())
        self.cancel_button.on_click(lambda _: self.cancel())

    def run(self, debounce: float = 0.0) -> Job | None:
        """Explain what is asked; a run in progress is cancelled. None if it cannot be asked."""
        try:
            question = self._ask.question()
        except Exception as error:  # whatever it is, the panel says it
            self._failed(error)
            return None
        began = time.monotonic()
        steps = question.references.size if question.references is not None else 1
        self.progress.max, self.progress.value = steps, 0
        self.progress.bar_style = ""
        self.cancel_button.disabled = False
        write(self.status, "Preparing…", "muted", live=True)

        whole = self._ask.picker.whole if question.references is not None else None

        def work(job: Job) -> Explanation | None:
            stream = self._study.stream(question)
            job.on_cancel(stream.close)
            partial = None
            for partial in stream:
                job.report(partial)
            if whole is not None and whole.size <= SPREAD and not job.cancelled:
                outputs = self._study.reference_outputs(replace(question, references=whole))
                self._ask.picker.show_outputs(whole, outputs)
            return partial

        def shown(explanation: Explanation) -> None:
            self._show(question, explanation)
            self.progress.value = min(explanation.references or steps, steps)
            took = time.monotonic() - began
            write(self.status, _status(question, explanation, took), "muted", live=True)

        def done(explanation: Explanation | None) -> None:
            if explanation is not None:
                self.progress.bar_style = "success"
            self.cancel_button.disabled = True

        self.job = self._worker.submit(work, shown, done, self._failed, debounce=debounce)
        return self.job

    def cancel(self) -> None:
        """Stop the run at once; the map stays as far as it got."""
        self._worker.cancel()
        self.cancel_button.disabled = True
        self.progress.bar_style = "warning"
        write(self.status, "Cancelled.", "muted", live=True)

    def changed(self) -> None:
        """Explain again after a change, if that is wanted and was done once."""
        if self.live.value and self.question is not None:
            self.run(debounce=0.15)

    def _show(self, question: Question, explanation: Explanation) -> None:
        self.question, self.explanation = question, explanation
        self.view.show(question, explanation, title_of(self._study, question))
        write(self.trust, *trust(explanation))

    def _failed(self, error: BaseException) -> None:
        self.cancel_button.disabled = True
        self.progress.bar_style = "danger"
        write(self.status, f"{type(error).__name__}: {error}", "error")


def title_of(study: Study, question: Question) -> str:
    """The explained class, as a title."""
    target = question.target
    ranked = study.predict(question.sample, question.output)
    return next((r.label for r in ranked if r.target == target), str(target))


def trust(explanation: Explanation) -> tuple[str, Kind]:
    """Say what the standard error means for the reader of a map."""
    relative = explanation.relative_standard_error()
    if relative is None:
        return "", "plain"
    error = float(relative.ravel()[0])
    size = f"Standard error {100 * error:.2g} % of the map"
    if error <= SETTLED:
        return f"{size}: settled.", "good"
    how = "rough" if error <= ROUGH else "mostly noise"
    needed = advice(error, explanation.references)
    return f"{size}: {how}. {needed.capitalize()} like these would bring it to 10 %.", "warn"


def _status(question: Question, explanation: Explanation, took: float) -> str:
    if question.references is None:
        return f"Explained in {took:.1f} s."
    if explanation.complete:
        return f"Explained against {counted(explanation.references)} in {took:.1f} s."
    return f"{explanation.references} of {counted(question.references.size)}, {took:.1f} s"
