"""Quantised operators and nets: the numbers of onnxruntime's kernels, and complete credit."""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import ModelProto, numpy_helper

from onnxshap import Explainer, Explanation, check
from onnxshap.graph.lower import lower
from onnxshap.graph.model import load
from tests.helpers.cases.quantised import (
    QuantisedCase,
    dynamic,
    integers,
    operators,
    products,
    renamed,
)
from tests.helpers.quantised import Form, Net, between, quantised, samples

CASES = [*products(), *operators(), *integers(), *renamed(), *dynamic()]
ROWS = [pytest.param(c, id=c.id) for c in CASES]
SAME = 1e-5  # of the largest output: floats, and integers times a scale
ROUNDING = 1e-5  # of all that is added up

NETS: list[Net] = ["digits", "mnist", "residual", "mlp"]
FORMS: list[Form] = ["qdq", "qoperator", "dynamic"]
EXPLICANDS, REFERENCES = slice(0, 8), slice(50, 60)


def run(model: ModelProto | bytes, x: np.ndarray, alone: bool = False) -> np.ndarray:
    """First output, on onnxruntime as it comes."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = [x[i : i + 1] for i in range(len(x))] if alone else [x]
    return np.concatenate([session.run(None, {name: row})[0] for row in rows])


def written_out(model: ModelProto) -> ModelProto:
    """The model on floats, but for QuantizeLinear and what moves its steps."""
    normal = load(model).normalised.clone()
    lower(normal.graph, list(normal.graph.inputs), normal.graph.outputs[0])
    proto = ir.serde.serialize_model(normal)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    return proto


def draw(case: QuantisedCase, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.normal(size=(count, *case.shape)).astype(np.float32)


def assert_complete(found: Explanation) -> None:
    """The residual is of the size of float32's rounding."""
    values, residual = np.asarray(found.attributions), np.asarray(found.residual)
    assert np.isfinite(values).all()
    total = np.abs(values).reshape(len(values), -1).sum(1)
    size = np.max([total, np.abs(found.outputs), np.abs(np.asarray(found.base_values))], 0)
    assert (np.abs(residual) <= ROUNDING * size).all(), (residual, size)


# --- one operator ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ROWS)
def test_same_numbers_as_the_kernel(case: QuantisedCase, rng: np.random.Generator) -> None:
    x = draw(case, rng, 12)
    own, found = run(case.model, x, case.alone), run(written_out(case.model), x, case.alone)
    assert own.shape == found.shape
    assert np.ptp(own) > 0
    gap = np.abs(own - found)
    assert gap.max() <= 1.001 * case.step + SAME * np.abs(own).max()
    assert (gap > SAME * np.abs(own).max()).mean() <= 0.01


@pytest.mark.parametrize("case", ROWS)
def test_complete(case: QuantisedCase, rng: np.random.Generator) -> None:
    x, r = draw(case, rng, 3), draw(case, rng, 4)
    x[0].flat[:4] = r[0].flat[:4]  # no difference at some places
    weights = rng.normal(size=run(case.model, x[:1]).shape[1:]).astype(np.float32)
    found = Explainer(case.model, r, target=weights)(x)
    assert_complete(found)
    y = run(written_out(case.model), x, case.alone)
    outputs = (y * weights).reshape(len(y), -1).sum(1)
    np.testing.assert_allclose(found.outputs, outputs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ROWS)
def test_nothing_is_left_to_integer_kernels(case: QuantisedCase) -> None:
    """Every node on the path is one of ONNX's on floats, or moves steps."""
    report = check(case.model)
    assert report.ok, str(report)
    names = {n.operator.split("::")[1] for n in report.nodes}
    assert not [n for n in names if n.startswith(("QLinear", "QGemm")) or "Integer" in n]
    assert not [n for n in report.nodes if n.operator.startswith("com.microsoft")]


