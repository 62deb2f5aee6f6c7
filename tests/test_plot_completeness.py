import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from onnxshap.errors import InputError
from onnxshap.plot import plot
from onnxshap.plot.completeness import MISSED, TOTAL
from onnxshap.plot.panels import panels
from onnxshap.plot.parts import parts
from tests.test_plot import HOSTILE, make, texts


def several(count=3, n=1, k=None, gap=0.0):
    """Explanation of several inputs of different shapes, ``gap`` off completeness."""
    shapes = [(2,), (3, 4, 4), (5, 2)]
    each = [make(shapes[i % 3], n, k, seed=i) for i in range(count)]
    names = [f"input_{i}" for i in range(count)]
    whole = replace(
        each[0],
        attributions={name: e.attributions for name, e in zip(names, each, strict=True)},
        data=None,
        residual=np.full_like(each[0].outputs, gap),
    )
    return replace(whole, base_values=whole.outputs - whole.sums() + gap)


def bars(axes, colour=None):
    """Left and right end of every bar of a colour."""
    found = [p for p in axes.patches if colour is None or p.get_facecolor() == to_rgba(colour)]
    return [sorted((p.get_x(), p.get_x() + p.get_width())) for p in found]


@pytest.mark.parametrize("shape", [(), (6,), (5, 3), (3, 8, 8), (2, 3, 4, 5)])
def test_samples_of_any_shape_lead_from_base_value_to_output(shape):
    explanation = make(shape, n=2, k=2)
    figure = plot(explanation, form="completeness")
    for axes, (n, k) in zip(figure.axes, np.ndindex(2, 2), strict=True):
        values = np.asarray(explanation.attributions[n, k], np.float64)
        base, output = explanation.base_values[n, k], explanation.outputs[n, k]
        up, down = values[values > 0].sum(), values[values < 0].sum()
        assert bars(axes, TOTAL) == [pytest.approx(sorted([base, output]))]
        if up:
            assert [base, base + up] in [pytest.approx(b) for b in bars(axes)]
        if down:
            assert [output, base + up] in [pytest.approx(b) for b in bars(axes)]
        assert {f"{up:+.4g}", f"{down:+.4g}", "+1.5e-07"} <= {t.get_text() for t in axes.texts}
    assert figure._repr_png_()


def test_every_input_is_a_segment():
    explanation = several(3)
    axes = plot(explanation, form="completeness").axes[0]
    base = start = float(explanation.base_values[0])
    for values in explanation.attributions.values():
        up = float(np.maximum(values[0], 0).sum(dtype=np.float64))
        assert [start, start + up] in [pytest.approx(b) for b in bars(axes)]
        start += up
    assert bars(axes, TOTAL)[0] == pytest.approx(sorted([base, float(explanation.outputs[0])]))
    colours = {p.get_facecolor() for p in axes.patches}
    assert len(colours) == 2 * 3 + 2
    found = texts(plot(explanation, form="completeness"))
    assert all(any(t.startswith(f"input_{i} ") for t in found) for i in range(3))


def test_the_gap_is_drawn_and_its_number_printed():
    explanation = several(2, gap=-0.75)
    figure = plot(explanation, form="completeness")
    output = float(explanation.outputs[0])
    assert bars(figure.axes[0], MISSED) == [pytest.approx([output - 0.75, output])]
    share = 0.75 / abs(output - explanation.base_values[0])
    assert any(t.startswith(f"-7.5e-01, {100 * share:.0f} % of output") for t in texts(figure))
    assert any("Yellow: by how much" in t for t in texts(figure))


def test_small_inputs_are_added_up():
    explanation = several(7, k=2)
    chosen = parts(panels(explanation, None), 4)
    assert [p.name for p in chosen][-1] == "3 other inputs"
    total = sum(p.up + p.down for p in chosen)
    assert np.allclose(total, explanation.sums())
    found = texts(plot(explanation, form="completeness", top=6))
    assert any(t.startswith("1 other input ") for t in found)


def test_one_input_of_several_is_not_complete():
    with pytest.raises(InputError, match=re.escape("leave out input='input_1'")):
        plot(several(2), form="completeness", input="input_1")
    with pytest.raises(InputError, match="sign is 'positive'; completeness draws both signs"):
        plot(several(2), form="completeness", sign="positive")


def test_methods_that_promise_nothing_say_so():
    explanation = several(2)
    free = replace(explanation, base_values=None, residual=None, method="gradient")
    figure = plot(free, form="completeness")
    assert not bars(figure.axes[0], MISSED)
    assert {"no base value, so none promised"} <= set(texts(figure))
    assert "Bars start at zero: the method has no base value." in texts(figure)
    assert bars(figure.axes[0], TOTAL) == [pytest.approx(sorted([0, float(free.sums()[0])]))]
    inner = replace(explanation, residual=None, base_values=explanation.base_values - 2)
    figure = plot(inner, form="completeness")
    assert "-2.0e+00; completeness is not promised" in texts(figure)


def test_what_is_not_finite_is_counted_and_leaves_no_gap():
    explanation = several(2)
    explanation.attributions["input_0"][0, 1] = np.inf
    figure = plot(replace(explanation, residual=np.array([np.nan])), form="completeness")
    assert "not finite" in texts(figure)
    assert "not finite: 1; bars are of the others" in texts(figure)
    assert not bars(figure.axes[0], MISSED)
    broken = make((4,), n=1, k=None)
    broken.outputs[:] = np.inf
    assert plot(broken, form="completeness")._repr_png_()


def test_zero_attributions_are_drawn():
    explanation = make((4,), n=1, k=None)
    explanation.attributions[:] = 0
    still = replace(explanation, base_values=explanation.outputs, residual=np.zeros(1))
    assert "+0.0e+00" in texts(plot(still, form="completeness"))


def test_rows_and_targets_beyond_the_limit_are_said():
    found = texts(plot(make((4,), n=5, k=4), form="completeness", max_rows=2, max_columns=3))
    assert "The first 2 of 5 explicands." in found
    assert "The first 3 of 4 targets." in found
    assert sum(t == "residual" for t in found) == 6


def test_hostile_names_are_drawn_as_they_are():
    explanation = several(3)
    odd = dict(zip(HOSTILE, explanation.attributions.values(), strict=False))
    figure = plot(replace(explanation, attributions=odd), form="completeness", labels=HOSTILE)
    assert figure._repr_png_()
    everything = figure.texts + [t for axes in figure.axes for t in axes.texts]
    assert not any(t.get_parse_math() for t in everything)
    assert any("cost_$_per_$_unit" in t for t in texts(figure))
