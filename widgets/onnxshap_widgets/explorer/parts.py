"""Small pieces that the panels are made of."""

import html
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import anywidget
import ipywidgets as W

from onnxshap.explainer import Stream
from onnxshap.explanation import Explanation
from onnxshap_widgets.jobs import Job, Told, Work, Worker
from onnxshap_widgets.static_files import module, style

Kind = Literal["plain", "muted", "good", "warn", "error"]
T = TypeVar("T")


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


class WorkPanel(W.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """A panel with a thread of its own: its new job cancels its old one, and no other panel's."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.job: Job | None = None
        """The job started last."""
        self.status = line("", "muted", live=True)
        self.cancel_button = button("Cancel", "stop at once")
        self.cancel_button.disabled = True
        self.cancel_button.on_click(lambda _: self.cancel())
        super().__init__()

    def start(
        self,
        told: str,
        work: Work,
        done: Told,
        progress: Told | None = None,
        debounce: float = 0.0,
    ) -> Job:
        """Begin ``work(job)`` and say so; ``done`` is given its result, errors become text."""
        self.worker.cancel()  # nothing of the job before is written from here on
        write(self.status, told, "muted", live=True)
        self.cancel_button.disabled = False

        def ended(result: Any) -> None:
            self.cancel_button.disabled = True
            done(result)

        self.job = self.worker.submit(work, progress, ended, self.fail, debounce=debounce)
        return self.job

    def attempt(self, call: Callable[[], T]) -> T | None:
        """What ``call`` returns; None where it raises, and the panel says what."""
        try:
            return call()
        except Exception as error:
            self.fail(error)
            return None

    def cancel(self) -> None:
        """Stop at once; what is shown stays."""
        self.worker.cancel()
        self.cancel_button.disabled = True
        write(self.status, "Cancelled.", "muted", live=True)

    def fail(self, error: BaseException) -> None:
        """Say what went wrong."""
        self.cancel_button.disabled = True
        write(self.status, f"{type(error).__name__}: {error}", "error")


def last_of(stream: Stream, job: Job) -> Explanation | None:
    """The explanation over all references; None if the job was cancelled before."""
    job.on_cancel(stream.close)
    last = None
    for last in stream:  # noqa: B007  used after the loop
        pass
    return None if last is None or not last.complete else last
