"""The modules and style sheets of the widgets: plain files, sent to the browser as they are."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"


def module(*names: str) -> str:
    """Return the ES module of a widget: the shared functions, then its own file or files."""
    return "\n".join(_read(f"{name}.js") for name in ("lib", *names))


def style(*names: str) -> str:
    """Return the style sheet of a widget: the shared colours, then its own file or files."""
    return "\n".join(_read(f"{name}.css") for name in ("common", *names))


def _read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
