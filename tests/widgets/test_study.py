"""The study: outputs and their logits, rankings, sets, and explainers that are built once."""

import gc
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
import pytest

import onnxshap.explainer
from onnxshap import Explainer, InputError, methods
from onnxshap.runtime.session import Session
from onnxshap_widgets import study as module
from onnxshap_widgets.explorer.ask import _field
from onnxshap_widgets.forms import _form
from onnxshap_widgets.outputs import class_axis
from onnxshap_widgets.references import ReferenceSet
from onnxshap_widgets.study import (
    Output,
    Question,
    Study,
    Summed,
    advice,
    facts,
)
from tests.helpers import models

DEEPSHAP = methods.DeepShap()


def study_of(model: onnx.ModelProto, count: int = 3, **options: Any) -> Study:
    return Study(model, models.samples(model, count), **options)


def logits_then(*after: onnx.NodeProto, outputs: dict[str, Any], **held: np.ndarray) -> Any:
    """An MLP's logits, [N, 3], and what comes after."""
    held |= models.weights(1, w0=(6, 4), w1=(3, 6))
    nodes = [
        models.node("Gemm", ["x", "w0"], ["h"], "fc0", transB=1),
        models.node("Relu", ["h"], ["r"], "relu"),
        models.node("Gemm", ["r", "w1"], ["z"], "fc1", transB=1),
        *after,
    ]
    return models.graph(nodes, {"x": (np.float32, ["N", 4])}, outputs, held)


PROB = {"prob": (np.float32, ["N", 3])}


@pytest.fixture(scope="module")
def softmaxed() -> Study:
    return study_of(models.cnn(softmax=True), 6, labels=["a", "b", "c", "d", "e"])


# Outputs ------------------------------------------------------------------------------------------


def test_logits_come_before_the_probabilities_made_of_them(softmaxed: Study) -> None:
    assert softmaxed.outputs() == [
        Output("logits", "logits of prob", "softmax"),
        Output("prob", "prob (softmax)", "as they are"),
    ]


@pytest.mark.parametrize(
    ("operator", "inner", "own"),
    [
        ("Softmax", "softmax", "as they are"),
        ("LogSoftmax", "softmax", "exp"),
        ("Sigmoid", "sigmoid", "as they are"),
    ],
)
def test_logits_are_found_behind_nodes_that_only_reshape(
    operator: str, inner: str, own: str
) -> None:
    study = study_of(
        logits_then(
            models.node(operator, ["z"], ["p"], "squash"),
            models.node("Unsqueeze", ["p", "axes"], ["wide"], "wide"),
            models.node("Identity", ["wide"], ["prob"], "named"),
            outputs={"prob": (np.float32, ["N", 3, 1])},
            axes=np.array([2]),
        )
    )
    assert [(o.name, o.probability) for o in study.outputs()] == [("z", inner), ("prob", own)]
    inside, outside = (study.predict(0, o.name) for o in study.outputs())
    assert [r.target for r in inside] == [r.target for r in outside]
    for a, b in zip(inside, outside, strict=True):
        assert a.probability == pytest.approx(b.probability, abs=1e-6)


def test_a_chosen_class_leads_to_the_scores_it_is_chosen_from() -> None:
    study = study_of(
        logits_then(
            models.node("ArgMax", ["z"], ["label"], "choose", axis=1, keepdims=0),
            outputs={"label": (np.int64, ["N"])},
        )
    )
    assert [o.name for o in study.outputs()] == ["z"]


def test_several_outputs_are_listed_once_each() -> None:
    study = study_of(
        logits_then(
            models.node("Softmax", ["z"], ["prob"], "softmax", axis=1),
            models.node("ArgMax", ["prob"], ["label"], "choose", axis=1, keepdims=0),
            outputs=PROB | {"z": (np.float32, ["N", 3]), "label": (np.int64, ["N"])},
        )
    )
    names = [o.name for o in study.outputs()]
    assert names == ["z", "prob"]


