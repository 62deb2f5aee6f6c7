"""Photos explained against several sets of references, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxshap.explanation import Explanation
from onnxshap.plot.canvas import BODY, SMALL, SOFT, TITLE, Canvas, Drawing, colour_map, line, wrap
from onnxshap.plot.images import saturation, show_map, show_photo
from onnxshap.plot.maps import grey, limits, maps, standard_error
from onnxshap.plot.panels import Style, facts, panels

MARGIN, PHOTO, SIDE, GAP = 0.3, 3.1, 1.82, 0.16
HEAD, ROW = 0.42, SIDE + 3 * line(SMALL) + 0.14
COLOURS = "RdBu_r"


@dataclass(frozen=True)
class Comparison:
    """One photo's explanation, of several targets, against one set of references."""

    name: str
    references: np.ndarray
    """[M, H, W, 3], 0..1."""
    explanation: Explanation


@dataclass(frozen=True)
class Subject:
    """A photo, what the classifier makes of it, and its explanations."""

    name: str
    photo: np.ndarray
    """[H, W, 3], 0..1."""
    probabilities: np.ndarray
    comparisons: Sequence[Comparison]

    @property
    def targets(self) -> list[int]:
        """The explained classes."""
        return [int(t) for t in self.comparisons[0].explanation.targets[0]]


def draw(
    subjects: Sequence[Subject],
    names: Sequence[str],
    *,
    title: str,
    subtitle: str,
    block: int = 7,
    percentile: float = 99.0,
) -> Drawing:
    """Draw a block a photo: the photo and its classes, then one row of maps a reference set."""
    style = Style(block=block, percentile=percentile)
    columns = max(len(s.targets) for s in subjects)
    width = 2 * MARGIN + PHOTO + 0.35 + (columns + 1) * (SIDE + GAP) + 0.55
    notes = wrap(
        "Every map splits a class score (logit) minus its base value, the mean score of the "
        "references, over the pixels. Red raises the score, blue lowers it, and all cells sum to "
        f"that difference, up to the residual. A cell sums {block} x {block} pixels and the three "
        f"channels. Maps of a row share one colour scale, which ends at the {percentile:g}th "
        "percentile of |attribution|. Standard error: spread over the references divided by the "
        "square root of their number, as a share of the map; tens of percent mean that more "
        "references would still change it.",
        width - 2 * MARGIN,
        BODY,
    )
    blocks = [HEAD + len(s.comparisons) * ROW + 0.25 for s in subjects]
    top = 0.95
    canvas = Canvas(width, top + sum(blocks) + len(notes) * line(BODY) + 0.3, dpi=150)
    canvas.text(MARGIN, 0.24, title, 16, width=width - 2 * MARGIN, bold=True)
    canvas.text(MARGIN, 0.58, subtitle, 10, width=width - 2 * MARGIN, color=SOFT)
    for subject, height in zip(subjects, blocks, strict=True):
        _subject(canvas, subject, names, style, top)
        top += height
    for i, text in enumerate(notes):
        canvas.text(MARGIN, top + i * line(BODY), text, BODY, color=SOFT)
    return canvas.figure


def _subject(
    canvas: Canvas, subject: Subject, names: Sequence[str], style: Style, top: float
) -> None:
    canvas.text(MARGIN, top + 0.1, subject.name, 12, bold=True)
    show_photo(canvas.axes(MARGIN, top + HEAD, PHOTO, PHOTO), subject.photo)
    under = top + HEAD + PHOTO + 0.18
    _answer(canvas, subject, names, under)
    _rises(canvas, subject, names, under + 2.0)
    left = MARGIN + PHOTO + 0.35
    canvas.text(left, top + 0.16, "compared with", TITLE, color=SOFT)
    for k, target in enumerate(subject.targets):
        x = left + (k + 1) * (SIDE + GAP)
        canvas.text(x, top + 0.16, names[target], TITLE, width=SIDE, bold=True)
    for i, comparison in enumerate(subject.comparisons):
        _row(canvas, subject, comparison, style, left, top + HEAD + i * ROW)


