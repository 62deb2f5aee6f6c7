"""The map: run, watch it refine, cancel; and how far it is to be trusted."""

import math
import time
from dataclasses import replace

import ipywidgets as W
import numpy as np

from onnxshap.explanation import Explanation, counted
from onnxshap_widgets.explorer.ask import AskPanel
from onnxshap_widgets.explorer.parts import Kind, WorkPanel, button, line, row, write
from onnxshap_widgets.explorer.view import View
from onnxshap_widgets.jobs import Job
from onnxshap_widgets.study import Question, Study, advice

SETTLED, ROUGH = 0.1, 0.5
"""Relative standard errors up to which a map is called settled, and rough."""
SPREAD = 64
"""References of which f(reference) is shown, at most: each takes a run of its own."""
EARLIER = "oxa-earlier"
"""Class of a map that does not answer what is asked."""


class MapPanel(WorkPanel):
    """Explains the question asked, shows the map as it refines, tells errors as text."""

    def __init__(self, study: Study, ask: AskPanel) -> None:
        self._study, self._ask = study, ask
        self.explanation: Explanation | None = None
        """The explanation on view; it may still be refining."""
        self.question: Question | None = None
        """What it answers."""
        self._asked: Question | None = None
        super().__init__()
        self.run_button = button("Explain", "explain this sample", main=True)
        self.live = W.Checkbox(
            True, description="on every change", indent=False, layout=W.Layout(width="auto")
        )
        self.progress = W.IntProgress(0, 0, 1, layout=W.Layout(width="160px"))
        self.progress.add_class("oxa-progress")
        write(self.status, "Choose a sample and a class, then Explain.", "muted", live=True)
        self.trust = line()
        """What the standard error means; beside the panels, so that it is always in view."""
        self.view = View(study)
        bar = row(self.run_button, self.cancel_button, self.live, self.progress, self.status)
        self.children = [bar, self.view]
        self.run_button.on_click(lambda _: self.run())

    def run(self, debounce: float = 0.0) -> Job | None:
        """Explain what is asked; a run in progress is cancelled. None if it cannot be asked."""
        self.worker.cancel()
        question = self.attempt(self._ask.question)
        self._mark(question)
        if question is None:
            return None
        began, title = time.monotonic(), title_of(self._study, question)
        steps = question.references.size if question.references is not None else 1
        whole = self._ask.picker.whole if question.references is not None else None
        self.progress.max, self.progress.value, self.progress.bar_style = steps, 0, ""

        def work(job: Job) -> tuple[Explanation | None, np.ndarray | None]:
            stream = self._study.stream(question)
            job.on_cancel(stream.close)
            partial = None
            for partial in stream:
                job.report(partial)
            if whole is None or whole.size > SPREAD:
                return partial, None
            of_all = replace(question, references=whole)
            return partial, self._study.reference_outputs(of_all, lambda: job.cancelled)

        def shown(explanation: Explanation) -> None:
            self._show(question, explanation, title)
            self.progress.value = min(explanation.references or steps, steps)
            took = time.monotonic() - began
            write(self.status, _status(question, explanation, took), "muted", live=True)

        def done(found: tuple[Explanation | None, np.ndarray | None]) -> None:
            explanation, outputs = found
            if explanation is not None:
                self.progress.bar_style = "success"
            asked = self.attempt(self._ask.question)
            if asked != question:
                self.changed()
            elif whole is not None and outputs is not None:
                self._ask.picker.show_outputs(whole, outputs)

        return self.start("Preparing…", work, done, shown, debounce)

    def cancel(self) -> None:
        """Stop the run at once; the map stays as far as it got."""
        super().cancel()
        self.progress.bar_style = "warning"

    def fail(self, error: BaseException) -> None:
        """Say what went wrong; a map of another question is shown to be one."""
        super().fail(error)
        self.progress.bar_style = "danger"

    def changed(self) -> None:
        """After a change explain again, if that is wanted and was done once; else say so."""
        if self.job is None:
            return
        if self.live.value:
            self.run(debounce=0.15)
            return
        question = self.attempt(self._ask.question)
        self._mark(question)
        if question is not None and self.job.state not in ("waiting", "running"):
            same = question == self.question
            told = "This is what is asked." if same else "Not what is asked: Explain answers that."
            write(self.status, told, "muted" if same else "warn", live=True)

    def _show(self, question: Question, explanation: Explanation, title: str) -> None:
        self.question, self.explanation = question, explanation
        self.view.show(question, explanation, title)
        write(self.trust, *trust(explanation))
        self._mark(self._asked)

    def _mark(self, asked: Question | None) -> None:
        """Let the map look pale while it answers another question than the one asked."""
        self._asked = asked
        earlier = self.question is not None and self.question != asked
        for part in (self.trust, self.view):
            (part.add_class if earlier else part.remove_class)(EARLIER)


def title_of(study: Study, question: Question) -> str:
    """The explained class, as a title."""
    target = question.target
    ranked = study.predict(question.sample, question.output)
    return next((r.label for r in ranked if r.target == target), str(target))


def trust(explanation: Explanation) -> tuple[str, Kind]:
    """Say what the standard error means for the reader of a map."""
    relative = explanation.relative_standard_error()
    if relative is None:
        alone = "One reference: how much the map depends on it is not known."
        return (alone, "warn") if explanation.references == 1 else ("", "plain")
    error = float(relative.ravel()[0])
    if math.isnan(error):
        return "Every attribution is 0.", "warn"
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
