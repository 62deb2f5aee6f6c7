"""The whole figure: a heading, one block an explained input, and how to read the colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxshap.errors import InputError
from onnxshap.explanation import Explanation, counted
from onnxshap.plot.bars import BarForm
from onnxshap.plot.canvas import BODY, SOFT, TITLE, Canvas, Drawing, colour_map, line, wrap
from onnxshap.plot.completeness import CompletenessForm
from onnxshap.plot.form import Form
from onnxshap.plot.images import ImageForm
from onnxshap.plot.maps import form_of, photos
from onnxshap.plot.panels import Facts, Labels, Panel, Style, facts, panels, plain
from onnxshap.plot.strips import StripForm
from onnxshap.plot.texts import TokenForm
from onnxshap.plot.tokens import Tokens, token_lists

MARGIN = 0.2


def draw(
    explanation: Explanation,
    image: Any,
    labels: Labels,
    features: Sequence[str] | None,
    tokens: Tokens,
    name: str | None,
    style: Style,
    title: str | None,
) -> Drawing:
    """Lay the blocks out below each other, then draw them."""
    colour_map(style.cmap)
    chosen = panels(explanation, name)
    table = facts(explanation, labels)
    forms: list[Form]
    if style.form == "completeness":
        forms = [CompletenessForm(chosen, table, style)]
        if len(chosen) < len(panels(explanation, None)):
            raise InputError(f"completeness is of all inputs: leave out input={name!r}")
    else:
        texts = _texts(chosen, style, tokens)
        forms = [_form(p, table, style, image, features, texts.get(p.name)) for p in chosen]
    head = heading(explanation, style, forms)
    named = len(forms) > 1
    top = MARGIN + (line(13) + 0.05 if title else 0) + line(BODY) + 0.1
    width = max(5.0, *(f.width for f in forms)) + 2 * MARGIN
    inner = width - 2 * MARGIN
    tail = [
        part for text in captions(explanation, style, forms) for part in wrap(text, inner, BODY)
    ]
    height = top + sum(f.height + (line(TITLE) + 0.12 if named else 0) for f in forms)
    height += len(tail) * line(BODY) + MARGIN + 0.05
    canvas = Canvas(width, height)
    if title:
        canvas.text(MARGIN, MARGIN, plain(title), 13, width=inner, bold=True)
    canvas.text(MARGIN, top - 0.1 - line(BODY), head, BODY, width=inner, color=SOFT)
    for panel, form in zip(chosen, forms, strict=False):
        if named:
            canvas.text(MARGIN, top, f"input {panel.name}", TITLE, width=inner, color=SOFT)
            top += line(TITLE) + 0.12
        form.draw(canvas, MARGIN, top)
        top += form.height
    for i, text in enumerate(tail):
        canvas.text(MARGIN, top + 0.05 + i * line(BODY), text, BODY, width=inner, color=SOFT)
    return canvas.figure


def _texts(
    chosen: Sequence[Panel], style: Style, tokens: Tokens
) -> dict[str | None, list[list[str | None]]]:
    """Tokens by input; "auto" gives them to the inputs that have an axis of their length."""
    if style.form != "tokens" and (style.form != "auto" or tokens is None):
        return {}
    lists = token_lists(tokens, len(chosen[0].values))
    fitting = [p for p in chosen if len(lists[0]) in p.values.shape[2:]]
    spoken = fitting if fitting and style.form == "auto" else chosen
    return {panel.name: lists for panel in spoken}


def _form(
    panel: Panel,
    table: list[list[Facts]],
    style: Style,
    image: Any,
    features: Sequence[str] | None,
    texts: list[list[str | None]] | None,
) -> Form:
    if texts is not None:
        return TokenForm(panel, table, style, texts)
    form = form_of(panel.values.shape[2:], style, image is not None)
    if form == "bars":
        return BarForm(panel, table, style, features)
    if form == "strip":
        return StripForm(panel, table, style)
    count = len(panel.values)
    pictures = None if image is None else photos(image, count)
    if pictures is None and panel.data is not None:
        try:
            pictures = photos(list(panel.data), count)
        except InputError:  # explained values that are no picture, e.g. a feature map
            pictures = None
    return ImageForm(panel, table, style, pictures)


def heading(explanation: Explanation, style: Style, forms: Sequence[Form]) -> str:
    """Name the method, the references, and what is not plain in the maps."""
    parts = [explanation.method or "unnamed method"]
    if explanation.references:
        parts.append(counted(explanation.references))
    if not explanation.complete:
        parts.append("partial result")
    if style.block > 1 and style.form != "completeness":
        parts.append(f"summed over blocks of {style.block}")
    if style.sign != "signed":
        parts.append(
            f"{style.sign} attributions only" if style.sign != "absolute" else "magnitudes"
        )
    if style.scale != "row" and any(form.coloured for form in forms):
        parts.append(f"one colour limit a {style.scale}")
    return plain(", ".join(parts))


def captions(explanation: Explanation, style: Style, forms: Sequence[Form]) -> list[str]:
    """Say how to read the colours, and what was left out."""
    ends = {"RdBu_r": ("Red", "blue"), "PuOr": ("Purple", "orange"), "PuOr_r": ("Orange", "purple")}
    up, down = ends.get(style.cmap, ("The upper end of the colour map", "the lower end"))
    than = "above its base value" if explanation.base_values is not None else "up"
    lines = [f"{up} pushes the output {than}, {down} pushes it down."]
    if style.sign == "absolute":
        lines = ["Colour shows the size of attributions, not their sign."]
    if any(form.coloured for form in forms):
        lines[0] += f" Colours end at the {style.percentile:g}th percentile of |attribution|."
    lines += dict.fromkeys(note for form in forms for note in form.notes())
    shape = np.shape(np.atleast_1d(explanation.outputs))
    rows, columns = shape[0], shape[1] if len(shape) > 1 else 1
    if rows > style.max_rows:
        lines.append(f"The first {style.max_rows} of {rows} explicands.")
    if columns > style.max_columns:
        lines.append(f"The first {style.max_columns} of {columns} targets.")
    if explanation.note:
        lines.append(f"Mind: {plain(explanation.note)}.")
    return lines