def _answer(canvas: Canvas, subject: Subject, names: Sequence[str], top: float) -> None:
    """Draw the five likeliest classes with their probabilities, the explained ones dark."""
    canvas.text(MARGIN, top, "The classifier's answer", BODY, color=SOFT)
    for i, c in enumerate(np.argsort(-subject.probabilities, kind="stable")[:5]):
        y, share = top + 0.24 + i * 0.31, float(subject.probabilities[c])
        explained = int(c) in subject.targets
        canvas.text(MARGIN, y, names[c], 9, width=PHOTO - 0.6, bold=explained)
        canvas.text(MARGIN + PHOTO, y, f"{100 * share:.1f} %", 9, align="right")
        bar = canvas.axes(MARGIN, y + 0.18, PHOTO, 0.05)
        bar.barh(0, share, height=1, color="#444444" if explained else "#aaaaaa")
        bar.set(xlim=(0, 1), ylim=(-0.5, 0.5), facecolor="#eeeeee")
        bar.spines[:].set_visible(False)


def _rises(canvas: Canvas, subject: Subject, names: Sequence[str], top: float) -> None:
    """Draw how far the first class's score lies from its base value, for each reference set."""
    name = names[subject.targets[0]]
    canvas.text(
        MARGIN, top, f"Score of {name}: base value to output", BODY, width=PHOTO, color=SOFT
    )
    rows = []
    for comparison in subject.comparisons:
        base = comparison.explanation.base_values
        assert base is not None
        rows.append((float(base[0, 0]), float(comparison.explanation.outputs[0, 0])))
    low, high = min(0.0, *(min(r) for r in rows)), max(max(r) for r in rows)
    for i, ((base_value, output), comparison) in enumerate(
        zip(rows, subject.comparisons, strict=True)
    ):
        y = top + 0.24 + i * 0.42
        change = f"{_two(base_value)} \u2192 {_two(output)}"
        canvas.text(MARGIN, y, comparison.name, SMALL, width=PHOTO - 1.1)
        canvas.text(MARGIN + PHOTO, y, change, SMALL, align="right")
        axes = canvas.axes(MARGIN, y + 0.17, PHOTO, 0.11)
        colour = colour_map(COLOURS)(0.87 if output >= base_value else 0.13)
        axes.barh(0, output - base_value, left=base_value, height=1, color=colour)
        axes.set(xlim=(low, high), ylim=(-0.5, 0.5), facecolor="#eeeeee")
        axes.spines[:].set_visible(False)


def _row(
    canvas: Canvas, subject: Subject, comparison: Comparison, style: Style, left: float, top: float
) -> None:
    """Draw the references, then one map a class on a shared colour scale."""
    (panel,), printed = panels(comparison.explanation, None), facts(comparison.explanation, None)
    summed = maps(panel.values, (0,), style)
    limit, colours = float(limits(summed, style)[0, 0]), colour_map(COLOURS)
    show_photo(canvas.axes(left, top, SIDE, SIDE), _montage(comparison.references))
    canvas.text(left, top + SIDE + 0.05, comparison.name, SMALL, width=SIDE, color=SOFT)
    for k, values in enumerate(summed[0]):
        x, fact = left + (k + 1) * (SIDE + GAP), printed[0][k]
        show_map(canvas.axes(x, top, SIDE, SIDE), values, limit, colours, grey(subject.photo))
        residual = "" if fact.residual is None else f"residual {fact.residual:+.0e}, "
        lines = [
            f"base value {_two(fact.base_value or 0.0)} \u2192 output {_two(fact.output)}",
            residual + ", ".join(saturation(values, limit)),
            *(
                standard_error(panel, (0,), style, 0, k)
                or [f"{len(comparison.references)} reference: no standard error"]
            ),
        ]
        for i, text in enumerate(lines):
            canvas.text(x, top + SIDE + 0.05 + i * line(SMALL), text, SMALL, color=SOFT)
    bar = left + (len(summed[0]) + 1) * (SIDE + GAP) - GAP + 0.1
    if limit:
        canvas.colour_bar(bar, top, SIDE, colours, -limit, limit)


def _two(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"


def _montage(references: np.ndarray) -> np.ndarray:
    """Tile as many references as make a square."""
    side = min(int(np.sqrt(len(references))), 3)
    chosen = np.clip(references[: side * side], 0, 1)
    rows = [np.concatenate(list(chosen[i : i + side]), axis=1) for i in range(0, side**2, side)]
    return np.concatenate(rows, axis=0)