def test_gradient_is_straight_through_inside_the_range(rng: np.random.Generator) -> None:
    """The dequantised weights where no step is clipped on the way, 0 where one is."""
    case = next(c for c in CASES if c.id == "QLinearMatMul: uint8, channel")
    x = rng.normal(size=(4, *case.shape)).astype(np.float32)
    x[:, 0, 0] = 9  # beyond what 8 bits of scale 0.03 hold
    held = {t.name: numpy_helper.to_array(t) for t in case.model.graph.initializer}
    weights = held["w"].astype(np.float64) * held["ws"]
    target = np.zeros((5, 4), np.float32)
    target[:, 1] = 1
    found = np.asarray(Explainer(case.model, target=target, method="gradient")(x).attributions)
    expected = np.broadcast_to(weights[:, 1], x.shape).copy()
    expected[:, 0, 0] = 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_a_range_of_its_own_credits_each_element_with_its_own_change() -> None:
    """Against a blank reference, whose scale is another: the weights, up to a step."""
    case = next(c for c in CASES if c.id == "DynamicQuantizeMatMul")
    x = np.random.default_rng(3).normal(size=(2, *case.shape)).astype(np.float32)
    held = {t.name: numpy_helper.to_array(t) for t in case.model.graph.initializer}
    weights = (held["w"].astype(np.float64) - held["zeros"]) * held["columns"]
    target = np.zeros((5, 4), np.float32)
    target[0, 2] = 1
    found = np.asarray(Explainer(case.model, np.zeros_like(x[:1]), target=target)(x).attributions)
    step = np.abs(weights[:, 2]) * (np.ptp(x, (1, 2)) / 255)[:, None]
    whole = (x == x.max((1, 2), keepdims=True)) | (x == x.min((1, 2), keepdims=True))
    bound = np.where(whole[:, 0], step.sum(1, keepdims=True), step)  # ends of the range set it
    assert (np.abs(found[:, 0] - x[:, 0] * weights[:, 2]) <= bound).all()
    assert (np.abs(found[:, 1:]) <= np.where(whole[:, 1:], step.sum(), 0)).all()


def test_a_half_between_two_steps_is_one_whoever_adds_it_up(rng: np.random.Generator) -> None:
    """Means of four steps at one scale: ties, which floats would break by the order of a sum."""
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["f"]),
        onnx.helper.make_node("AveragePool", ["f"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        onnx.helper.make_node("QuantizeLinear", ["p", "xs", "xz"], ["r"]),
    ]
    model = between(nodes, (16, 8, 8), {"yz": np.uint8(110)}, output=0.03)
    x = rng.normal(size=(4, 16, 8, 8)).astype(np.float32)
    steps = np.clip(np.rint(x / np.float32(0.03)) + 110, 0, 255)
    pooled = steps.reshape(4, 16, 4, 2, 4, 2).mean((3, 5)) - 110
    expected = np.rint(pooled)  # half to even, counted from the zero
    assert (np.abs(pooled - np.trunc(pooled)) == 0.5).mean() > 0.2
    np.testing.assert_allclose(run(written_out(model), x), expected * np.float32(0.03), atol=1e-5)


def test_whole_numbers_that_go_elsewhere_are_refused() -> None:
    nodes = [
        onnx.helper.make_node("MatMulInteger", ["q", "w", "xz"], ["m"]),
        onnx.helper.make_node("Div", ["m", "two"], ["d"], "halved"),
        onnx.helper.make_node("Cast", ["d"], ["r"], to=1),
    ]
    held = {"w": np.ones((6, 4), np.int8), "two": np.array(2, np.int32)}
    report = r'MatMulInteger "m" cannot be written out: its whole numbers go into Div "halved"'
    with pytest.raises(Exception, match=report):
        check(between(nodes, (5, 6), held, output=None))


# --- whole nets -----------------------------------------------------------------------------------


TARGET = 1  # the same in all forms of a net, which need not agree on the best
NETS_AND_FORMS = [pytest.param(n, f, id=f"{n}-{f}") for n in NETS for f in FORMS]
EXACT: list[Net] = ["mnist", "residual", "mlp"]  # digits' QDQ form has ties, which kernels break


@cache
def explain(net: Net, form: Form, per_channel: bool = True) -> Explanation:
    """DeepSHAP of eight samples against ten."""
    x, model = samples(net), quantised(net, form, per_channel)
    return Explainer(model, x[REFERENCES], target=TARGET)(x[EXPLICANDS], per_reference=True)


def own(net: Net, form: Form, rows: slice, per_channel: bool = True) -> np.ndarray:
    """What onnxruntime gives for the model itself, one sample at a time."""
    return run(quantised(net, form, per_channel), samples(net)[rows], alone=True)[:, TARGET]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("net", "form"), NETS_AND_FORMS)
