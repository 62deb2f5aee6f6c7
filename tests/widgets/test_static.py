"""The browser's half is plain text that needs nothing: no build, no network, no parsed markup."""

import re
from pathlib import Path

import pytest

from onnxshap_widgets.static_files import STATIC

FILES = sorted(path for path in STATIC.iterdir() if path.is_file())
LARGEST = 30_000  # bytes: a widget sends its module to every page
FORBIDDEN = {
    # one text a module, so nothing to import from; `import(url)` of what Python sent is allowed
    "import": re.compile(
        r"^\s*import\b(?!\s*\()|^\s*export\b[^;{]*\{[^}]*\}\s*from\b|@import", re.M
    ),
    "address": re.compile(r"\b(?:https?|wss?)://|url\(\s*['\"]?//|['\"`]//\w"),
    "markup": re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\bDOMParser\b"),
    "code": re.compile(r"\beval\(|\bnew Function\b|\bdebugger\b|console\.log"),
}
NAMESPACE = "http://www.w3.org/2000/svg"  # a name, never fetched


def violations(text: str) -> dict[str, str]:
    """What is in the text of a static file and may not be, by kind."""
    text = text.replace(f'"{NAMESPACE}"', "SVG")
    found = {kind: pattern.search(text) for kind, pattern in FORBIDDEN.items()}
    return {kind: match[0] for kind, match in found.items() if match}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_static_files_are_small_and_need_nothing(path: Path) -> None:
    assert path.suffix in (".js", ".css")
    assert path.stat().st_size < LARGEST
    assert violations(path.read_text(encoding="utf-8")) == {}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("import", 'import { a } from "./a.js";'),
        ("import", '  import "./a.js";'),
        ("import", 'export { a } from "./a.js";'),
        ("import", 'export * as a, { b } from "./a.js";'),
        ("import", '@import "a.css";'),
        ("address", 'fetch("https://example.com")'),
        ("address", 'const cdn = "//example.com/x.js";'),
        ("address", "background: url(//example.com/x.png)"),
        ("address", 'made.src = "http://www.w3.org/2000/svg/x"'),
        ("markup", "el.innerHTML = label"),
        ("code", "console.log(1)"),
    ],
)
def test_the_check_itself_can_fail(kind: str, text: str) -> None:
    assert kind in violations(f"// a file\n{text}\n")


@pytest.mark.parametrize(
    "text",
    [
        "const { Host } = await import(urls.browser);",
        "export { element };\n// what is from here",
        f'document.createElementNS("{NAMESPACE}", tag)',
        "// A comment on important things",
        "const half = a //b\n/ 2;",
        "({ rows: 2 })",
    ],
)
def test_what_is_allowed(text: str) -> None:
    assert violations(text) == {}
