"""A study: a model, its samples and references, what can be asked of them, and the explainers.

No widget in here: everything can be used, and tested, in a script.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxshap.errors import InputError, OnnxShapError
from onnxshap.explainer import Explainer, Stream
from onnxshap.explanation import Explanation, counted
from onnxshap.graph.batch import analyse, batched_inputs
from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.graph.partition import extract
from onnxshap.methods import Method
from onnxshap.plot.panels import facts as panel_facts
from onnxshap.plot.panels import number, percent
from onnxshap.report import check
from onnxshap.runtime.session import Session
from onnxshap.runtime.workers import Workers
from onnxshap.targets import Target, TargetSpec
from onnxshap_widgets import references as makers
from onnxshap_widgets.forms import MethodForm, Parameter, methods
from onnxshap_widgets.outputs import (
    Labels,
    Output,
    Ranked,
    Summed,
    candidates,
    is_vector,
    label_of,
    ranked,
)
from onnxshap_widgets.references import ReferenceSet, named_sets
from onnxshap_widgets.samples import Preprocess, Samples

__all__ = [
    "Labels",
    "MethodForm",
    "Output",
    "Parameter",
    "Question",
    "Ranked",
    "Study",
    "Summed",
    "advice",
    "facts",
    "methods",
]

GOAL = 0.1
"""Relative standard error at which a map is called settled."""
MEMORY = 512 * 2**20
"""Bytes to plan explanations within."""
FEW = 2
"""References between two partial explanations: the first is soon there, and none costs more."""
_BUILT = 8  # explainers, each with its sessions
_KEPT = 3  # of their siblings, each with its references' activations: up to half of MEMORY
_VALUES = 1024  # outputs of samples
_RECENT = 4  # samples, the last ones, whose own sets are kept
_CLASSED = 32  # samples, at most, that are run to make sets of classes
_CLASSES = 10  # sets of classes, at most


@dataclass(frozen=True)
class Question:
    """What is asked of a `Study`; two that are equal have the same answer."""

    sample: int
    output: str
    target: int | tuple[int, ...] | str | list[Any] | Summed
    method: Method
    references: ReferenceSet | None = None
    """None for methods that compare with nothing."""
    providers: tuple[str, ...] | None = None


class Study:
    """A model with samples and references: predictions, and explainers that are made once.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
    samples : Samples, or what `Samples.of` takes
    sets : array, ReferenceSet, list or dict of them, optional
        The user's own references, listed before the ready-made ones.
    labels : sequence or mapping of str, optional
        Name of each class.
    preprocess : callable, optional
        As for `Samples.of`.
    max_memory : int
        As for `Explainer`; a quarter of its default, since several explainers are kept.
    """

    def __init__(
        self,
        model: ModelSource | Model,
        samples: Any,
        sets: Any = None,
        labels: Labels = None,
        *,
        preprocess: Preprocess | None = None,
        max_memory: int = MEMORY,
    ) -> None:
        self.model = load(model)
        given = isinstance(samples, Samples)
        self.samples: Samples = (
            samples if given else Samples.of(self.model, samples, preprocess=preprocess)
        )
        self.labels = labels
        self._own_sets = named_sets(sets, self.samples)
        self._max_memory = max_memory
        # Two locks: who looks at predictions does not wait while an explainer is built.
        self._lock, self._building = threading.RLock(), threading.Lock()
        self._outputs: list[Output] | None = None
        self._sessions: dict[str, tuple[Session, int | None]] = {}
        self._workers = Workers(1)
        self._values: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._sets: dict[tuple[str, int | None], ReferenceSet] = {}
        self._recent: list[int] = []
        self._first: OrderedDict[Any, Explainer] = OrderedDict()
        self._bound: OrderedDict[Any, Explainer] = OrderedDict()

    # --- outputs ---------------------------------------------------------------------------------

    def outputs(self) -> list[Output]:
        """Values to explain, the logits before a Softmax or Sigmoid ahead of their probabilities.

        What onnxshap has no rules for is left out, unless nothing else is there: the explainer
        then says what is missing.
        """
        with self._lock:
            if self._outputs is None:
                found = candidates(self.model.normalised.graph, self.labels)
                self._outputs = [o for o in found if self._explainable(o.name)] or found
                if not self._outputs:
                    raise InputError(
                        "the model has no float output, and none of its outputs is chosen from "
                        "float values; there is nothing to explain"
                    )
            return list(self._outputs)

    def output(self, name: str) -> Output:
        """One of `outputs` by its name; any other value of the model by its own."""
        return next((o for o in self.outputs() if o.name == name), Output(name, name))

    def _explainable(self, name: str) -> bool:
        try:
            return check(self.model, output=name).ok
        except OnnxShapError:
            return False

    # --- predictions -----------------------------------------------------------------------------

    def value(self, sample: int, output: str) -> np.ndarray:
        """Output of one sample, float64 [*output], from onnxruntime alone."""
        with self._lock:
            key = output, sample
            if key not in self._values:
                self._values[key] = self._run(self.samples.feeds(sample), output)
                while len(self._values) > _VALUES:
                    self._values.popitem(last=False)
            return self._values[key]

    def _run(self, feeds: Mapping[str, np.ndarray], output: str) -> np.ndarray:
        graph = self.model.normalised.graph
        with self._lock:
            if output not in self._sessions:
                value = self._named(output)
                model = extract(self.model.normalised, list(graph.inputs), [value])
                data = ir.serde.serialize_model(model).SerializeToString()
                session = Session(data, None, self._workers, f'model up to "{output}"')
                axis = analyse(graph, list(graph.inputs), True, value).batch_axis(value)
                self._sessions[output] = session, axis
        session, axis = self._sessions[output]
        batched = {v.name for v in batched_inputs(graph)}
        own = {name: a if name in batched else a[0] for name, a in feeds.items()}
        found = np.asarray(session.run(own, [output])[output].numpy())
        if batched and axis is not None:
            found = np.moveaxis(found, axis, 0)[0]
        return found.astype(np.float64)

    def _named(self, name: str) -> ir.Value:
        graph = self.model.normalised.graph
        for node in graph:
            for value in node.outputs:
                if value.name == name:
                    return value
        listed = ", ".join(str(v.name) for v in graph.outputs)
        raise InputError(f'output: the model has no value "{name}"; its outputs are {listed}')

    def predict(self, sample: int, output: str) -> list[Ranked]:
        """Rank what can be the target, best first.

        For a vector the classes. For a dense output, one with several long axes, the sum of each
        class over all places, by the number of places where it is the largest; then the largest
        element.
        """
        return ranked(self.value(sample, output), self.output(output), self.labels)

    def label(self, index: int, classes: int | None = None) -> str:
        """Name of a class; "class 17" where the labels have none.

        One number with two labels stands for the second of them, as from a Sigmoid.
        """
        return label_of(self.labels, index, classes)

    # --- references ------------------------------------------------------------------------------

    def sets(self, sample: int, output: str | None = None) -> list[ReferenceSet]:
        """The user's sets, then the ready-made ones that make sense here.

        Those with ``sample`` set were made from, or without, this sample: ask again for another.
        The rest, and those of the samples asked for last, are the same objects each time. A
        ready-made set makes way for one of the user's of its name. With
        ``output``, also samples by the class the model takes them for.
        """
        samples, image = self.samples, self.samples.form == "image"
        many = samples.count > 1
        recipes: list[tuple[str, int | None, Callable[[], ReferenceSet]]] = []
        if image:
            recipes.append(("blurred", sample, lambda: makers.blurred(samples, sample)))
        recipes.append(("zeros", None, lambda: makers.zeros(samples)))
        if many:
            recipes.append(("mean", None, lambda: makers.mean(samples)))
        if image or many:
            recipes.append(("noise", None, lambda: makers.noise(samples)))
        if many:
            recipes.append(("others", sample, lambda: makers.others(samples, sample)))
        ready = []
        with self._lock:
            self._forget_sets(sample)
            for name, of, make in recipes:
                if (name, of) not in self._sets:
                    self._sets[name, of] = make()
                ready.append(self._sets[name, of])
        if output is not None and many:
            ready += self._class_sets(sample, output)
        taken = {one.name for one in self._own_sets}
        return [*self._own_sets, *(one for one in ready if one.name not in taken)]

    def _forget_sets(self, sample: int) -> None:
        """Keep the sets of the samples asked for last: each holds some copies of samples."""
        self._recent = [*(s for s in self._recent if s != sample), sample][-_RECENT:]
        for key in [k for k in self._sets if k[1] is not None and k[1] not in self._recent]:
            del self._sets[key]

    def _class_sets(self, sample: int, output: str) -> list[ReferenceSet]:
        """One set for each class that at least two samples, or one other, are taken for."""
        if self.samples.count > _CLASSED:
            return []
        values = [self.value(i, output) for i in range(self.samples.count)]
        if values[0].size < 2 or not is_vector(values[0].shape):
            return []
        classes = [int(v.argmax()) for v in values]
        found = []
        for index in sorted(set(classes), key=lambda c: (-classes.count(c), c)):
            if classes.count(index) - (classes[sample] == index) < 1:
                continue
            key = f"class {index} of {output}", sample
            with self._lock:
                if key not in self._sets:
                    label = self.label(index, values[0].size)
                    made = makers.per_class(self.samples, classes, label, index, sample)
                    self._sets[key] = made
                found.append(self._sets[key])
        return found[:_CLASSES]

    def reference_outputs(
        self, question: Question, stopped: Callable[[], bool] = lambda: False
    ) -> np.ndarray:
        """Target output at every reference, float64 [M]; of several targets, the first.

        Asked before each run, ``stopped`` ends it there.
        """
        if question.references is None:
            raise InputError("references: this question has none")
        own = self.value(question.sample, question.output)
        seed = Target(self.target(question), own.shape).seeds(own[None])[0, 0]
        held = self.samples.feeds(question.sample)
        arrays = question.references.arrays
        types = {name: array.dtype for name, array in held.items()}
        found = []
        for i in range(question.references.size):
            if stopped():
                break
            rows = {n: np.asarray(a[i : i + 1], types[n]) for n, a in arrays.items()}
            found.append(float((self._run(held | rows, question.output) * seed).sum()))
        return np.array(found)

    # --- explaining ------------------------------------------------------------------------------

    def explainer(self, question: Question) -> Explainer:
        """Return an explainer for a question; only the first of its kind is built.

        Other targets and other references of the same inputs are siblings of it: nothing is
        rebuilt, and the references' own work is kept for the sets used last.
        """
        background = question.references
        if not question.method.needs_background:
            background = None
        elif background is None:
            raise InputError(
                f"references: method {question.method.name!r} needs some; choose a set"
            )
        varying = None if background is None else frozenset(background.arrays)
        kind = question.output, question.method, question.providers, varying
        arrays = None if background is None else dict(background.arrays)
        target = self.target(question)
        with self._building:
            if kind not in self._first:
                self._build(kind, question, arrays, target)
            self._first.move_to_end(kind)
            if background is None or arrays is None:
                return self._first[kind].with_target(target)
            bound = kind, background.hash
            if bound not in self._bound:
                self._bound[bound] = self._first[kind].with_background(arrays)
            self._bound.move_to_end(bound)
            if len(self._bound) > _KEPT:
                self._bound.popitem(last=False)
            return self._bound[bound].with_target(target)

    def _build(
        self, kind: Any, question: Question, arrays: dict[str, np.ndarray] | None, target: Any
    ) -> None:
        self._first[kind] = Explainer(
            self.model,
            arrays,
            method=question.method,
            target=target,
            output=question.output,
            providers=None if question.providers is None else list(question.providers),
            max_memory=self._max_memory,
        )
        if len(self._first) > _BUILT:
            old, _ = self._first.popitem(last=False)
            for bound in [b for b in self._bound if b[0] == old]:
                del self._bound[bound]

    def target(self, question: Question) -> TargetSpec:
        """Target of a question as an `Explainer` takes it."""
        target = question.target
        if isinstance(target, Summed):
            return target.weights(self.value(question.sample, question.output).shape)
        return target

    def stream(self, question: Question) -> Stream:
        """Explain, and yield an `Explanation` after each few references."""
        feeds = self.samples.feeds(question.sample)
        return self.explainer(question).stream(feeds, chunk=FEW)


# --- facts ---------------------------------------------------------------------------------------


def facts(question: Question, explanation: Explanation, k: int = 0) -> list[tuple[str, str]]:
    """What must stand beside a map: pairs of label and text, for target ``k``."""
    found = panel_facts(explanation, None)[0][k]
    lines = [("output", question.output), ("f(x)", number(found.output))]
    if found.base_value is not None:
        lines.append(("base value", number(found.base_value)))
    lines.append(("sum", number(found.total)))
    if found.residual is not None:
        lines.append(("residual", f"{found.residual:+.1e}"))
    lines.append(("method", _spelt(question.method)))
    references = question.references if question.method.needs_background else None
    if references is not None:
        used = "" if explanation.complete else f"{explanation.references} of "
        size = used + counted(references.size)
        lines.append(("references", f"{references.name}, {size}, {references.short_hash}"))
    if found.error is not None:
        lines.append(("standard error", f"{percent(found.error)} of the map"))
        lines.append(("for 10 %", advice(found.error, explanation.references)))
    if explanation.note:
        lines.append(("note", explanation.note))
    return lines


def advice(error: float, references: int) -> str:
    """How many references would bring a relative standard error to 10 %: it falls by 1/sqrt(M)."""
    if error <= GOAL:
        return "reached"
    count = _two_digits(references * (error / GOAL) ** 2)
    return f"about {count:,} reference{'s' if count != 1 else ''}".replace(",", " ")


def _two_digits(value: float) -> int:
    """Round up to two digits: more would promise too much."""
    value = max(value, 1)
    step = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return int(math.ceil(value / step) * step)


def _spelt(method: Method) -> str:
    """Name of a method, and its parameters where there are any."""
    if not is_dataclass(method):
        return method.name
    values = {f.name: (getattr(method, f.name), f.default) for f in fields(method)}
    given = ", ".join(
        f"{name} {value}"
        for name, (value, default) in values.items()
        if not isinstance(value, str) or value != default  # what is chosen by default needs no word
    )
    return f"{method.name} ({given})" if given else method.name
