import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import onnxshap
from onnxshap import CompletenessWarning, Explainer, Explanation, InputError, OnnxShapWarning
from onnxshap import compiled as compiled_module
from onnxshap.autodiff.registry import multiplier
from onnxshap.compiled import Compiled
from onnxshap.runtime.session import Session
from onnxshap.runtime.workers import Stopped
from onnxshap.scoreboard.reference_ops import CORRECTED
from tests.helpers import models
from tests.helpers.compare import close
from tests.helpers.models import Arrays

TOLERANCE = {"float64": 1e-9, "float32": 1e-5, "float16": 5e-3}
MIXING = [name for name in models.SUPPORTED if "over the batch" in name]
SMALL = 2**19  # bytes of memory that make a dozen references of the cnn several chunks


def floats(arrays: Arrays) -> Arrays:
    return {name: a for name, a in arrays.items() if a.dtype.kind == "f"}


def background_for(model: onnx.ModelProto, count: int) -> Arrays:
    return floats(models.samples(model, count, seed=1))


def target_for(model: onnx.ModelProto) -> int | tuple[int, ...]:
    dims = model.graph.output[0].type.tensor_type.shape.dim
    alone = len(dims) == 1 and dims[0].dim_param
    return (2, 1, 4) if len(dims) == 4 else () if alone else 1


def sums(explanation: Explanation, arrays: object = None) -> np.ndarray:
    """Sum over features, float64; ``arrays``: other arrays laid out like the attributions."""
    found = explanation.attributions if arrays is None else arrays
    parts = list(found.values()) if isinstance(found, dict) else [found]
    lead = 1 if arrays is None else 2
    return sum(a.sum(tuple(range(lead, a.ndim)), dtype=np.float64) for a in parts)


def pairwise_outputs(model: onnx.ModelProto, x: Arrays, background: Arrays) -> np.ndarray:
    """f(r_j) [N, M]: references take side inputs from the explicand they meet."""
    pick = target_for(model)
    rows = []
    for i in range(len(next(iter(x.values())))):
        count = len(next(iter(background.values())))
        feeds = {k: background.get(k, np.repeat(a[i : i + 1], count, 0)) for k, a in x.items()}
        rows.append(models.each(model, feeds)[(slice(None), *np.atleast_1d(pick))])
    return np.array(rows)


def named_arrays(arrays: np.ndarray | Arrays) -> Arrays:
    return arrays if isinstance(arrays, dict) else {"": arrays}


@pytest.fixture(scope="module")
def background(cnn: onnx.ModelProto) -> np.ndarray:
    return models.samples(cnn, 12, seed=1)["image"]


@pytest.fixture(scope="module")
def explainer(cnn: onnx.ModelProto, background: np.ndarray) -> Explainer:
    return Explainer(cnn, background, target=2)


