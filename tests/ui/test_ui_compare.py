"""The grid of maps in a real notebook: one scale, and two panels compared."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.helpers.exported import opened
from tests.helpers.lab import Open

MADE = """
import numpy as np
from onnxshap_widgets.arrays import squares
from onnxshap_widgets.compare import CompareGrid, Panel

rng = np.random.default_rng(0)
a = rng.normal(size=(3, 224, 224)).astype(np.float32)
b = a + rng.normal(size=a.shape).astype(np.float32)
photo = np.add.outer(np.arange(224), np.arange(224)).astype(float)
grid = CompareGrid(
    [
        ("tiger cat", [Panel("one", a, [("sum", "-1.5")]), Panel("two", b), Panel("large", 9 * a)]),
        ("<b>dog</b>", [Panel("none", 0 * a), Panel("small", np.ones((7, 7)))]),
    ],
    image=photo,
    block=4,
)
grid
"""


def test_a_grid_shares_scales_and_compares_two(notebook: Open) -> None:
    lab = notebook([MADE])
    root, before = lab.output().locator(".ox-compare"), lab.cells()
    limits = root.evaluate("e => JSON.parse(e.dataset.limits)")
    assert len(set(limits[0])) == 1
    assert limits[1][0] != limits[0][0]
    exact = "grid._limits([[squares(m, 4) for m in row] for row in grid._maps])[0][0]"
    assert limits[0][0] == pytest.approx(lab.value(exact), rel=1e-6)
    expect(root.get_by_text("<b>dog</b>")).to_be_visible()
    expect(root.locator(".ox-empty:visible")).to_have_count(1)

    root.get_by_label("Colour scale").select_option("panel")
    expect(root).to_have_attribute("data-scale", "panel")
    expect(root.locator(".ox-caption")).to_contain_text("Each panel has a scale of its own")
    lab.until("grid.scale == 'panel'")
    limits = root.evaluate("e => JSON.parse(e.dataset.limits)")
    assert limits[0][2] == pytest.approx(9 * limits[0][0], rel=1e-6)

    # by keyboard alone
    first = root.get_by_role("button", name="tiger cat, one")
    first.press("Enter")
    root.get_by_role("button", name="tiger cat, two").press("Space")
    lab.until("grid.chosen == [[0, 0], [0, 1]]")
    verdict = root.get_by_label("Comparison")
    expect(verdict).to_contain_text("rank correlation (Spearman)")
    rank, top = lab.value("[grid.agreement().rank_correlation, grid.agreement().top_overlap]")
    assert float(root.get_attribute("data-rank-correlation") or 0) == pytest.approx(rank, abs=1e-4)
    assert float(root.get_attribute("data-top-overlap") or 0) == pytest.approx(top, abs=5e-3)
    for key in ["a", "b", "x", "ArrowDown"]:
        first.press(key)
    assert lab.cells() == before

    root.get_by_role("button", name="<b>dog</b>, small").click()
    expect(verdict).to_contain_text("they cannot be compared value by value")
    root.get_by_role("button", name="Clear the choice").click()
    expect(verdict).to_be_hidden()
    lab.until("grid.chosen == []")
    lab.run("grid.update([('', [Panel('new', a)])])")
    expect(lab.output(0).locator(".ox-compare figcaption").first).to_have_text("new")


def test_the_exported_grid_works_from_a_file(browser: Browser, tmp_path: Path, shots: Path) -> None:
    scope: dict[str, object] = {}
    exec(MADE, scope)
    path = scope["grid"].to_html(tmp_path / "grid.html")  # type: ignore[attr-defined]
    for width, theme in [(1000, "light"), (1000, "dark"), (400, "light")]:
        with opened(browser, path, width, color_scheme=theme) as page:
            root = page.locator(".ox-compare")
            root.get_by_role("button", name="tiger cat, one").click()
            root.get_by_role("button", name="tiger cat, two").click()
            expect(root.get_by_label("Comparison")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            shots.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=shots / f"compare-page-{width}-{theme}.png", full_page=True)
