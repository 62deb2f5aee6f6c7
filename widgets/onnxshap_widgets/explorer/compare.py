"""Side by side: methods x classes x reference sets, on one scale."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import ipywidgets as W
import numpy as np

from onnxshap.errors import InputError
from onnxshap.explanation import Explanation
from onnxshap_widgets.compare import CompareGrid, Panel
from onnxshap_widgets.explorer.ask import AskPanel
from onnxshap_widgets.explorer.parts import WorkPanel, button, group, last_of, row, write
from onnxshap_widgets.explorer.view import attributions, cells, channels_first
from onnxshap_widgets.jobs import Job
from onnxshap_widgets.references import ReferenceSet
from onnxshap_widgets.study import Question, Ranked, Study, facts

TICKED = ("deepshap", "expected_gradients", "input_x_gradient")
"""Methods compared at first."""
SHOWN = ("f(x)", "base value", "sum", "residual", "standard error")

Rows = list[tuple[str, list[Panel]]]


class ComparePanel(WorkPanel):
    """Chooses what stands side by side, and explains it row by row."""

    def __init__(self, study: Study, ask: AskPanel) -> None:
        self._study, self._ask = study, ask
        forms = ask.method.forms
        self.methods = Ticks([(f.title, f.name) for f in forms.values()], TICKED)
        self.sets = Ticks([], ())
        self.classes = W.BoundedIntText(
            min(3, len(ask.ranked)),
            1,
            max(1, min(6, len(ask.ranked))),
            description="Classes",
            tooltip="how many of the likeliest classes",
        )
        self.classes.add_class("oxa-field")
        self.run_button = button("Compare", "explain every combination", main=True)
        self.grid: CompareGrid | None = None
        self._place = W.VBox()
        super().__init__()
        self.enter()
        choices = row(
            group("Methods", self.methods), group("Compared with", self.sets, self.classes)
        )
        bar = row(self.run_button, self.cancel_button, self.status)
        self.children = [choices, bar, self._place]
        self.run_button.on_click(lambda _: self.run())

    def enter(self) -> None:
        """Offer the reference sets that there are for the chosen sample."""
        chosen = self._ask.picker.value
        names = [s.name for s in self._ask.picker.sets]
        if chosen.name not in names:  # some references of a set were taken out
            names.insert(0, chosen.name)
        ticked = self.sets.value if self.sets.touched else (chosen.name,)
        self.sets.offer([(n, n) for n in names], ticked)

    def run(self) -> Job | None:
        """Explain every combination; the grid grows row by row. None if it cannot be asked."""
        asked = self.attempt(lambda: list(self._questions()))
        if asked is None:
            return None
        sample = self._ask.sample

        def work(job: Job) -> Rows:
            rows: Rows = []
            for name, question, classes in asked:
                job.report((f"{name}…", rows))
                explanation = last_of(self._study.stream(question), job)
                if explanation is None:
                    break
                rows = [*rows, (name, self._panels(question, explanation, classes))]
            return rows

        def shown(told: str, rows: Rows) -> None:
            self._show(sample, rows)
            write(self.status, told, "muted", live=True)

        last = "Choose two panels to compare them number by number."
        return self.start("…", work, lambda rows: shown(last, rows), lambda told: shown(*told))

    def _questions(self) -> Iterator[tuple[str, Question, list[Ranked]]]:
        """One question a row: a method, and a set where it compares with one."""
        ask = self._ask
        classes = [r for r in ask.ranked if isinstance(r.target, int)][: self.classes.value]
        if not classes:  # of a dense output one sum at a time
            classes = ask.ranked[:1]
        targets = [r.target for r in classes]
        target = targets if all(isinstance(t, int) for t in targets) else targets[0]
        if not self.methods.value:
            raise InputError("compare: tick at least one method")
        for name in self.methods.value:
            form = ask.method.forms[name]
            question = Question(
                ask.sample,
                ask.output.value,
                target,
                ask.method.method(name),
                providers=ask.provider.value,
            )
            if not form.needs_background:
                yield form.title, question, classes
                continue
            for references in self._chosen_sets():
                named = f"{form.title}, against {references.name}"
                yield named, replace(question, references=references), classes

    def _chosen_sets(self) -> list[ReferenceSet]:
        own = {s.name: s for s in [*self._ask.picker.sets, self._ask.picker.value]}
        found = [own[name] for name in self.sets.value]
        if not found:
            raise InputError("compare: tick at least one reference set")
        return found

    def _panels(
        self, question: Question, explanation: Explanation, classes: Sequence[Ranked]
    ) -> list[Panel]:
        values = attributions(explanation, self._study.samples.source)[0]
        several = isinstance(question.target, list)
        panels = []
        for k, ranked in enumerate(classes):
            told = [f for f in facts(question, explanation, k) if f[0] in SHOWN]
            own = values[k] if several else values
            panels.append(Panel(ranked.label, picture_of(own), told))
        return panels

    def _show(self, sample: int, rows: Rows) -> None:
        if not rows:
            return
        samples = self._study.samples
        image = samples.picture(sample) if samples.form == "image" else None
        if self.grid is None:
            block = 1 if image is None else cells(image)
            self.grid = CompareGrid(rows, image=image, block=block)
            self._place.children = [self.grid]
        else:
            self.grid.update(rows, image=image)
        self.grid.title = samples.caption(sample)


def picture_of(values: np.ndarray) -> np.ndarray:
    """One sample's attributions as a picture; a row of features as one line of cells."""
    values = channels_first(values)
    if values.ndim < 2:
        return values.reshape(1, -1)
    return values if values.ndim == 2 else values.reshape(-1, *values.shape[-2:])


class Ticks(W.VBox):  # type: ignore[misc]
    """A list of names to tick."""

    def __init__(self, options: Sequence[tuple[str, str]], ticked: Sequence[str]) -> None:
        super().__init__()
        self.add_class("oxa-ticks")
        self.touched = False
        """Whether somebody has ticked or unticked a name."""
        self._boxes: dict[str, W.Checkbox] = {}
        self.offer(options, ticked)

    def offer(self, options: Sequence[tuple[str, str]], ticked: Sequence[str]) -> None:
        """Replace the names; where nothing is another, the boxes stay and so does the focus."""
        before = [(name, box.description, box.value) for name, box in self._boxes.items()]
        if before == [(name, title, name in ticked) for title, name in options]:
            return
        for box in self._boxes.values():
            box.close()
        self._boxes = {
            name: W.Checkbox(name in ticked, description=title, indent=False)
            for title, name in options
        }
        for box in self._boxes.values():
            box.observe(self._touch, "value")
        self.children = list(self._boxes.values())

    def _touch(self, _: object) -> None:
        self.touched = True

    @property
    def value(self) -> tuple[str, ...]:
        """Names that are ticked."""
        return tuple(name for name, box in self._boxes.items() if box.value)
