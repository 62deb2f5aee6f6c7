"""Netron's own files, read from the installed package and made ready for a frame without a server.

Netron is used as it is installed: nothing of it is kept here. Its modules import one another by
relative paths, which a page made from blobs has not; the browser side (``static/graph.js``) gives
every module an address of its own and rewrites the imports. What is left out: other formats than
ONNX, the descriptions of 200 operators' history, and every line that reaches for the network.
"""

import gzip
import importlib.metadata
import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from onnxshap.errors import OnnxShapError
from onnxshap_widgets.static_files import STATIC

TESTED = (9, 3), (10,)
"""Versions of Netron that were tried: from the first, below the second. The frame relies on names
inside Netron, which another major version may change."""

MODULES = (
    "base",
    "text",
    "protobuf",
    "json",
    "zip",
    "grapher",
    "dagre",
    "onnx-proto",
    "onnx-schema",
    "message",
    "onnx",
    "browser",
    "view",
    "worker",
)
_MENDED = {
    "grapher": (("entry.rx", "node.rx"), ("entry.ry", "node.ry")),
    "dagre": (
        (
            "// Reduce crossings\n",
            "if (Array.from(g.nodes.values()).some((node) => node.label.borderTop)) {\n"
            "            assignOrder(g, best);\n"
            "            return;\n"
            "        }\n",
        ),
    ),
}
"""Slips in Netron 9.3 where a graph has groups, which its own rarely have: corners that are no
numbers, and a last refinement of the layout that takes for granted what groups change."""
_KEPT = ("name", "module", "version", "category", "inputs", "outputs", "attributes", "type")


class NetronError(OnnxShapError):
    """The installed Netron cannot be shown inside a cell."""


@cache
def packed() -> bytes:
    """Return page, modules and operator schemas: JSON, gzipped.

    Raises
    ------
    NetronError
        If Netron is missing, of an untried version, or lacks a file; the message names the way
        around, `onnxshap_widgets.graph.serve`.
    """
    folder = _folder()
    files = {
        "page": page(_read(folder, "index.html"), _read(folder, "grapher.css")),
        "frame": (STATIC / "netron_frame.js").read_text(encoding="utf-8"),
        "css": (STATIC / "netron_frame.css").read_text(encoding="utf-8"),
        "modules": {name: mended(name, _read(folder, f"{name}.js")) for name in MODULES},
        "assets": {"onnx-metadata.json": schemas(_read(folder, "onnx-metadata.json"))},
    }
    return gzip.compress(json.dumps(files).encode(), 6, mtime=0)


@cache
def version() -> str:
    """Return the version of the installed Netron, which must be a tried one."""
    try:
        found = importlib.metadata.version("netron")
    except importlib.metadata.PackageNotFoundError as error:
        raise NetronError(
            "Netron, which draws graphs, is not installed: pip install 'onnxshap[lab]'"
        ) from error
    numbers = tuple(int(n) for n in re.findall(r"\d+", found)[:2])
    if not TESTED[0] <= numbers < TESTED[1]:
        spelt = [".".join(map(str, bound)) for bound in TESTED]
        raise NetronError(
            f"Netron {found} was not tried inside a cell: pip install 'netron>={spelt[0]},"
            f"<{spelt[1]}', or open the graph in a frame of its own with "
            "onnxshap_widgets.graph.serve(model)"
        )
    return found


def page(index: str, css: str) -> str:
    """Return the body of Netron's page and its styles, as a page that may load blobs only.

    The policy is what makes "no outside request" certain: the browser refuses them, and any
    script that a model's strings might smuggle in.
    """
    style = re.search(r"<style>(.*?)</style>", index, re.DOTALL)
    body = re.search(r"<body[^>]*>(.*?)</body>", index, re.DOTALL)
    if style is None or body is None:
        raise _unlike("index.html")
    policy = (
        "default-src 'none'; script-src blob:; worker-src blob:; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    content = re.sub(r"<script\b.*?</script>", "", body[1], flags=re.DOTALL)
    content = content.replace('href="javascript:void(0)"', 'role="button"')
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>Graph</title>'
        f"<style>{style[1]}\n{css}</style></head>"
        f'<body class="welcome spinner">{content}</body></html>'
    )


def mended(name: str, text: str) -> str:
    """Return a module with its known slips put right; where they are gone, as it is."""
    for slip, right in _MENDED.get(name, ()):
        text = text.replace(slip, right)
    return text


def schemas(text: str) -> str:
    """Return Netron's operator schemas: names of inputs, outputs and attributes, no prose."""

    def bare(entry: dict[str, Any]) -> dict[str, Any]:
        kept = {key: entry[key] for key in _KEPT if key in entry}
        for key in ("inputs", "outputs", "attributes"):
            if key in kept:
                kept[key] = [
                    {k: v for k, v in item.items() if k != "description"} for item in kept[key]
                ]
        return kept

    return json.dumps([bare(entry) for entry in json.loads(text)])


def _folder() -> Path:
    version()
    spec = importlib.util.find_spec("netron")
    if spec is None or spec.origin is None:
        raise _unlike("__init__.py")
    return Path(spec.origin).parent


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError as error:
        raise _unlike(name) from error


def _unlike(name: str) -> NetronError:
    return NetronError(
        f"the installed Netron {version()} has no {name} as it was tried: pip install "
        "--force-reinstall 'netron>=9.3,<10', or open the graph in a frame of its own with "
        "onnxshap_widgets.graph.serve(model)"
    )
