"""Small pieces that the panels are made of."""

import html
from collections.abc import Sequence
from typing import Any, Literal

import anywidget
import ipywidgets as W

from onnxshap_widgets.static_files import module, style

Kind = Literal["plain", "muted", "good", "warn", "error"]


class Frame(anywidget.AnyWidget):
    """Shows nothing; gives the explorer around it its style and keeps its keys to it."""

    _esm = module("explorer")
    _css = style("explorer")


def line(text: str = "", kind: Kind = "plain", live: bool = False) -> W.HTML:
    """A line of text. ``live``: screen readers tell when it changes."""
    widget = W.HTML()
    widget.add_class("oxa-line-widget")
    write(widget, text, kind, live)
    return widget


def write(widget: W.HTML, text: str, kind: Kind = "plain", live: bool = False) -> None:
    """Put text into a `line`; what looks like HTML in it is shown as it is."""
    role = {"error": ' role="alert"'}.get(kind, ' role="status"' if live else "")
    paragraphs = "<br>".join(html.escape(part) for part in text.split("\n"))
    widget.value = f'<div class="oxa-text oxa-{kind}"{role}>{paragraphs}</div>' if text else ""


def heading(text: str) -> W.HTML:
    """The name of a group of controls."""
    return W.HTML(f'<div class="oxa-heading">{html.escape(text)}</div>')


def group(title: str, *children: W.Widget) -> W.VBox:
    """Controls under a name."""
    box = W.VBox([heading(title), *children])
    box.add_class("oxa-group")
    return box


def button(text: str, tooltip: str, main: bool = False) -> W.Button:
    """A button as wide as its text."""
    made = W.Button(
        description=text,
        tooltip=tooltip,
        button_style="primary" if main else "",
        layout=W.Layout(width="auto"),
    )
    made.add_class("oxa-button")
    return made


def choice(label: str, options: Sequence[Any], **settings: Any) -> W.Dropdown:
    """A drop-down list under its label, as wide as its column."""
    made = W.Dropdown(options=options, description=label, **settings)
    made.add_class("oxa-field")
    return made


def row(*children: W.Widget) -> W.HBox:
    """Widgets beside each other, wrapped where there is no room."""
    box = W.HBox(children)
    box.add_class("oxa-row")
    return box


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """An HTML table of texts."""
    lines = [_cells("th", head)] if head else []
    return f'<table class="oxa-table">{"".join([*lines, *(_cells("td", r) for r in rows)])}</table>'


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(t)}</{tag}>" for t in texts) + "</tr>"