def test_what_has_no_rule_is_left_out_unless_nothing_else_is_there() -> None:
    strange = models.node("Mystery", ["r"], ["odd"], "odd", domain="com.acme")
    held = models.weights(1, w0=(6, 4), w1=(3, 6))
    nodes = [
        models.node("Gemm", ["x", "w0"], ["h"], "fc0", transB=1),
        models.node("Relu", ["h"], ["r"], "relu"),
        models.node("Gemm", ["r", "w1"], ["z"], "fc1", transB=1),
        strange,
    ]
    ends = {"odd": (np.float32, ["N", 6]), "z": (np.float32, ["N", 3])}
    inputs = {"x": (np.float32, ["N", 4])}
    both = models.graph(nodes, inputs, ends, held, domains=["com.acme"])
    assert [o.name for o in study_of(both).outputs()] == ["z"]
    assert [o.name for o in study_of(models.unsupported("odd")).outputs()] == ["v1"]


def test_a_model_of_whole_numbers_has_no_output_to_explain() -> None:
    study = study_of(
        logits_then(
            models.node("Cast", ["z"], ["whole"], "whole", to=onnx.TensorProto.INT64),
            outputs={"whole": (np.int64, ["N", 3])},
        )
    )
    with pytest.raises(InputError, match="no float output"):
        study.outputs()


def test_a_softmax_of_the_input_itself_offers_no_logits() -> None:
    ends = {"x": (np.float32, ["N", 3])}, PROB
    model = models.graph([models.node("Softmax", ["x"], ["prob"], axis=1)], *ends, {})
    assert [o.name for o in study_of(model).outputs()] == ["prob"]


# Predictions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.SUPPORTED)
def test_predictions_are_onnxruntimes_own(name: str) -> None:
    model = models.SUPPORTED[name]()
    study = study_of(model, 2)
    output = model.graph.output[0].name
    mixing = "batch" in name and "over" in name
    expected = models.each(model, models.samples(model, 2))
    for i in range(2):
        found = study.value(i, output)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected[i], rtol=1e-3 if mixing else 1e-5, atol=1e-5)
        ranked = study.predict(i, output)
        assert ranked
        assert study.value(i, output) is found


def test_classes_are_ranked(softmaxed: Study) -> None:
    scores = softmaxed.value(1, "logits")
    ranked = softmaxed.predict(1, "logits")
    assert [r.target for r in ranked] == np.argsort(-scores).tolist()
    assert [r.label for r in ranked] == ["abcde"[r.index] for r in ranked]
    assert ranked[0].score == pytest.approx(scores.max())
    np.testing.assert_allclose(
        [r.probability for r in ranked],
        [r.probability for r in softmaxed.predict(1, "prob")],
        atol=1e-6,
    )
    assert sum(r.probability or 0 for r in ranked) == pytest.approx(1)


def test_bare_scores_are_probabilities_only_with_class_names() -> None:
    model = models.mlp()
    model.graph.output[0].name = model.graph.node[-1].output[0] = "score"
    assert study_of(model).predict(0, "score")[0].probability is None
    assert study_of(model, labels="xyz").predict(0, "score")[0].probability is not None
    assert study_of(models.mlp()).outputs()[0].probability == "softmax"  # they are called logits


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, ["class 0", "class 1", "class 2"]),
        (["one"], ["one", "class 1", "class 2"]),
        (["one", "", "three", "four", "five"], ["one", "class 1", "three"]),
        ({1: "one", 17: "more"}, ["class 0", "one", "class 2"]),
        (["a\nb", "<img src=x>", 3], ["a b", "<img src=x>", "3"]),
    ],
)
def test_labels_may_be_fewer_or_more_than_classes(labels: Any, expected: list[str]) -> None:
    ranked = study_of(models.mlp(), labels=labels).predict(0, "logits")
    assert [r.label for r in sorted(ranked, key=lambda r: r.index)] == expected


def test_one_number_stands_for_the_second_of_two_labels() -> None:
    study = study_of(models.one_number(), labels=["healthy", "ill"])
    (only,) = study.predict(0, "score")
    assert (only.target, only.label) == (0, "ill")
    assert only.score == pytest.approx(float(study.value(0, "score")))
    assert study_of(models.one_number()).predict(0, "score")[0].label == "class 0"


