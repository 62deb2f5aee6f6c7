"""The graph: model and explanation as Netron draws them, and the sums over its depth."""

import ipywidgets as W

import onnxshap
from onnxshap.depth import DepthProfile, depth_profile
from onnxshap_widgets.explorer.ask import AskPanel
from onnxshap_widgets.explorer.map import title_of
from onnxshap_widgets.explorer.parts import WorkPanel, button, row, write
from onnxshap_widgets.graph import GraphView
from onnxshap_widgets.jobs import Job
from onnxshap_widgets.study import Question, Study


class GraphPanel(WorkPanel):
    """Draws the graph of the question asked, when it is first looked at and when it is another."""

    def __init__(self, study: Study, ask: AskPanel) -> None:
        self._study, self._ask = study, ask
        self._begun: tuple[object, str] | None = None
        """Method and output of the graph that is drawn or being drawn."""
        self.view: GraphView | None = None
        self.profile_button = button(
            "Sums over depth", "explain the sample at every value that all paths run through"
        )
        self._place = W.VBox()
        super().__init__()
        self.children = [row(self.profile_button, self.status), self._place]
        self.profile_button.on_click(lambda _: self.profile())

    def enter(self) -> None:
        """Draw the graph, unless it is drawn already."""
        question = self.attempt(self._ask.question)
        if question is not None and self._begun != (question.method, question.output):
            self._begun = question.method, question.output
            self.start("Building the graph…", lambda job: self._draw(question, None), self._show)

    def profile(self) -> Job | None:
        """Explain the sample at every depth, and draw the sums beside the graph."""
        question = self.attempt(self._ask.question)
        if question is None:
            return None
        self._begun = question.method, question.output
        return self.start(
            "Explaining at every depth…",
            lambda job: self._draw(question, self._profiled(question)),
            self._show,
        )

    def fail(self, error: BaseException) -> None:
        """Say what went wrong; the graph is drawn when it is looked at again."""
        super().fail(error)
        self._begun = None

    def _profiled(self, question: Question) -> DepthProfile:
        study, background = self._study, question.references
        return depth_profile(
            study.model,
            study.samples.feeds(question.sample),
            None if background is None else dict(background.arrays),
            target=study.target(question),
            output=question.output,
            method=question.method,
        )

    def _draw(self, question: Question, profile: DepthProfile | None) -> GraphView:
        model = onnxshap.build(self._study.model, question.method, output=question.output)
        title = f"{question.method.name} of {question.output}"
        if profile is not None:
            caption = self._study.samples.caption(question.sample)
            title += f"; sums of {caption}, {title_of(self._study, question)}"
        return GraphView(model, title=title, profile=profile)

    def _show(self, view: GraphView) -> None:
        before, self.view = self.view, view
        self._place.children = [view]
        if before is not None:
            before.close()
        write(self.status, "", "muted")
