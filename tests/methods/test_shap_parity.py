"""``rules="shap"`` against what shap.DeepExplainer itself gave: tests/fixtures/shap, float64."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxshap
from onnxshap import CompletenessWarning, Explainer, InputError
from onnxshap.methods import DeepShap
from tests.helpers import models
from tests.helpers.gradcheck import evaluator
from tests.helpers.precision import doubled

FIXTURES = Path(__file__).parents[1] / "fixtures" / "shap"
NETS = sorted(path.stem for path in FIXTURES.glob("*.onnx"))
UNLIKE = ["small_pool", "small_relu", "small_softplus", "softmax", "softmax_inside"]
"""Where exact rules give other numbers: shap's thresholds and its softmax."""
LOSSY = ["small_pool", "small_relu"]
"""Where shap's thresholds cost completeness."""

EXACT, NOISE = 1e-9, 1e-2  # of the largest value; the second is float32 noise of shap's own


def net(name: str) -> onnx.ModelProto:
    return onnx.load(FIXTURES / f"{name}.onnx")


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Explicands and references, float32."""
    with np.load(FIXTURES / "samples.npz") as archive:
        return archive["explicands"], archive["references"]


def golden(name: str) -> dict[str, np.ndarray]:
    """What shap gave: ``values`` [N, *x, K], and torch's outputs."""
    with np.load(FIXTURES / f"{name}.npz") as archive:
        return dict(archive)


def gap(found: np.ndarray, values: np.ndarray) -> float:
    """Largest difference between [N, K, *x] and shap's [N, *x, K], of the largest value."""
    expected = np.moveaxis(values, -1, 1)
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def in_float64(name: str, rules: str) -> np.ndarray:
    """Attributions [N, K, *x] by the reference evaluator."""
    x, r = (a.astype(np.float64) for a in samples())
    proto = onnxshap.build(doubled(net(name)), rules=rules).proto
    classes = golden(name)["outputs"].shape[1]
    seed = np.broadcast_to(np.eye(classes)[:, None], (classes, len(x), classes))
    found = evaluator(proto)({"image": x, "image/reference": r, "seed": seed})
    return found["image/contributions"].mean(2).swapaxes(0, 1)


def test_there_are_goldens() -> None:
    assert len(NETS) >= 14
    assert sum(path.stat().st_size for path in FIXTURES.iterdir()) < 1.5 * 2**20


@pytest.mark.parametrize("name", NETS)
def test_equal_to_shap_in_float64(name: str) -> None:
    values = golden(name)["values"]
    ours = gap(in_float64(name, "shap"), values)
    print(f"\n  {name}: {ours:.1e}", end="")
    assert ours < EXACT
    exact = gap(in_float64(name, "exact"), values)
    assert exact > 10 * EXACT if name in UNLIKE else exact < EXACT


@pytest.mark.parametrize("name", NETS)
def test_equal_to_shap_in_float32(name: str) -> None:
    (x, r), shown = samples(), golden(name)
    explainer = Explainer(net(name), r, target=[0, 1, 2], rules="shap")
    if name in LOSSY:
        with pytest.warns(CompletenessWarning, match=r"as shap\.DeepExplainer has them"):
            found = explainer(x)
    else:
        found = explainer(x)
    assert gap(found.attributions, shown["values"]) < NOISE
    np.testing.assert_allclose(found.outputs, shown["outputs"], rtol=1e-5, atol=1e-5)
    expected = np.broadcast_to(shown["base_values"], found.base_values.shape)
    np.testing.assert_allclose(found.base_values, expected, rtol=1e-5, atol=1e-5)
    assert found.note == "multipliers as shap.DeepExplainer has them, thresholds included"


# How rules are asked for --------------------------------------------------------------------------


def test_rules_are_a_parameter_of_deepshap() -> None:
    x, r = samples()
    model = net("softmax")
    asked = Explainer(model, r, rules="shap")(x)
    by_object = Explainer(model, r, method=DeepShap(rules="shap"))(x)
    np.testing.assert_array_equal(asked.attributions, by_object.attributions)
    changed = Explainer(model, r, method=DeepShap(rules="shap"), rules="exact")(x)
    plain = Explainer(model, r)(x)
    np.testing.assert_array_equal(changed.attributions, plain.attributions)
    assert np.abs(asked.attributions - plain.attributions).max() > 1e-3
    assert (plain.note, changed.note) == ("", "")


def test_an_exported_file_has_them(tmp_path: Path) -> None:
    x, r = samples()
    explainer = Explainer(net("softmax"), r, target=1, rules="shap")
    explainer.export(tmp_path / "e.onnx")
    found = models.run(str(tmp_path / "e.onnx"), {"image": x})["image/attribution"]
    expected = explainer(x).attributions
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    notes = {p.key: p.value for p in onnx.load(tmp_path / "e.onnx").metadata_props}
    assert "shap.DeepExplainer" in notes["onnxshap.note"]


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "x_gradient", "random"])
def test_other_methods_refuse_them(method: str) -> None:
    said = rf"^rules='shap': these are rules for DeepLIFT multipliers, and method '{method}' has"
    with pytest.raises(InputError, match=said):
        Explainer(net("relu"), None, method=method, rules="shap")
    with pytest.raises(InputError, match=said):
        onnxshap.build(net("relu"), method=method, rules="shap")


def test_exact_rules_fit_every_method() -> None:
    assert Explainer(net("relu"), None, method="gradient", rules="exact") is not None


@pytest.mark.parametrize("method", ["deepshap", "gradient"])
def test_unknown_rules_are_refused(method: str) -> None:
    with pytest.raises(InputError, match=r"^rules='shape': there is 'exact' and 'shap'$"):
        onnxshap.build(net("relu"), method=method, rules="shape")
