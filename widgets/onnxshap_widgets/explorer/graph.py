"""The graph: model and explanation as Netron draws them, and the sums over its depth."""

import ipywidgets as W

import onnxshap
from onnxshap_widgets.explorer.ask import AskPanel
from onnxshap_widgets.explorer.parts import button, line, row, write
from onnxshap_widgets.graph import GraphView
from onnxshap_widgets.jobs import Job, Worker
from onnxshap_widgets.study import Question, Study


class GraphPanel(W.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Draws the graph of the question asked, when it is first looked at and when it is another."""

    def __init__(self, study: Study, worker: Worker, ask: AskPanel) -> None:
        self._study, self._worker, self._ask = study, worker, ask
        self._drawn: tuple[object, str] | None = None
        self.view: GraphView | None = None
        self.profile_button = button(
            "Sums over depth", "explain the sample at every value that all paths run through"
        )
        self.status = line("", "muted", live=True)
        self._place = W.VBox()
        super().__init__([row(self.profile_button, self.status), self._place])
        self.profile_button.on_click(lambda _: self.profile())

    def enter(self) -> None:
        """Draw the graph, unless it is drawn already."""
        question = self._ask.question()
        if self._drawn != (question.method, question.output):
            self._submit("Building the graph…", lambda: self._draw(question, None))

    def profile(self) -> Job:
        """Explain the sample at every depth, and draw the sums beside the graph."""
        question = self._ask.question()
        return self._submit("Explaining at every depth…", lambda: self._profiled(question))

    def _profiled(self, question: Question) -> GraphView:
        from onnxshap.depth import depth_profile

        study = self._study
        background = question.references
        found = depth_profile(
            study.model,
            study.samples.feeds(question.sample),
            None if background is None else dict(background.arrays),
            target=study.target(question),
            output=question.output,
            method=question.method,
        )
        return self._draw(question, found)

    def _draw(self, question: Question, profile: object) -> GraphView:
        model = onnxshap.build(self._study.model, question.method, output=question.output)
        title = f"{question.method.name} of {question.output}"
        view = GraphView(model, title=title, profile=profile)  # type: ignore[arg-type]
        self._drawn = question.method, question.output
        return view

    def _submit(self, told: str, work) -> Job:  # type: ignore[no-untyped-def]
        write(self.status, told, "muted", live=True)
        return self._worker.submit(
            lambda job: work(),
            None,
            self._show,
            lambda error: write(self.status, f"{type(error).__name__}: {error}", "error"),
        )

    def _show(self, view: GraphView) -> None:
        self.view = view
        self._place.children = [view]
        write(self.status, "", "muted")