def test_a_dense_output_offers_sums_of_classes_and_its_largest_element() -> None:
    study = study_of(models.dense(), labels=["sky", "road", "tree", "car"])
    value = study.value(0, "classes")
    *sums, largest = study.predict(0, "classes")
    places = np.bincount(value.reshape(4, -1).argmax(0), minlength=4)
    assert [r.index for r in sums] == sorted(range(4), key=lambda c: -places[c])
    for ranked in sums:
        assert ranked.score == pytest.approx(value[ranked.index].sum())
        assert ranked.target == Summed(ranked.index, 0)
        assert ranked.detail == f"largest at {places[ranked.index]} of 36 places"
        assert ranked.label.endswith(", sum over all places")
    assert largest.target == np.unravel_index(value.argmax(), value.shape)
    assert largest.score == value.max()


@pytest.mark.parametrize(
    ("shape", "labels", "axis"),
    [
        ((4, 6, 6), None, 0),
        ((6, 6, 4), None, 2),
        ((1, 6, 6), None, 0),
        ((6, 6, 6), None, 0),
        ((12, 5), None, 1),
        ((5, 12), None, 1),
        ((5, 12), 5, 0),
        ((9, 6, 8), 8, 2),
        ((6, 6, 6), 6, 0),
    ],
)
def test_the_axis_of_classes(shape: tuple[int, ...], labels: int | None, axis: int) -> None:
    names = None if labels is None else [str(i) for i in range(labels)]
    assert class_axis(shape, names) == axis


def test_summed_weights_are_one_where_the_class_is() -> None:
    assert Summed(1, 0).weights((3, 2)).tolist() == [[0, 0], [1, 1], [0, 0]]
    assert Summed(1, 1).weights((3, 2)).tolist() == [[0, 1]] * 3


def test_an_unknown_output_is_named() -> None:
    with pytest.raises(InputError, match='no value "nothing"; its outputs are logits'):
        study_of(models.mlp()).predict(0, "nothing")


# Reference sets -----------------------------------------------------------------------------------


def names(sets: list[ReferenceSet]) -> list[str]:
    return [s.name for s in sets]


def test_ready_made_sets_go_by_the_form() -> None:
    assert names(study_of(models.cnn(), 3).sets(0)) == [
        "blurred",
        "zeros",
        "mean",
        "noise",
        "other samples",
    ]
    assert names(study_of(models.cnn(), 1).sets(0)) == ["blurred", "zeros", "noise"]
    assert names(study_of(models.mlp(), 3).sets(0)) == ["zeros", "mean", "noise", "other samples"]
    assert names(study_of(models.mlp(), 1).sets(0)) == ["zeros"]
    assert names(study_of(models.side_input(), 3).sets(0))[0] == "zeros"


def test_own_sets_come_first() -> None:
    x = np.ones((2, 30), np.float32)
    assert names(study_of(models.mlp(), 1, sets={"mine": x}).sets(0)) == ["mine", "zeros"]


def test_sets_are_made_once_and_those_of_the_sample_are_marked() -> None:
    study = study_of(models.cnn(), 3)
    first, again, other = study.sets(0), study.sets(0), study.sets(1)
    assert [s.sample for s in first] == [0, None, None, None, 0]
    for a, b, c in zip(first, again, other, strict=True):
        assert a is b
        assert (a is c) == (a.sample is None)
        assert a.size <= 10


def test_sets_of_a_class_are_samples_the_model_takes_for_it() -> None:
    model = models.cnn()
    samples = {"image": 3 * models.samples(model, 30)["image"]}
    study = Study(model, samples, labels=list("abcde"))
    classes = [int(study.value(i, "logits").argmax()) for i in range(30)]
    made = [s for s in study.sets(4, "logits") if s.name.startswith("predicted ")]
    assert len(made) >= 2
    own = samples["image"]
    for one in made:
        index = "abcde".index(one.name[-1])
        rows = [int(np.flatnonzero((own == r).all((1, 2, 3)))[0]) for r in one.arrays["image"]]
        assert 4 not in rows
        assert {classes[r] for r in rows} == {index}
    again = [s for s in study.sets(4, "logits") if s.name.startswith("predicted ")]
    assert all(a is b for a, b in zip(made, again, strict=True))


