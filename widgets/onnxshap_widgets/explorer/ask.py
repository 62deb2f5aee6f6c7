"""The question: which sample, output and class, compared with what, by which method."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as W

from onnxshap.methods import Method
from onnxshap.runtime.providers import CPU, choose
from onnxshap_widgets.explorer.parts import choice, group, line, write
from onnxshap_widgets.gallery import Gallery
from onnxshap_widgets.picker import ReferencePicker, numbered
from onnxshap_widgets.references import ReferenceSet
from onnxshap_widgets.samples import Tile
from onnxshap_widgets.study import MethodForm, Parameter, Question, Ranked, Study, methods

SHOWN = 100
"""Classes in the list at most; the rest are found by searching."""
PICTURED = 256
"""References of a set that are shown as pictures, at most: they are drawn anew for each sample."""


class AskPanel(W.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """Controls that make a `Question`; calls ``changed`` whenever it is another one."""

    def __init__(self, study: Study, changed: Callable[[], None]) -> None:
        self._study, self._changed, self._quiet = study, changed, True
        self.samples = Gallery(study.samples.tiles(), label="Samples", height=150)
        self.output = choice("Output", [(o.title, o.name) for o in study.outputs()])
        self.search = W.Text(placeholder="Search classes", continuous_update=True)
        self.search.add_class("oxa-field")
        self.classes = W.Select(rows=7)
        self.classes.add_class("oxa-classes")
        self.method = MethodPicker(self._on_change)
        self.provider = choice("Runs on", _providers())
        self._ranked: list[Ranked] = []
        self._rank()
        self.picker = ReferencePicker(self._sets(), pictures=self._pictures)
        self._references = group("Compared with", self.picker)
        target = group("Explained", self.output, self.search, self.classes)
        super().__init__(
            [
                group("Sample", self.samples),
                target,
                self._references,
                group("Method", self.method, self.provider),
            ]
        )
        self.add_class("oxa-ask")
        self.samples.observe(self._on_sample, "chosen")
        self.output.observe(self._on_output, "value")
        self.search.observe(lambda _: self._list(), "value")
        self.classes.observe(self._on_class, "value")
        self.picker.observe(self._on_change, "value")
        self.provider.observe(self._on_change, "value")
        self._quiet = False
        self._show_references()

    # --- what is asked ---------------------------------------------------------------------------

    @property
    def sample(self) -> int:
        """The chosen sample."""
        return int(self.samples.chosen[0])

    @property
    def ranked(self) -> list[Ranked]:
        """What can be the target for this sample, best first."""
        return self._ranked

    @property
    def target(self) -> Ranked:
        """The chosen target."""
        chosen: int = self.classes.value
        return self._ranked[chosen]

    def question(self) -> Question:
        """The question as the controls have it.

        Raises
        ------
        InputError
            If a parameter of the method does not fit.
        """
        method = self.method.method()
        return Question(
            sample=self.sample,
            output=self.output.value,
            target=self.target.target,
            method=method,
            references=self.picker.value if method.needs_background else None,
            providers=self.provider.value,
        )

    # --- changes ---------------------------------------------------------------------------------

    def _on_change(self, _: Any = None) -> None:
        if not self._quiet:
            self._show_references()
            self._changed()

    def _on_class(self, change: Any) -> None:
        if change["new"] is not None:
            self.picker.forget_outputs()
            self._on_change()

    def _on_sample(self, _: Any) -> None:
        self._quiet = True
        try:
            self._rank()
            self.picker.show(self._sets())
        finally:
            self._quiet = False
        self._on_change()

    def _on_output(self, _: Any) -> None:
        self._on_sample(None)

    def _show_references(self) -> None:
        """Methods that compare with nothing need no references."""
        needed = self.method.form.needs_background
        self._references.layout.display = "" if needed else "none"

    def _sets(self) -> list[Any]:
        return self._study.sets(self.sample, self.output.value)

    def _pictures(self, references: ReferenceSet) -> Sequence[Tile]:
        if references.size > PICTURED:
            return numbered(references)
        return self._study.samples.tiles_of(references.arrays, like=self.sample)

    # --- classes ---------------------------------------------------------------------------------

    def _rank(self) -> None:
        """Rank the classes anew; the list begins at the first."""
        self._ranked = self._study.predict(self.sample, self.output.value)
        self.search.value = ""
        self.classes.index = None
        self._list()

    def _list(self) -> None:
        """List the classes that fit the search, the chosen one always among them."""
        words = self.search.value.lower().split()
        fitting = [
            k
            for k, one in enumerate(self._ranked)
            if all(w in one.label.lower() or w == str(one.index) for w in words)
        ][:SHOWN]
        before, quiet = self.classes.value, self._quiet
        keep = before if before is not None else 0
        if keep not in fitting:
            fitting = [keep, *fitting] if before is not None else fitting or [0]
        self._quiet = True
        try:
            self.classes.options = [(spelt(self._ranked[k]), k) for k in fitting]
            self.classes.value = keep if keep in fitting else fitting[0]
        finally:
            self._quiet = quiet


class MethodPicker(W.VBox):  # type: ignore[misc]
    """A method and a field for each of its parameters, made from its class."""

    def __init__(self, changed: Callable[[Any], None]) -> None:
        self.forms = {form.name: form for form in methods()}
        self._changed = changed
        self._fields: dict[str, dict[str, W.Widget]] = {}
        titles = [(form.title, form.name) for form in self.forms.values()]
        self.menu = choice("Method", titles, value="deepshap")
        self._about = line()
        self._box = W.VBox()
        super().__init__([self.menu, self._box, self._about])
        self.menu.observe(self._on_menu, "value")
        self._open()

    @property
    def form(self) -> MethodForm:
        """The chosen method."""
        return self.forms[self.menu.value]

    def method(self, name: str | None = None) -> Method:
        """The chosen method, or another by name, with its parameters as they stand."""
        form = self.form if name is None else self.forms[name]
        values = {n: field.value for n, field in self._fields_of(form).items()}
        return form.make(**values)

    def _fields_of(self, form: MethodForm) -> dict[str, W.Widget]:
        if form.name not in self._fields:
            made = {p.name: _field(p) for p in form.parameters}
            for one in made.values():
                one.observe(self._changed, "value")
            self._fields[form.name] = made
        return self._fields[form.name]

    def _on_menu(self, change: Any) -> None:
        self._open()
        self._changed(change)

    def _open(self) -> None:
        fields = self._fields_of(self.form)
        self._box.children = list(fields.values())
        write(self._about, self.form.doc, "muted")


def spelt(ranked: Ranked) -> str:
    """A class with its probability, or its score where there is none."""
    if ranked.probability is not None:
        return f"{ranked.label}  ·  {100 * ranked.probability:.3g} %"
    return f"{ranked.label}  ·  {ranked.detail or f'{ranked.score:.4g}'}"


def _field(parameter: Parameter) -> W.Widget:
    if parameter.choices:
        named: W.Widget = choice(
            parameter.name, parameter.choices, value=parameter.default, tooltip=parameter.doc
        )
        return named
    kinds: dict[type, Any] = {bool: W.Checkbox, int: W.IntText, float: W.FloatText}
    made = kinds[parameter.type](
        value=parameter.default,
        description=parameter.name,
        tooltip=parameter.doc,
        **({"indent": False} if parameter.type is bool else {"continuous_update": False}),
    )
    made.add_class("oxa-field")
    return made


def _providers() -> list[tuple[str, tuple[str, ...] | None]]:
    """Providers that can run here; by default CUDA where a device answers."""
    found = choose(None)
    names = {CPU: "CPU"}
    if found == [CPU]:
        return [("CPU", (CPU,))]
    every = [(names.get(p, p.removesuffix("ExecutionProvider")), (p,)) for p in found]
    return [("fastest available", None), *every]
