"""Integrated and expected gradients, against a loop over points written without any of ours."""

import warnings
from collections.abc import Callable

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import CompletenessWarning, Explainer, InputError
from onnxshap.compiled import Compiled
from onnxshap.methods import ExpectedGradients, IntegratedGradients
from tests.helpers import models
from tests.helpers.compare import close
from tests.helpers.gradcheck import evaluator
from tests.helpers.models import Arrays

NAMES = [
    "cnn",
    "cnn of batch 1",
    "homogeneous",
    "squeeze_excite",
    "densenet",
    "mlp",
    "one_number",
    "two_inputs",
    "attention",
    "batch_inside",
    "no_batch",
    "softmax over the batch",
    "cumsum over the batch",
]


def gradient_at(model: onnx.ModelProto, points: Arrays, target: int) -> Arrays:
    """Gradients at given points, by the method that differentiates at the samples themselves."""
    found = Explainer(model, None, method="gradient", target=target)(points).attributions
    return found if isinstance(found, dict) else {next(iter(points)): found}


def looped(
    model: onnx.ModelProto,
    x: Arrays,
    background: Arrays,
    target: int,
    places: Callable[[int], tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    """(x - r) sum_s w_s gradient(r + a_s (x - r)) for every pair, float64 [N, M, *x].

    ``places(m)``: positions a and weights w of reference m.
    """
    count = len(next(iter(background.values())))
    found = {k: np.zeros((len(a), count, *a.shape[1:])) for k, a in x.items()}
    for m in range(count):
        for a, w in zip(*places(m), strict=True):
            at = {
                k: background[k][m] + np.float32(a) * (v - background[k][m]) for k, v in x.items()
            }
            for k, gradient in gradient_at(model, at, target).items():
                found[k][:, m] += w * gradient * (x[k] - background[k][m])
    return found


def target_for(model: onnx.ModelProto) -> int:
    return 0 if len(model.graph.output[0].type.tensor_type.shape.dim) == 1 else 1


# Integrated gradients -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::onnxshap.CompletenessWarning")  # a few points are too few
@pytest.mark.parametrize("name", NAMES)
def test_integrated_gradients_are_the_sum_over_points(name: str) -> None:
    model = models.SUPPORTED[name]()
    x, background = models.samples(model, 2), models.samples(model, 3, seed=1)
    target = target_for(model)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    expected = looped(model, x, background, target, lambda m: ((nodes + 1) / 2, weights / 2))
    method = IntegratedGradients(steps=5)
    found = Explainer(model, background, method=method, target=target)(x, per_reference=True)
    single = found.per_reference
    for source, array in (single if isinstance(single, dict) else {next(iter(x)): single}).items():
        close(array, expected[source], 2e-5)


def polynomial() -> onnx.ModelProto:
    """sum(x^3) + x_0 x_1, [N, 3] -> [N], float64."""
    nodes = [
        models.node("Mul", ["x", "x"], ["xx"], "square"),
        models.node("Mul", ["xx", "x"], ["xxx"], "cube"),
        models.node("Gather", ["x", "first"], ["a"], "first", axis=1),
        models.node("Gather", ["x", "second"], ["b"], "second", axis=1),
        models.node("Mul", ["a", "b"], ["ab"], "product"),
        models.node("ReduceSum", ["xxx", "axis"], ["cubes"], "sum", keepdims=0),
        models.node("Add", ["cubes", "ab"], ["y"], "both"),
    ]
    numbers = {"first": np.array(0), "second": np.array(1), "axis": np.array([1])}
    ends = {"x": (np.float64, ["N", 3])}, {"y": (np.float64, ["N"])}
    return models.graph(nodes, *ends, numbers)


def test_integral_of_a_polynomial_is_exact() -> None:
    """Gauss-Legendre with n points integrates degree 2n - 1 exactly: two points are enough here."""
    x, r = np.array([[1.0, -2.0, 3.0]]), np.array([[0.5, 1.0, -1.0]])
    proto = onnxshap.build(polynomial(), method=IntegratedGradients(steps=2)).proto
    onnx.checker.check_model(proto, full_check=True)
    found = evaluator(proto)({"x": x, "x/reference": r, "seed": np.ones((1, 1))})
    cubes = (x - r) * (x * x + x * r + r * r)
    a, b, a0, b0 = x[0, 0], x[0, 1], r[0, 0], r[0, 1]
    cubes[0, 0] += (a - a0) * (b + b0) / 2
    cubes[0, 1] += (b - b0) * (a + a0) / 2
    np.testing.assert_allclose(found["x/contributions"][0, 0, 0], cubes[0], rtol=1e-14)


@pytest.mark.filterwarnings("ignore::onnxshap.CompletenessWarning")  # of four steps
def test_residual_is_measured_and_falls_with_more_steps() -> None:
    model = models.mlp()
    x, background = models.samples(model, 4), models.samples(model, 3, seed=1)
    gaps = []
    for steps in (4, 32, 256):
        method = IntegratedGradients(steps=steps)
        found = Explainer(model, background, method=method, target=[0, 1, 2])(x)
        sums = found.attributions.sum(2, dtype=np.float64)
        expected = sums - (found.outputs - found.base_values)
        np.testing.assert_allclose(found.residual, expected, atol=1e-6)
        gaps.append(np.abs(found.residual).max())
    assert gaps[1] < gaps[0] / 4
    assert gaps[2] < gaps[1] / 4


def test_too_few_steps_are_warned_about(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    explainer = Explainer(cnn, -3 * x[:1], method=IntegratedGradients(steps=1), target=1)
    with pytest.warns(CompletenessWarning, match=r"more than 5 % of it.*raise steps="):
        explainer(x)


@pytest.mark.parametrize("memory", [1, 2**18, 2**20])
def test_chunks_of_steps_give_the_same_numbers(
    memory: int, cnn: onnx.ModelProto, x: np.ndarray
) -> None:
    background = models.samples(cnn, 3, seed=1)["image"]
    for method in (IntegratedGradients(steps=24), ExpectedGradients(samples=7)):
        plain = Explainer(cnn, background, method=method, target=[0, 3])(x)
        chunked = Explainer(cnn, background, method=method, target=[0, 3], max_memory=memory)(x)
        close(chunked.attributions, plain.attributions, 2e-6)
        close(chunked.standard_error, plain.standard_error, 2e-5)
        close(chunked.base_values, plain.base_values, 1e-6)


def test_stream_settles_step_by_step(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    background = models.samples(cnn, 2, seed=1)["image"]
    explainer = Explainer(
        cnn, background, method=IntegratedGradients(steps=32), target=1, max_memory=2**18
    )
    partials = list(explainer.stream(x, per_reference=True))
    assert len(partials) > 4
    assert [p.complete for p in partials] == [False] * (len(partials) - 1) + [True]
    assert [p.references for p in partials] == sorted(p.references for p in partials)
    last = partials[-1]
    close(last.attributions, explainer(x).attributions, 1e-6)
    first = [p for p in partials if p.references == 0]
    assert first[0].per_reference.shape[1] == 1
    one = Explainer(cnn, background[:1], method=IntegratedGradients(steps=32), target=1)(x)

    def distance(partial: onnxshap.Explanation) -> float:
        return float(np.linalg.norm(partial.attributions - one.attributions))

    assert distance(first[-1]) < distance(first[0])
    # A quarter of the points, spread over the path, is a rough integral already.
    rough = first[len(first) // 4]
    assert distance(rough) < 0.3 * np.linalg.norm(one.attributions)


def test_progress_counts_steps(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    told: list[tuple[int, int]] = []
    explainer = Explainer(
        cnn, np.zeros_like(x[:2]), method=IntegratedGradients(steps=16), max_memory=2**17
    )
    explainer(x, progress=lambda done, total, _: told.append((done, total)))
    assert {total for _, total in told} == {3 * 2 * 16}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == 3 * 2 * 16


def test_any_baseline_and_an_average_over_several(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    background = models.samples(cnn, 3, seed=1)["image"]
    method = IntegratedGradients(steps=16)
    together = Explainer(cnn, background, method=method, target=1)(x, per_reference=True)
    alone = [
        Explainer(cnn, background[m : m + 1], method=method, target=1)(x).attributions
        for m in range(3)
    ]
    close(together.per_reference, np.stack(alone, 1), 1e-6)
    close(together.attributions, np.mean(alone, 0), 1e-6)
    error = np.std(alone, 0, ddof=1) / np.sqrt(3)
    close(together.standard_error, error, 1e-5)


def test_layer_integrated_gradients_run_between_the_layers_values(x: np.ndarray) -> None:
    model = models.cnn(softmax=True)
    background = models.samples(model, 2, seed=1)["image"]
    method = IntegratedGradients(steps=200)
    found = Explainer(model, background, method=method, inputs="p0", output="logits", target=2)(x)
    assert found.attributions.shape == (3, 6, 6, 6)
    assert np.abs(found.residual).max() < 5e-3 * np.abs(found.outputs).max()
    shown = onnx.shape_inference.infer_shapes(model)
    rest = onnx.utils.Extractor(shown).extract_model(["p0"], ["logits"])
    inner = {
        k: models.run(model, {"image": a}, output="p0")["p0"]
        for k, a in (("x", x), ("r", background))
    }
    alone = Explainer(rest, inner["r"], method=method, target=2)(inner["x"])
    close(found.attributions, alone.attributions, 1e-5)


def test_side_inputs_are_held() -> None:
    model = models.side_input()
    x = models.samples(model, 2)
    background = {k: v for k, v in models.samples(model, 2, seed=1).items() if v.dtype.kind == "f"}
    found = Explainer(model, background, method=IntegratedGradients(steps=64))(x)
    assert np.abs(found.residual).max() < 1e-3 * np.abs(found.outputs).max()


def test_whole_numbers_cannot_be_interpolated() -> None:
    model = models.side_input()
    with pytest.raises(InputError, match="no line between whole numbers"):
        Explainer(model, models.samples(model, 2, seed=1), method="integrated_gradients")


@pytest.mark.parametrize("to", [np.float16, np.float64])
def test_output_of_another_type_than_the_input(to: type) -> None:
    nodes = [
        models.node("MatMul", ["x", "w"], ["h"], "fc"),
        models.node("Tanh", ["h"], ["t"], "tanh"),
        models.node(
            "Cast", ["t"], ["y"], "cast", to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to))
        ),
    ]
    ends = {"x": (np.float32, ["N", 4])}, {"y": (to, ["N", 3])}
    model = models.graph(nodes, *ends, models.weights(1, w=(4, 3)))
    x, background = models.samples(model, 3), models.samples(model, 2, seed=1)
    found = Explainer(model, background, method="integrated_gradients", target=1)(x)
    assert np.abs(found.residual).max() < 3e-3 * np.abs(found.outputs).max()


def test_more_steps_are_no_worse_in_float16() -> None:
    """Weights of 1 / S in the seed pushed what flows back below float16's least number."""
    wide = models.mlp()
    held = {t.name: onnx.numpy_helper.to_array(t) for t in wide.graph.initializer}
    held["w2"] = held["w2"] * np.float32(1e-4)
    small, half = models.mlp(), models.mlp(np.float16)
    for model in (small, half):
        for tensor in model.graph.initializer:
            array = held[tensor.name].astype(np.float16 if model is half else np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    x = models.samples(small, 3)["x"]
    method = IntegratedGradients(steps=512)
    expected = Explainer(small, np.zeros_like(x[:1]), method=method, target=1)(x)
    narrow = x.astype(np.float16)
    found = Explainer(half, np.zeros_like(narrow[:1]), method=method, target=1)(narrow)
    close(found.attributions.astype(np.float32), expected.attributions, 1e-2)


def test_rounding_is_no_reason_for_more_steps(cnn: onnx.ModelProto) -> None:
    background = models.samples(cnn, 1)["image"]
    x = background + np.float32(1e-6) * models.samples(cnn, 20, seed=2)["image"]
    Explainer(cnn, background, method="integrated_gradients", target=1)(x)  # warnings are errors


def test_forward_runs_are_not_repeated_for_chunks(cnn: onnx.ModelProto) -> None:
    x = models.samples(cnn, 40)["image"]
    method = IntegratedGradients(steps=32)
    explainer = Explainer(cnn, np.zeros_like(x[:1]), method=method, target=1, max_memory=2**18)
    explainer(x)
    compiled = explainer._engine.compiled
    assert compiled.runs("pair") > 400
    assert compiled.runs("explicand") <= len(x) + 3  # and three to confirm that samples are apart


def test_several_targets_stay_within_memory(
    cnn: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one run of pairs holds: explicands x references x targets x steps of the plan."""
    x, background = models.samples(cnn, 30)["image"], models.samples(cnn, 4, seed=1)["image"]
    budget, sizes = 2**22, []
    plain = Compiled.pairs

    def counted(self: Compiled, values: dict, seed: np.ndarray, *rest: object) -> object:
        steps = len(values[self.program.steps.weight_input])
        references = values[self.program.references["image"]].shape()[0]
        sizes.append(seed.shape[0] * seed.shape[1] * steps * references * self.pair_bytes)
        return plain(self, values, seed, *rest)

    monkeypatch.setattr(Compiled, "pairs", counted)
    method = IntegratedGradients(steps=8)
    explainer = Explainer(cnn, background, method=method, target=[0, 1, 2, 3, 4], max_memory=budget)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompletenessWarning)
        explainer(x)
    compiled = explainer._engine.compiled
    kept = min(budget / 2, len(background) * compiled.cut_bytes)
    assert 6 * max(sizes) <= max(budget - kept, 6 * compiled.pair_bytes)


# Expected gradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn", "mlp", "two_inputs", "no_batch", "batch_inside"])
def test_expected_gradients_are_the_mean_over_their_points(name: str) -> None:
    model = models.SUPPORTED[name]()
    x, background = models.samples(model, 2), models.samples(model, 3, seed=1)
    method = ExpectedGradients(samples=4, seed=7)

    def places(m: int) -> tuple[np.ndarray, np.ndarray]:
        return np.random.default_rng([7, m]).random(4), np.full(4, 0.25)

    expected = looped(model, x, background, 1, places)
    found = Explainer(model, background, method=method, target=1)(x, per_reference=True)
    single = found.per_reference
    for source, array in (single if isinstance(single, dict) else {next(iter(x)): single}).items():
        close(array, expected[source], 2e-5)


def test_expected_gradients_tend_to_integrated_gradients(
    cnn: onnx.ModelProto, x: np.ndarray
) -> None:
    background = models.samples(cnn, 3, seed=1)["image"]
    exact = Explainer(cnn, background, method=IntegratedGradients(steps=400), target=1)(x)

    def distance(samples: int) -> float:
        drawn = [
            Explainer(cnn, background, method=ExpectedGradients(samples, seed), target=1)(x)
            for seed in range(3)
        ]
        gaps = [np.linalg.norm(d.attributions - exact.attributions) for d in drawn]
        return float(np.mean(gaps) / np.linalg.norm(exact.attributions))

    assert distance(400) < 0.05
    assert distance(400) < distance(4) / 5  # by 1/sqrt: a tenth


def test_the_residual_of_expected_gradients_is_the_errors_of_the_draw(
    cnn: onnx.ModelProto, x: np.ndarray
) -> None:
    """Reported, and no reason for a warning; as large as the standard error of the sums says."""
    background = models.samples(cnn, 200, seed=1)["image"]
    found = Explainer(cnn, background, method="expected_gradients", target=1)(x, per_reference=True)
    pairs = found.per_reference.sum((2, 3, 4), dtype=np.float64)
    references = models.run(cnn, {"image": background})["logits"][:, 1]
    errors = (pairs + references - found.outputs[:, None]).std(1, ddof=1) / np.sqrt(200)
    assert (np.abs(found.residual) < 4 * errors).all()
    assert (np.abs(found.residual) > 1e-4 * np.abs(found.outputs)).any()


def test_draws_depend_on_the_seed_alone(cnn: onnx.ModelProto, x: np.ndarray) -> None:
    background = models.samples(cnn, 5, seed=1)["image"]

    def drawn(seed: int, memory: int | None = None) -> np.ndarray:
        method = ExpectedGradients(seed=seed)
        return Explainer(cnn, background, method=method, target=1, max_memory=memory)(
            x
        ).attributions

    np.testing.assert_array_equal(drawn(0), drawn(0))
    close(drawn(0, 2**16), drawn(0), 1e-6)
    assert np.abs(drawn(1) - drawn(0)).max() > 1e-2 * np.abs(drawn(0)).max()


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "128"])
def test_counts_must_be_whole(wrong: object) -> None:
    with pytest.raises(
        InputError, match=r"IntegratedGradients: steps=.* must be a whole number, 1 or above"
    ):
        IntegratedGradients(steps=wrong)  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match=r"ExpectedGradients: samples=.* must be a whole number, 1 or above"
    ):
        ExpectedGradients(samples=wrong)  # type: ignore[arg-type]