# Completeness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.SUPPORTED)
def test_attributions_sum_to_the_models_own_output_difference(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = models.SUPPORTED[name]()
    x, references = models.samples(model, 3), background_for(model, 4)
    target = target_for(model)
    explained = Explainer(model, references, target=target)(x, per_reference=True)

    f = models.each(model, x)[(slice(None), *np.atleast_1d(target))]
    f_r = pairwise_outputs(model, x, references)
    tolerance = TOLERANCE[next(iter(references.values())).dtype.name]
    total = sum(
        np.abs(a).reshape(3, -1).sum(1) for a in named_arrays(explained.attributions).values()
    )
    scale = np.maximum.reduce([np.abs(f), np.abs(f_r.mean(1)), total])
    gap = np.abs(sums(explained) - (f - f_r.mean(1)))
    assert (gap <= tolerance * scale).all()
    assert explained.residual is not None
    assert (np.abs(explained.residual) <= tolerance * scale).all()
    np.testing.assert_allclose(explained.outputs, f, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(explained.base_values, f_r.mean(1), rtol=tolerance, atol=tolerance)

    assert explained.per_reference is not None
    pairs = sums(explained, explained.per_reference)
    sizes = sum(
        np.abs(a.astype(float)).reshape(3, 4, -1).sum(2)
        for a in named_arrays(explained.per_reference).values()
    )
    pair_gap = np.abs(pairs - (f[:, None] - f_r))
    pair_scale = np.maximum.reduce([np.abs(f[:, None]) + 0 * f_r, np.abs(f_r), sizes])
    with capsys.disabled():
        worst = (pair_gap / pair_scale).max()
        print(f"\n  {name}: mean {np.max(gap / scale):.1e}, worst pair {worst:.1e}", end=" ")
    assert (pair_gap <= tolerance * pair_scale).all()


@pytest.mark.parametrize("name", ["cnn", "attention", "two_inputs", "side_input", *MIXING])
def test_a_single_reference_gives_its_share_of_the_mean(name: str) -> None:
    model = models.SUPPORTED[name]()
    x, references = models.samples(model, 2), background_for(model, 3)
    every = Explainer(model, references, target=target_for(model))(x, per_reference=True)
    for j in range(3):
        one = {k: a[j : j + 1] for k, a in references.items()}
        single = Explainer(model, one, target=target_for(model))(x)
        assert single.standard_error is None
        for source, whole in named_arrays(every.per_reference).items():
            close(named_arrays(single.attributions)[source], whole[:, j], 2e-6)


def test_a_wrong_rule_is_warned_about_with_the_gap(
    cnn: onnx.ModelProto,
    x: np.ndarray,
    background: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = ("", "Relu", 14)
    right = multiplier.rules[key]

    def slightly_more(ctx: object, m: object) -> list[object]:
        (found,) = right.function(ctx, m)
        return [ctx.op.Mul(found, 1.001)]  # type: ignore[attr-defined]

    monkeypatch.setitem(multiplier.rules, key, replace(right, function=slightly_more))
    wrong = Explainer(cnn, background, target=2)
    with pytest.warns(CompletenessWarning, match="attributions of explicand") as caught:
        explained = wrong(x)
    worst = np.abs(explained.residual).argmax()
    assert np.abs(explained.residual[worst]) > 1e-4
    assert f"explicand {worst} miss" in str(caught[0].message)
    assert f"by {explained.residual[worst]:.3g}" in str(caught[0].message)
    assert caught[0].filename == __file__  # the user's line, not ours
    with pytest.warns(CompletenessWarning, match="attributions of explicand") as caught:
        list(wrong.stream(x))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", models.SUPPORTED)
def test_explicand_equal_to_its_reference_gets_exactly_nothing(name: str) -> None:
    model = models.SUPPORTED[name]()
    x = models.samples(model, 1)
    explained = Explainer(model, floats(x), target=target_for(model))(x)
    for array in named_arrays(explained.attributions).values():
        assert (array == 0).all()
    # Two sessions of one model differ in the last bits where the runtime fuses other nodes.
    outputs = models.each(model, x)
    last_bits = 8 * np.finfo(next(iter(floats(x).values())).dtype).eps
    assert explained.residual is not None
    assert np.abs(explained.residual).max() <= last_bits * np.abs(outputs).max()


# Targets ------------------------------------------------------------------------------------------


def test_several_targets_equal_single_ones(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    several = Explainer(cnn, background, target=[3, 0, -1], max_memory=SMALL)(x)
    assert several.attributions.shape == (3, 3, *x.shape[1:])
    assert several.residual.shape == several.outputs.shape == several.base_values.shape == (3, 3)
    np.testing.assert_array_equal(several.targets, np.tile([3, 0, 4], (3, 1)))
    for k, target in enumerate((3, 0, 4)):
        single = Explainer(cnn, background, target=target)(x)
        close(several.attributions[:, k], single.attributions)
        close(several.standard_error[:, k], single.standard_error)
        np.testing.assert_allclose(several.base_values[:, k], single.base_values)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_targets_are_each_explicands_own(
    k: int, cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    outputs = models.run(cnn, {"image": x})["logits"]
    order = np.argsort(-outputs, axis=1)[:, :k]
    top = Explainer(cnn, background, target=f"top{k}")(x)
    every = Explainer(cnn, background, target=[0, 1, 2, 3, 4])(x).attributions
    assert top.targets.dtype == np.int64
    np.testing.assert_array_equal(top.targets, order if k > 1 else order[:, 0])
    chosen = np.take_along_axis(every, order[:, :, None, None, None], axis=1)
    close(top.attributions, chosen if k > 1 else chosen[:, 0])


def test_tuple_and_weights_are_targets_too(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    every = Explainer(cnn, background, target=[0, 1, 2, 3, 4])(x).attributions
    for target in (2, (2,), np.int64(2), -3):
        close(Explainer(cnn, background, target=target)(x).attributions, every[:, 2])
    weights = np.array([0.5, 0, -2, 0, 1], np.float32)
    weighted = Explainer(cnn, background, target=weights)(x)
    close(weighted.attributions, np.einsum("k,nk...->n...", weights, every))
    np.testing.assert_array_equal(weighted.targets, weights)
    tuples = Explainer(cnn, background, target=[(1,), (4,)])(x)
    close(tuples.attributions, every[:, [1, 4]])
    np.testing.assert_array_equal(tuples.targets, np.tile([1, 4], (3, 1)))


def test_dense_outputs_take_tuples_and_weights() -> None:
    model = models.dense()
    x, references = models.samples(model, 2)["image"], models.samples(model, 3, 1)["image"]
    pixels = Explainer(model, references, target=[(2, 1, 4), (0, 5, 5)])(x)
    assert pixels.attributions.shape == (2, 2, 3, 6, 6)
    assert pixels.targets.shape == (2, 2, 3)
    mask = np.zeros((4, 6, 6))
    mask[2, 1, 4], mask[0, 5, 5] = 1, 2
    both = Explainer(model, references, target=mask)(x)
    assert both.attributions.shape == x.shape
    close(both.attributions, pixels.attributions[:, 0] + 2 * pixels.attributions[:, 1])


# Batches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.SUPPORTED)
def test_explicands_together_equal_one_by_one(name: str) -> None:
    model = models.SUPPORTED[name]()
    x, references = models.samples(model, 5), background_for(model, 3)
    explain = Explainer(model, references, target=target_for(model))
    together = explain(x)
    tolerance = 5e-3 if "float16" in name else 1e-6
    for i in range(5):
        alone = explain({k: a[i : i + 1] for k, a in x.items()})
        np.testing.assert_allclose(together.outputs[i], alone.outputs[0], rtol=1e-5)
        for source, array in named_arrays(together.attributions).items():
            close(array[i], named_arrays(alone.attributions)[source][0], tolerance)


def test_the_order_of_references_does_not_matter(
    explainer: Explainer, x: np.ndarray, background: np.ndarray
) -> None:
    close(
        explainer.with_background(background[::-1])(x).attributions,
        explainer(x).attributions,
    )


def test_small_memory_gives_the_same_numbers(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    large = Explainer(cnn, background, target=[0, 1, 2])(x, per_reference=True)
    small = Explainer(cnn, background, target=[0, 1, 2], max_memory=1)(x, per_reference=True)
    for name in ("attributions", "standard_error", "per_reference"):
        close(getattr(small, name), getattr(large, name))
    for name in ("outputs", "base_values"):
        np.testing.assert_allclose(getattr(small, name), getattr(large, name), rtol=1e-6)


# Several inputs, inner values ---------------------------------------------------------------------


@pytest.mark.parametrize("method", ["deepshap", "gradient"])
def test_free_spatial_sizes_give_what_fixed_ones_do(method: str, x: np.ndarray) -> None:
    """A pool's places were once flattened by sizes that nobody knew yet."""
    fixed, free = models.cnn(), models.cnn()
    for axis, name in ((2, "height"), (3, "width")):
        free.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    references = models.samples(fixed, 3, seed=1)["image"] if method == "deepshap" else None
    found, expected = (
        Explainer(model, references, method=method, target=[1, 2])(x).attributions
        for model in (free, fixed)
    )
    close(found, expected)


def test_side_inputs_are_held_at_the_explicands_value() -> None:
    model = models.side_input()
    x, references = models.samples(model, 3), background_for(model, 4)
    explained = Explainer(model, references, target=0)(x)
    assert isinstance(explained.attributions, np.ndarray)
    masked = x["ids"] == 0
    assert masked.any()
    assert not masked.all()
    assert (explained.attributions[masked] == 0).all()
    assert (explained.attributions[~masked] != 0).all()


def test_a_background_of_some_inputs_holds_the_others() -> None:
    model = models.two_inputs()
    x, references = models.samples(model, 3), models.samples(model, 4, 1)
    held = Explainer(model, {"a": references["a"]}, target=0)(x)
    assert isinstance(held.attributions, np.ndarray)
    assert held.attributions.shape == (3, 4)
    swapped = pairwise_outputs(model, x, {"a": references["a"]})
    assert swapped.shape == (3, 4)
    f = models.each(model, x)[:, 0]
    per_pair = [
        [
            models.each(model, {"a": references["a"][j, None], "b": x["b"][i, None]})[0, 0]
            for j in range(4)
        ]
        for i in range(3)
    ]
    np.testing.assert_allclose(sums(held), f - np.mean(per_pair, 1), atol=1e-5)


def test_several_inputs_come_as_a_dict() -> None:
    model = models.two_inputs()
    x, references = models.samples(model, 2), models.samples(model, 3, 1)
    explained = Explainer(model, references, target=[0, 2])(x, per_reference=True)
    shapes = {k: a.shape for k, a in explained.attributions.items()}
    assert shapes == {"a": (2, 2, 4), "b": (2, 2, 2, 3)}
    assert {k: a.shape for k, a in explained.per_reference.items()} == {
        "a": (2, 2, 3, 4),
        "b": (2, 2, 3, 2, 3),
    }
    assert set(explained.standard_error) == set(explained.data) == {"a", "b"}


@pytest.mark.parametrize(
    ("build", "inner"),
    [(models.cnn, "p0"), (models.attention, "r0"), (models.densenet, "v1"), (models.mlp, "h1")],
)
def test_an_inner_value_that_cuts_every_path_is_complete(
    build: Callable[[], onnx.ModelProto], inner: str
) -> None:
    model = build()
    x, references = models.samples(model, 2), background_for(model, 3)
    explained = Explainer(model, references, target=1, inputs=inner)(x)
    shown = models.run(model, x, output=inner)[inner]
    assert explained.attributions.shape == shown.shape
    difference = models.each(model, x)[:, 1] - models.each(model, references)[:, 1].mean()
    np.testing.assert_allclose(sums(explained), difference, atol=1e-5)
    assert explained.residual is not None
    assert explained.data is None


@pytest.mark.parametrize(
    ("build", "inner"),
    [
        (models.attention, ["mixed"]),
        (models.attention, ["x", "r0"]),
        (models.squeeze_excite, ["gate"]),
        (models.two_inputs, ["a"]),
    ],
)
def test_values_that_leave_a_way_around_have_no_residual(
    build: Callable[[], onnx.ModelProto], inner: list[str]
) -> None:
    model = build()
    x, references = models.samples(model, 2), background_for(model, 3)
    explained = Explainer(model, references, target=1, inputs=inner)(x)
    assert explained.residual is None
    assert explained.base_values is not None


def test_another_output_can_be_any_value(x: np.ndarray, background: np.ndarray) -> None:
    logits = Explainer(models.cnn(softmax=True), background, target=2, output="logits")(x)
    close(logits.attributions, Explainer(models.cnn(), background, target=2)(x).attributions)


# Siblings and work that is shared -----------------------------------------------------------------


def test_siblings_build_and_compile_nothing_and_share_reference_work(
    cnn: onnx.ModelProto,
    x: np.ndarray,
    background: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builds: list[object] = []
    build = compiled_module.build_program

    def counted(*args: object, **options: object) -> object:
        builds.append(args)
        return build(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(compiled_module, "build_program", counted)
    compiled: list[Compiled] = []
    original = Compiled.__init__

    def remembered(self: Compiled, *args: object) -> None:
        compiled.append(self)
        original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Compiled, "__init__", remembered)
    first = Explainer(cnn, background, target=2)
    first(x)
    sessions, reference_runs = Session.count, compiled[0].runs("reference")
    assert len(builds) == len(compiled) == 1
    assert reference_runs > 0

    first(x[::-1])
    second = first.with_target([0, 1])
    second(x)
    assert compiled[0].runs("reference") == reference_runs
    other = first.with_background(background[:5])
    other(x)
    assert compiled[0].runs("reference") == reference_runs + 1
    other.with_target("top2")(x)
    assert compiled[0].runs("reference") == reference_runs + 1
    first(x)
    assert compiled[0].runs("reference") == reference_runs + 1
    assert Session.count == sessions
    assert len(builds) == len(compiled) == 1

    close(second(x).attributions, Explainer(cnn, background, target=[0, 1])(x).attributions)
    close(other(x).attributions, Explainer(cnn, background[:5], target=2)(x).attributions)


def test_explicands_are_run_forward_once_however_many_chunks(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    many = np.concatenate([x] * 5)
    tight = Explainer(cnn, background, target=2, max_memory=1)
    found = tight(many)
    compiled = tight._engine.compiled
    assert compiled.runs("pair") == len(many) * len(background)
    assert compiled.runs("explicand") <= len(many) + 3  # and three to confirm: samples are apart
    close(found.attributions[: len(x)], tight(x).attributions)


def test_references_that_do_not_fit_are_computed_again(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    tight = Explainer(cnn, background, target=2, max_memory=1)
    first, second = tight(x), tight(x)
    assert tight._engine.compiled.runs("reference") == 2 * len(background)
    np.testing.assert_array_equal(first.attributions, second.attributions)


@pytest.mark.parametrize("fits", [True, False])
def test_references_run_by_the_kernels_a_one_shot_file_runs_them_by(
    cnn: onnx.ModelProto,
    x: np.ndarray,
    background: np.ndarray,
    fits: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Plain ones where the file folds them at load, else the runtime's fastest."""
    if not fits:
        for module in ("runtime.plan", "oneshot.averages"):
            monkeypatch.setattr(f"onnxshap.{module}.DEFAULT_MEMORY", 1)
    explain = Explainer(cnn, background, target=2)
    explain(x)
    explain.export(tmp_path / "file.onnx")
    notes = {p.key: p.value for p in onnx.load(tmp_path / "file.onnx").metadata_props}
    folded = notes["onnxshap.reference_side"] == "folded at load"
    assert folded == fits
    sessions = explain._engine.compiled._sessions.items()
    used = [s._session.get_session_options() for (which, *_), s in sessions if which == "reference"]
    plain = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    assert [o.graph_optimization_level == plain for o in used] == [folded]


def test_memory_mapped_background(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "b.npy", background)
    mapped = np.load(tmp_path / "b.npy", mmap_mode="r")
    found = Explainer(cnn, mapped, target=2, max_memory=SMALL)(x)
    np.testing.assert_array_equal(
        found.attributions, Explainer(cnn, background, target=2, max_memory=SMALL)(x).attributions
    )


def test_float64_arrays_are_cast_with_one_notice(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    explain = Explainer(cnn, background, target=2, max_memory=SMALL)
    with pytest.warns(
        OnnxShapWarning, match='"image": float64 is cast to the model\'s float32'
    ) as told:
        double = explain(x.astype(np.float64))
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(x.astype(np.float64))
    np.testing.assert_array_equal(double.attributions, explain(x).attributions)
    assert double.attributions.dtype == np.float32


# Statistics over references -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn", "two_inputs", "side_input", "no_batch", *MIXING])
@pytest.mark.parametrize("memory", [None, SMALL])
def test_mean_and_standard_error_over_references(name: str, memory: int | None) -> None:
    model = models.SUPPORTED[name]()
    x, references = models.samples(model, 2), background_for(model, 7)
    explain = Explainer(model, references, target=[0, 1], max_memory=memory)
    explained = explain(x, per_reference=True)
    assert explained.references == 7
    plain = named_arrays(explain(x).attributions)
    for source, single in named_arrays(explained.per_reference).items():
        assert single.shape[:3] == (2, 2, 7)
        mean, error = (
            named_arrays(getattr(explained, k))[source] for k in ("attributions", "standard_error")
        )
        close(mean, single.mean(2, dtype=np.float64))
        close(plain[source], mean)
        expected = single.std(2, ddof=1, dtype=np.float64) / np.sqrt(7)
        close(error, expected, 2e-6)
    assert explain(x).per_reference is None


def test_one_reference_has_no_standard_error(explainer: Explainer, x: np.ndarray) -> None:
    one = explainer.with_background(x[:1])(x)
    assert one.standard_error is None
    assert one.references == 1


# Methods without references -----------------------------------------------------------------------


def test_gradient_equals_a_finite_difference() -> None:
    model = models.mlp(np.float64)
    x = models.samples(model, 2)["x"]
    found = Explainer(model, None, method="gradient", target=1)(x)
    assert found.residual is found.base_values is found.standard_error is None
    assert found.references == 0
    step = 1e-6
    for i in (0, 7, 29):
        moved = [x.copy(), x.copy()]
        moved[0][:, i] += step
        moved[1][:, i] -= step
        up, down = (models.each(model, {"x": m})[:, 1] for m in moved)
        np.testing.assert_allclose(found.attributions[:, i], (up - down) / (2 * step), rtol=1e-6)
    product = Explainer(model, None, method="input_x_gradient", target=1)(x)
    np.testing.assert_allclose(product.attributions, x * found.attributions, rtol=1e-12)


@pytest.mark.parametrize("target", [1, [0, 1, 3], "top2"])
def test_homogeneous_model_on_zero_reference_is_input_x_gradient(target: object) -> None:
    model = models.homogeneous()
    x = models.samples(model, 3)["image"]
    shap = Explainer(model, np.zeros_like(x[:1]), target=target)(x)
    gradient = Explainer(model, None, method="input_x_gradient", target=target)(x)
    close(shap.attributions, gradient.attributions, 1e-5)


def test_homogeneous_model_on_zero_reference_in_float64() -> None:
    model = models.homogeneous(np.float64)
    x = models.samples(model, 2)["image"]
    seed = np.zeros((2, 2, 4))
    seed[0, :, 1] = seed[1, :, 3] = 1
    feeds = {"image": x, "seed": seed}
    found = {}
    for method in ("deepshap", "input_x_gradient"):
        proto = onnxshap.build(model, method=method).proto
        onnx.checker.check_model(proto, full_check=True)
        evaluator = ReferenceEvaluator(proto, new_ops=CORRECTED)
        extra = {"image/reference": np.zeros_like(x[:1])} if method == "deepshap" else {}
        (found[method],) = evaluator.run(["image/contributions"], feeds | extra)
    close(found["deepshap"][:, :, 0], found["input_x_gradient"], 1e-12)


def test_gradient_methods_refuse_a_background(x: np.ndarray, cnn: onnx.ModelProto) -> None:
    with pytest.raises(InputError, match="background: method 'gradient' compares with nothing"):
        Explainer(cnn, x, method="gradient")
    with pytest.raises(InputError, match="background: method 'deepshap' needs references"):
        Explainer(cnn)
    with pytest.raises(InputError, match="no method 'lime'; there are deepshap, expected_"):
        Explainer(cnn, x, method="lime")


# Streams, progress, stopping ----------------------------------------------------------------------


def test_stream_refines_up_to_the_call(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    explain = Explainer(cnn, background, target=[2, 0], max_memory=SMALL)
    whole = explain(x, per_reference=True)
    partials = list(explain.stream(x))
    counts = [p.references for p in partials]
    assert len(counts) > 2
    assert counts == sorted(set(counts))
    assert counts[-1] == len(background)
    assert [p.complete for p in partials] == [False] * (len(counts) - 1) + [True]
    for partial in partials:
        close(partial.attributions, whole.per_reference[:, :, : partial.references].mean(2))
        assert np.abs(partial.residual).max() < 1e-5
    np.testing.assert_array_equal(partials[-1].attributions, whole.attributions)
    np.testing.assert_array_equal(partials[-1].standard_error, whole.standard_error)


def test_a_stream_tells_as_often_as_it_is_asked_to(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    explain = Explainer(cnn, background, target=[2, 0])
    whole = explain(x)
    partials = list(explain.stream(x, chunk=2))
    assert [p.references for p in partials] == [*range(2, len(background), 2), len(background)]
    close(partials[-1].attributions, whole.attributions)
    close(partials[-1].standard_error, whole.standard_error)
    with pytest.raises(InputError, match="chunk=0 must be a whole number of references"):
        explain.stream(x, chunk=0)


def test_progress_is_monotone_and_ends_at_its_total(
    cnn: onnx.ModelProto, x: np.ndarray, background: np.ndarray
) -> None:
    told: list[tuple[int, int, dict[str, object]]] = []
    explain = Explainer(cnn, background, target=2, max_memory=SMALL)
    explain(x, progress=lambda done, total, info: told.append((done, total, info)))
    done = [d for d, _, _ in told]
    assert len(done) > 2
    assert done == sorted(done)
    assert {t for _, t, _ in told} == {3 * 12}
    assert done[-1] == 3 * 12
    assert told[0][2]["method"] == "deepshap"


@pytest.mark.parametrize("name", ["side_input", "no_batch", "mean over the batch"])
def test_progress_of_one_by_one_runs_ends_at_its_total(name: str) -> None:
    model = models.SUPPORTED[name]()
    x, references = models.samples(model, 3), background_for(model, 4)
    told: list[tuple[int, int]] = []
    explain = Explainer(model, references, target=target_for(model))
    explain(x, progress=lambda done, total, _: told.append((done, total)))
    assert told[-1] == (12, 12)
    assert told == sorted(told)


@pytest.fixture(scope="module")
def slow() -> tuple[Explainer, np.ndarray]:
    """Return an explainer that would take minutes, after its sessions are made."""
    model = models.deep(layers=12, width=768)
    draw = np.random.default_rng(0)
    references = draw.normal(size=(20_000, 768)).astype(np.float32)
    x = draw.normal(size=(4, 768)).astype(np.float32)
    explain = Explainer(model, references, max_memory=2**26)
    explain.with_background(references[:2])(x[:1])
    return explain, x


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.3, 0.7])
def test_closing_a_stream_ends_it_at_once(delay: float, slow: tuple[Explainer, np.ndarray]) -> None:
    explain, x = slow
    stream = explain.stream(x)
    seen: list[Explanation] = []
    thread = threading.Thread(target=lambda: seen.extend(stream))
    thread.start()
    time.sleep(delay)
    start = time.monotonic()
    stream.close()
    thread.join(30)
    took = time.monotonic() - start
    assert not thread.is_alive()
    assert took < 0.5
    assert not any(p.complete for p in seen)
    assert next(stream, None) is None


def test_closing_one_stream_leaves_another_alone(
    slow: tuple[Explainer, np.ndarray],
) -> None:
    explain, images = slow
    abandoned = explain.stream(images)
    next(abandoned)
    sibling = explain.with_background(np.repeat(images[:1], 2000, 0))
    found: list[Explanation] = []
    thread = threading.Thread(target=lambda: found.append(sibling(images)))
    thread.start()
    time.sleep(0.1)
    assert not found  # or there was nothing left to disturb
    abandoned.close()
    thread.join(60)
    assert found
    assert found[0].complete


def test_stop_ends_a_call_in_another_thread(slow: tuple[Explainer, np.ndarray]) -> None:
    explain, x = slow
    raised: list[BaseException] = []

    def call() -> None:
        try:
            explain(x)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.4)
    start = time.monotonic()
    explain.stop()
    thread.join(30)
    assert time.monotonic() - start < 0.5
    assert isinstance(raised[0], Stopped)
    assert isinstance(raised[0], onnxshap.OnnxShapError)


@pytest.mark.skipif(os.name == "nt", reason="signals one thread")
def test_keyboard_interrupt_ends_a_call_and_the_explainer_lives(
    slow: tuple[Explainer, np.ndarray],
) -> None:
    explain, x = slow
    main = threading.main_thread().ident
    assert main == threading.get_ident()
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    timer = threading.Timer(0.5, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        explain(x)
    took = time.monotonic() - sent[0]
    timer.join()
    assert took < 0.5
    again = explain.with_background(x[1:3])(x[:2])
    assert again.complete
    assert 0 < np.abs(again.attributions).max() < np.inf
    close(again.attributions.sum(1, dtype=float), again.outputs - again.base_values, 1e-4)


def test_an_error_in_the_callers_callback_is_the_callers(
    explainer: Explainer, x: np.ndarray
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        explainer(x, progress=fail)
    assert explainer(x).complete


# The result ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn", "two_inputs"])
def test_explanations_survive_a_file(name: str, tmp_path: Path) -> None:
    model = models.SUPPORTED[name]()
    explained = Explainer(model, background_for(model, 3), target=[0, 1])(models.samples(model, 2))
    loaded = Explanation.load(explained.save(tmp_path / "e.npz"))
    for field in (
        "attributions",
        "standard_error",
        "outputs",
        "targets",
        "residual",
        "base_values",
    ):
        a, b = (named_arrays(getattr(e, field)) for e in (explained, loaded))
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
            assert a[key].dtype == b[key].dtype
    assert (loaded.method, loaded.references, loaded.complete) == ("deepshap", 3, True)