def test_nets_are_complete(net: Net, form: Form, per_channel: bool) -> None:
    """The sum of the attributions is what the quantised net itself changes by."""
    found = explain(net, form, per_channel)
    assert_complete(found)
    y, y0 = (own(net, form, rows, per_channel) for rows in (EXPLICANDS, REFERENCES))
    step = 0.0
    if net == "digits" and form == "qdq":
        held = quantised(net, form, per_channel).graph.initializer
        step = next(float(numpy_helper.to_array(t)) for t in held if t.name == "logits_scale")
    atol = ROUNDING * np.abs(y).max() + 1.001 * step
    np.testing.assert_allclose(found.outputs, y, atol=atol)
    np.testing.assert_allclose(np.asarray(found.base_values), y0.mean(), atol=atol)
    sums = np.asarray(found.attributions).reshape(len(y), -1).sum(1)
    size = np.abs(np.asarray(found.attributions)).reshape(len(y), -1).sum(1)
    assert (np.abs(sums - (y - y0.mean())) <= ROUNDING * size + 2 * atol).all()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("net", EXACT)
def test_qdq_and_integer_operators_are_one_net(net: Net, per_channel: bool) -> None:
    """The quantiser's two forms of it have the same explanation."""
    one, other = (np.asarray(explain(net, f, per_channel).attributions) for f in FORMS[:2])
    assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max()


@pytest.mark.parametrize(("net", "form"), NETS_AND_FORMS)
def test_maps_are_those_of_the_float_net(net: Net, form: Form) -> None:
    """Within the error of quantisation: of pairs, and of their mean.

    Pairs differ far where the logit itself differs by a step or less: then all their credit adds up
    to no step, or to one. So of pairs, the median counts.
    """
    near, exact = (explain(net, f) for f in (form, "float"))
    a, b = (np.asarray(e.per_reference).reshape(80, -1) for e in (near, exact))
    gap = float(np.median(np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)))
    mean, other = (np.asarray(e.attributions).ravel() for e in (near, exact))
    alike = np.corrcoef(mean, other)[0, 1]
    print(f"{net} {form}: RMS difference of a pair {gap:.3f}, correlation of means {alike:.4f}")
    assert gap <= 0.12  # weights of 7 bits in up to nine layers, activations of 8
    assert alike >= 0.98


@pytest.mark.parametrize("form", FORMS[:2])
@pytest.mark.parametrize("net", EXACT)
def test_a_file_gives_the_nets_own_outputs(net: Net, form: Form, tmp_path: Path) -> None:
    """In bare onnxruntime: outputs to the bit where a step is a float, and the explanation."""
    x = samples(net)
    explainer = Explainer(quantised(net, form), x[REFERENCES], target=TARGET)
    explainer.export(tmp_path / "explained.onnx")
    session = ort.InferenceSession(tmp_path / "explained.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = {
        o.name: v
        for o, v in zip(
            session.get_outputs(), session.run(None, {name: x[EXPLICANDS]}), strict=True
        )
    }
    logits = run(quantised(net, form), x[EXPLICANDS])
    np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-6)
    found = np.asarray(explain(net, form).attributions)
    np.testing.assert_allclose(
        outputs[f"{name}/attribution"], found, atol=1e-4 * np.abs(found).max()
    )


def test_check_names_how_each_node_is_treated() -> None:
    report = check(quantised("residual", "qoperator"))
    treated = Counter((w.operator, w.into[-1]) for w in report.written_out)
    assert treated == {
        ("ai.onnx::QLinearConv", "QuantizeLinear"): 8,
        ("com.microsoft::QLinearAdd", "QuantizeLinear"): 3,
        ("com.microsoft::QGemm", "QuantizeLinear"): 1,
        ("com.microsoft::QLinearGlobalAveragePool", "QuantizeLinear"): 1,
    }
    assert "written out: 8 ai.onnx::QLinearConv, as Cast, " in str(report)
    assert not report.named("fallback")
