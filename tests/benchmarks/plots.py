"""Curves of the benchmark, as small pictures."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from tests.benchmarks.contenders import CONTENDERS

Data = dict[str, Any]
COLOURS = {
    "floor": "#999999",
    "shap": "#d55e00",
    "captum": "#cc79a7",
    "opt_torch": "#e69f00",
    "onnxshap": "#0072b2",
    "one_shot": "#56b4e9",
}
PANELS = {
    "references": "references M\n(Lite0, 1 explicand)",
    "explicands": "explicands N\n(Lite0, 10 references)",
    "size": "pixels a side\n(ResNet-50, 10 references)",
    "nodes": "nodes of the graph\n(8 channels, 16 px, 10 references)",
}


def draw(measured: dict[str, Data], folder: Path) -> list[str]:
    """Draw what was measured; returns the names of the pictures."""
    found = []
    if "curves" in measured:
        found.append(_curves(measured["curves"]["cells"], folder))
    if "settle" in measured:
        found.append(_settle(measured["settle"]["cells"]["needed"], folder))
    return found


def _curves(cells: Data, folder: Path) -> str:
    figure, axes = plt.subplots(1, len(PANELS), figsize=(11, 3.2), layout="constrained")
    shown: dict[str, Any] = {}
    for panel, (kind, label) in zip(axes, PANELS.items(), strict=True):
        points = [(float(k.split("/")[1]), c) for k, c in cells.items() if k.startswith(f"{kind}/")]
        shown |= _panel(panel, sorted(points, key=lambda p: p[0]))
        panel.set_xlabel(label)
    axes[0].set_ylabel("seconds")
    names = [CONTENDERS[n].title for n in shown]
    figure.legend(shown.values(), names, ncols=3, loc="outside upper center", fontsize=8)
    return _saved(figure, folder, "curves.png")


def _panel(panel: Axes, points: Sequence[tuple[float, Data]]) -> dict[str, Any]:
    """One line a contender; returns them by name."""
    lines = {}
    for name, colour in COLOURS.items():
        own = [
            (at, statistics.median(c["contenders"][name]["seconds"]))
            for at, c in points
            if c["contenders"].get(name, {}).get("seconds")
        ]
        if own:
            (lines[name],) = panel.plot(*zip(*own, strict=True), ".-", color=colour, lw=1.2, ms=4)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.grid(alpha=0.3)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
    return lines


def _settle(needed: Data, folder: Path) -> str:
    figure, panel = plt.subplots(figsize=(4.2, 3), layout="constrained")
    counts, errors = zip(*needed["curve"], strict=True)
    panel.loglog(counts, [100 * e for e in errors], ".-", color=COLOURS["onnxshap"], ms=4)
    panel.axhline(10, color="#999999", lw=1)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter("{x:g}")
    panel.set_xlabel("references")
    panel.set_ylabel("relative standard error, %\n(9x9 means)")
    panel.grid(alpha=0.3)
    return _saved(figure, folder, "settle.png")


def _saved(figure: Any, folder: Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / name, dpi=110)
    plt.close(figure)
    return name