def test_dense_outputs_and_many_samples_have_no_sets_of_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not [n for n in names(study_of(models.dense()).sets(0, "classes")) if "predicted " in n]
    monkeypatch.setattr(module, "_CLASSED", 2)
    assert not [n for n in names(study_of(models.mlp()).sets(0, "logits")) if "predicted " in n]


def test_only_the_sets_of_the_last_samples_are_kept() -> None:
    study = study_of(models.cnn(), count=12)
    for sample in range(12):
        study.sets(sample, "logits")
    assert {one.sample for one in study._sets.values()} == {None, 8, 9, 10, 11}


def test_a_set_of_the_users_stands_for_the_ready_made_one_of_its_name() -> None:
    model = models.mlp()
    own = models.samples(model, 5)
    study = Study(model, models.samples(model, 3), {"zeros": own["x"]})
    found = [s for s in study.sets(0, "logits") if s.name == "zeros"]
    assert [s.size for s in found] == [5]


# Explainers ---------------------------------------------------------------------------------------


class Builds:
    """Counts what is built: programs and sessions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs, original = 0, onnxshap.explainer.Engine

        def counting(*arguments: Any) -> Any:
            self.programs += 1
            return original(*arguments)

        monkeypatch.setattr(onnxshap.explainer, "Engine", counting)

    @property
    def both(self) -> tuple[int, int]:
        return self.programs, Session.count


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Builds:
    return Builds(monkeypatch)


def last(study: Study, question: Question) -> Any:
    *_, final = study.stream(question)
    assert final.complete
    return final


def test_the_answer_is_the_explainers_own(softmaxed: Study) -> None:
    references = softmaxed.sets(2)[0]
    found = last(softmaxed, Question(2, "logits", [1, 3], DEEPSHAP, references))
    explainer = Explainer(softmaxed.model, dict(references.arrays), target=[1, 3], output="logits")
    expected = explainer(softmaxed.samples.feeds(2))
    np.testing.assert_allclose(found.attributions, expected.attributions, atol=1e-6)
    np.testing.assert_allclose(found.outputs[0], softmaxed.value(2, "logits")[[1, 3]], rtol=1e-5)


def test_nothing_is_rebuilt_for_another_sample_set_or_target(builds: Builds) -> None:
    study = study_of(models.cnn(), 4)
    sets = study.sets(0)
    last(study, Question(0, "logits", 0, DEEPSHAP, sets[0]))
    study.predict(0, "logits")
    before = builds.both
    assert before[0] == 1
    for sample in range(2):
        for references in study.sets(sample, "logits"):
            for target in (1, "top2", [0, 2], (3,)):
                last(study, Question(sample, "logits", target, DEEPSHAP, references))
        last(study, Question(sample, "logits", 1, DEEPSHAP, sets[0].taking([0, 3])))
    assert builds.both == before
    last(study, Question(0, "logits", 0, methods.Gradient()))
    assert builds.programs == 2
    last(study, Question(0, "logits", 0, methods.IntegratedGradients(steps=8), sets[0]))
    last(study, Question(0, "logits", 0, methods.IntegratedGradients(steps=16), sets[0]))
    assert builds.programs == 4
    last(study, Question(0, "logits", 0, methods.IntegratedGradients(steps=8), sets[1]))
    assert builds.programs == 4


def test_another_target_does_not_repeat_the_references_work() -> None:
    study = study_of(models.cnn(), 2)
    first, second = study.sets(0)[:2]
    explainer = study.explainer(Question(0, "logits", 0, DEEPSHAP, first))
    last(study, Question(0, "logits", 0, DEEPSHAP, first))
    runs = explainer._engine.compiled.runs("reference")
    assert runs > 0
    last(study, Question(1, "logits", 3, DEEPSHAP, first))
    assert explainer._engine.compiled.runs("reference") == runs
    last(study, Question(0, "logits", 3, DEEPSHAP, second))
    assert explainer._engine.compiled.runs("reference") > runs


def test_only_the_last_few_sets_keep_their_activations() -> None:
    study = study_of(models.mlp(), 12)
    kept = []
    for i in range(12):
        question = Question(i, "logits", 0, DEEPSHAP, study.sets(i)[3])
        last(study, question)
        kept.append(weakref.ref(study.explainer(question)._background))
        last(study, Question(i, "logits", 0, methods.Gradient()))
    gc.collect()
    assert [background() is not None for background in kept] == [False] * 9 + [True] * 3


def test_only_the_last_few_explainers_are_kept(builds: Builds) -> None:
    study = study_of(models.mlp(), 2)
    references = study.sets(0)[0]

    def ask(steps: int, target: int = 0) -> None:
        method = methods.IntegratedGradients(steps=steps)
        study.explainer(Question(0, "logits", target, method, references))

    for steps in range(1, 12):
        ask(steps)
    assert builds.programs == 11
    assert len(study._first) == module._BUILT
    assert {bound[0] for bound in study._bound} <= set(study._first)
    ask(11, target=1)
    assert builds.programs == 11
    ask(1)
    assert builds.programs == 12


def test_inputs_without_references_are_held(builds: Builds) -> None:
    x = {"a": np.zeros((2, 4), np.float32)}
    study = study_of(models.two_inputs(), 2, sets={"held b": x})
    held, both = study.sets(0)[:2]
    found = last(study, Question(0, "y", 0, DEEPSHAP, held))
    assert found.attributions.shape == (1, 4)
    found = last(study, Question(0, "y", 0, DEEPSHAP, both))
    assert set(found.attributions) == {"a", "b"}
    last(study, Question(1, "y", 1, DEEPSHAP, held))
    assert builds.programs == 2


def test_a_sum_of_a_class_is_explained() -> None:
    study = study_of(models.dense(), 2)
    target = study.predict(0, "classes")[0].target
    assert isinstance(target, Summed)
    question = Question(0, "classes", target, DEEPSHAP, study.sets(0)[0])
    found = last(study, question)
    total = study.value(0, "classes")[target.index].sum()
    assert found.outputs[0] == pytest.approx(total, rel=1e-5)
    assert abs(found.residual[0]) < 1e-4 * abs(total)
    assert study.reference_outputs(question).mean() == pytest.approx(found.base_values[0])


@pytest.mark.parametrize("name", models.SUPPORTED)
def test_every_model_can_be_asked(name: str) -> None:
    study = study_of(models.SUPPORTED[name](), 2)
    output = study.outputs()[0].name
    best = study.predict(1, output)[0]
    question = Question(1, output, best.target, DEEPSHAP, study.sets(1)[0])
    found = last(study, question)
    assert found.outputs[0] == pytest.approx(best.score, rel=1e-2, abs=1e-3)
    at_references = study.reference_outputs(question)
    assert at_references.shape == (study.sets(1)[0].size,)
    assert at_references.mean() == pytest.approx(found.base_values[0], rel=1e-2, abs=1e-3)


def test_a_method_that_compares_needs_a_set_and_another_ignores_it() -> None:
    study = study_of(models.mlp())
    with pytest.raises(InputError, match="method 'deepshap' needs some; choose a set"):
        study.explainer(Question(0, "logits", 0, DEEPSHAP))
    found = last(study, Question(0, "logits", 0, methods.Gradient(), study.sets(0)[0]))
    assert found.references == 0
    with pytest.raises(InputError, match="has none"):
        study.reference_outputs(Question(0, "logits", 0, methods.Gradient()))


def test_questions_that_are_equal_are_equal() -> None:
    study = study_of(models.mlp(), 2)
    references = study.sets(0)[0]
    copy = ReferenceSet(references.name, references.arrays)
    asked = Question(0, "logits", [1, 2], methods.IntegratedGradients(steps=4), references)
    same = Question(0, "logits", [1, 2], methods.IntegratedGradients(steps=4), copy)
    assert asked == same
    assert asked != Question(0, "logits", [1, 2], methods.IntegratedGradients(), references)


def test_partial_results_come_before_the_last() -> None:
    study = study_of(models.deep(2, 64), 200, max_memory=2**18)
    references = ReferenceSet("many", {"v0": study.samples.arrays["v0"][1:]})
    found = list(study.stream(Question(0, "v2", 0, DEEPSHAP, references)))
    assert len(found) > 2
    assert [f.complete for f in found] == [False] * (len(found) - 1) + [True]
    counts = [f.references for f in found]
    assert counts == sorted(set(counts))


# Facts --------------------------------------------------------------------------------------------


def test_facts_stand_beside_a_map() -> None:
    study = study_of(models.cnn(), 4)
    references = study.sets(0)[0]
    question = Question(0, "logits", [2, 1], DEEPSHAP, references)
    found = last(study, question)
    told = dict(facts(question, found, 1))
    assert list(told) == [
        "output",
        "f(x)",
        "base value",
        "sum",
        "residual",
        "method",
        "references",
        "standard error",
        "for 10 %",
    ]
    assert told["f(x)"] == f"{study.value(0, 'logits')[1]:+.4g}"
    assert told["method"] == "deepshap"
    assert told["references"] == f"blurred, 9 references, {references.short_hash}"
    error = found.relative_standard_error()[0, 1]
    assert told["standard error"] == f"{100 * error:.0f} % of the map"
    assert told["for 10 %"] == advice(error, 9)


def test_facts_of_methods_that_compare_with_nothing_name_no_set() -> None:
    study = study_of(models.mlp())
    question = Question(0, "logits", 0, methods.SmoothGrad(samples=3), study.sets(0)[0])
    told = dict(facts(question, last(study, question)))
    assert list(told) == ["output", "f(x)", "sum", "method"]
    assert told["method"] == "smoothgrad (samples 3, noise 0.15, seed 0)"


def test_facts_of_a_partial_result_say_so() -> None:
    study = study_of(models.deep(2, 64), 200, max_memory=2**18)
    references = ReferenceSet("many", {"v0": study.samples.arrays["v0"][1:]})
    question = Question(0, "v2", 0, DEEPSHAP, references)
    partial = next(study.stream(question))
    told = dict(facts(question, partial))["references"]
    assert told.startswith(f"many, {partial.references} of 199 references, ")


def test_a_note_is_a_fact() -> None:
    study = study_of(models.mlp())
    question = Question(0, "logits", 0, methods.XGradient(force=True))
    assert "completeness is not promised" in dict(facts(question, last(study, question)))["note"]


@pytest.mark.parametrize(
    ("error", "references", "said"),
    [
        (0.43, 9, "about 170 references"),
        (1.0, 10, "about 1 000 references"),
        (12.3, 10, "about 160 000 references"),
        (0.11, 10, "about 13 references"),
        (0.1, 10, "reached"),
        (0.0, 10, "reached"),
        (0.3, 0, "about 1 reference"),
    ],
)
def test_advice_falls_with_the_root_of_the_number(error: float, references: int, said: str) -> None:
    assert advice(error, references) == said


# Methods ------------------------------------------------------------------------------------------


def test_every_method_is_listed_with_its_parameters() -> None:
    listed = {m.name: m for m in module.methods()}
    assert set(listed) == set(methods._METHODS)
    for form in listed.values():
        made = form.make()
        assert made.needs_background == form.needs_background
        assert form.title
        assert form.doc.endswith(".")
        assert "`" not in form.doc
        for parameter in form.parameters:
            assert getattr(made, parameter.name) == parameter.default
            assert type(parameter.default) is parameter.type
            assert "`" not in parameter.doc
    assert [p.name for p in listed["smoothgrad"].parameters] == ["samples", "noise", "seed"]
    assert listed["integrated_gradients"].make(steps=7) == methods.IntegratedGradients(7)
    with pytest.raises(InputError, match="steps=0"):
        listed["integrated_gradients"].make(steps=0)


def test_a_parameter_of_a_few_names_lists_them() -> None:
    @dataclass(frozen=True)
    class Named:
        """Does one thing. ``way`` says how."""

        way: Literal["left", "right"] = "left"
        times: int = 1
        name: ClassVar[str] = "named"
        needs_background: ClassVar[bool] = False

    way, times = _form(Named).parameters
    assert (way.default, way.choices, way.doc) == ("left", ("left", "right"), "way says how.")
    assert times.choices == ()
    field = _field(way)
    assert field.options == ("left", "right")
    assert field.value == "left"
