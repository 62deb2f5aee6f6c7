"""A widget as one HTML page that stands alone: no kernel, no network, controls included."""

import base64
import json
import os
from html import escape
from pathlib import Path
from typing import Any

from onnxshap.errors import InputError

# What only a notebook needs, or what the page holds in its own way.
_LEFT_OUT = {"layout", "tooltip", "tabbable", "comm", "keys", "_esm", "_css", "_anywidget_id"}

# The few calls an anywidget module makes of its model, answered by the page itself.
_SHIM = """
const page = JSON.parse(document.getElementById("page").textContent);
const revive = (value) => {
  if (Array.isArray(value)) return value.map(revive);
  if (value && typeof value === "object") {
    if (typeof value.$bytes === "string") {
      const text = atob(value.$bytes);
      return new DataView(Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer);
    }
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, revive(v)]));
  }
  return value;
};
const state = revive(page.state);
const handlers = new Map();
const model = {
  get: (name) => state[name],
  set(name, value) {
    if (state[name] === value) return;
    state[name] = value;
    for (const handler of handlers.get(`change:${name}`) ?? []) handler();
  },
  save_changes() {},
  send() {},
  on(event, handler) { handlers.set(event, [...(handlers.get(event) ?? []), handler]); },
  off(event, handler) {
    handlers.set(event, (handlers.get(event) ?? []).filter((h) => handler && h !== handler));
  },
};
const url = URL.createObjectURL(new Blob([page.module], { type: "text/javascript" }));
const { default: widget } = await import(url);
const made = typeof widget === "function" ? await widget() : widget;
const el = document.getElementById("widget");
await made.initialize?.({ model });
await made.render({ model, el });
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data: blob:; \
style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 1.5rem auto; max-width: 60rem; padding: 0 1rem; }}
@media (prefers-color-scheme: dark) {{
  :root {{
    --jp-ui-font-color1: #e6e6e6; --jp-ui-font-color2: #a0a6ad; --jp-border-color2: #3d444d;
    --jp-layout-color1: #111111; --jp-layout-color2: #1e1e1e; --jp-brand-color1: #58a6ff;
    --jp-error-color1: #f85149; --jp-success-color1: #3fb950; --jp-warn-color1: #d29922;
  }}
  body {{ background: #111111; }}
}}
{style}
</style>
</head>
<body>
<div id="widget"></div>
<noscript>{still}</noscript>
<script type="application/json" id="page">{page}</script>
<script type="module">{shim}</script>
</body>
</html>
"""


def to_html(widget: Any, path: str | os.PathLike[str], title: str | None = None) -> Path:
    """Write a widget as one page that works from a file, with no kernel and no network.

    Parameters
    ----------
    widget : an anywidget, e.g. Overlay or CompareGrid
    path : path
        An existing file is replaced, whole or not at all.
    title : str, optional
        Title of the page; by default the widget's own.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the widget is none, or the folder does not exist.
    """
    module = str(getattr(widget, "_esm", ""))
    if not module:
        raise InputError(
            f"to_html: a {type(widget).__name__} has no page of its own; give one of its parts, "
            "such as an Overlay"
        )
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(
            f"cannot save {target.name!r}: there is no folder {os.fspath(target.parent)!r}; "
            "create it first"
        )
    text = _PAGE.format(
        title=escape(title or str(getattr(widget, "title", "")) or "Explanation"),
        style=_css(str(getattr(widget, "_css", ""))),
        still=_still(widget),
        page=_json({"module": module, "state": _state(widget)}),
        shim=_SHIM,
    )
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _state(widget: Any) -> dict[str, Any]:
    names = [
        name
        for name in widget.keys
        if name not in _LEFT_OUT and not name.startswith(("_model_", "_view_", "_dom_"))
    ]
    return {name: _plain(value) for name, value in widget.get_state(names).items()}


def _plain(value: Any) -> Any:
    """Bytes as base64, at any depth."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _json(value: Any) -> str:
    """JSON that no text in it can end: ``</script>`` and ``<!--`` lose their bracket."""
    return json.dumps(value).replace("<", "\\u003c")


def _css(text: str) -> str:
    return text.replace("</", "<\\/")


def _still(widget: Any) -> str:
    """The picture for readers without scripts, where the widget can draw one."""
    if not hasattr(widget, "png"):
        return "This page needs JavaScript."
    try:
        data = base64.b64encode(widget.png()).decode("ascii")
    except InputError:  # no matplotlib
        return "This page needs JavaScript."
    return f'<img alt="Attributions, drawn" src="data:image/png;base64,{data}">'
