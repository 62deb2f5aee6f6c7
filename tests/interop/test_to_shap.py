"""Explanations in shap's form. Where shap is installed its own plots draw them."""

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from onnxshap import Explainer, Explanation, InputError
from tests.helpers import models


def explained(name: str, target: Any, source: str, **options: Any) -> Explanation:
    """Two samples of a small model, compared with three."""
    model = models.SUPPORTED[name]()
    samples, background = models.samples(model, 2), models.samples(model, 3, seed=1)
    one = len(samples) == 1
    explainer = Explainer(
        model, background[source] if one else background, target=target, **options
    )
    return explainer(samples[source] if one else samples)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for shap that keeps what it is given: shap is no dependency of the tests."""
    stand_in = SimpleNamespace(Explanation=lambda **given: SimpleNamespace(**given))
    monkeypatch.setitem(sys.modules, "shap", stand_in)


@pytest.mark.usefixtures("recorded")
def test_images_have_channels_and_then_targets_last() -> None:
    explanation = explained("cnn", "top2", "image")
    found = explanation.to_shap()
    own, data = explanation.attributions, explanation.data
    channels, *sides = own.shape[2:]
    assert found.values.shape == (2, *sides, channels, 2)
    np.testing.assert_array_equal(found.values[1, :, :, 0, 1], own[1, 1, 0])
    np.testing.assert_array_equal(found.data[1, :, :, 0], data[1, 0])
    np.testing.assert_array_equal(found.base_values, explanation.base_values)
    np.testing.assert_array_equal(
        np.broadcast_to(found.output_names, (2, 2)), explanation.targets.astype(str)
    )


@pytest.mark.usefixtures("recorded")
def test_rows_stay_as_they_are() -> None:
    explanation = explained("mlp", 1, "x")
    names = [f"feature {i}" for i in range(explanation.attributions.shape[1])]
    found = explanation.to_shap(feature_names=names)
    assert found.values is explanation.attributions
    assert found.data is explanation.data
    assert found.feature_names == names
    assert found.output_names is None


@pytest.mark.usefixtures("recorded")
def test_a_list_of_targets_names_the_outputs() -> None:
    assert explained("mlp", [0, 2], "x").to_shap().output_names == ["0", "2"]
    places = explained("dense", [(0, 1, 1), (3, 5, 0)], "image").to_shap()
    assert places.output_names == ["(0, 1, 1)", "(3, 5, 0)"]


@pytest.mark.usefixtures("recorded")
def test_what_does_not_fit_is_refused() -> None:
    rows = explained("mlp", 1, "x")
    with pytest.raises(InputError, match=r"feature_names: 2 are given, and a sample has shape \["):
        rows.to_shap(feature_names=["a", "b"])
    with pytest.raises(InputError, match=r"input='x': a single input is explained"):
        rows.to_shap(input="x")
    both = explained("two_inputs", 1, "a")
    assert both.to_shap(input="b").values.shape == (2, 2, 3)
    with pytest.raises(InputError, match=r"several inputs are explained.*name one of 'a', 'b'"):
        both.to_shap()
    with pytest.raises(InputError, match=r"no input 'c'.*name one of 'a', 'b'"):
        both.to_shap(input="c")


def test_without_shap_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(InputError, match=r"needs shap, which is not installed: pip install shap$"):
        explained("mlp", 1, "x").to_shap()


# By shap's own hand -------------------------------------------------------------------------------


@pytest.fixture
def shap() -> Iterator[Any]:
    mpl.use("Agg")
    found = pytest.importorskip(
        "shap", reason="shap is not installed; its plots are tested where it is"
    )
    pyplot = importlib.import_module("matplotlib.pyplot")
    yield found
    pyplot.close("all")


def drawn() -> int:
    """How many images, bars and markers the figure in work shows."""
    pyplot = importlib.import_module("matplotlib.pyplot")
    axes = pyplot.gcf().axes
    pyplot.gcf().canvas.draw()
    return sum(len(a.images) + len(a.patches) + len(a.collections) for a in axes)


@pytest.mark.filterwarnings("ignore::Warning")  # shap's own
@pytest.mark.parametrize("target", [1, [0, 2], "top2"])
def test_image_plot(shap: Any, target: Any) -> None:
    found = explained("cnn", target, "image").to_shap()
    shap.plots.image(found, show=False)
    assert drawn() >= 2 * (1 if target == 1 else 2)
    shap.plots.image(found[0], show=False)


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("target", [1, [0, 2], "top2"])
@pytest.mark.parametrize("named", [False, True])
def test_plots_of_rows(shap: Any, target: Any, named: bool) -> None:
    explanation = explained("mlp", target, "x")
    names = [f"feature {i}" for i in range(explanation.attributions.shape[-1])]
    found = explanation.to_shap(feature_names=names if named else None)
    rows = found if target == 1 else found[..., 1]
    assert rows.values.shape == (2, len(names))
    base = explanation.base_values if target == 1 else explanation.base_values[:, 1]
    np.testing.assert_array_equal(rows.base_values, base)
    for plot, of in (
        (shap.plots.waterfall, rows[0]),
        (shap.plots.beeswarm, rows),
        (shap.plots.bar, rows),
        (shap.plots.bar, rows[0]),
    ):
        plot(of, show=False)
        assert drawn() > 0
