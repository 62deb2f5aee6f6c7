"""What stays out of what: the engine without widgets, the widgets' logic without a notebook."""

import ast
from pathlib import Path

import pytest

import onnxshap_widgets
from tests.test_imports import fresh

PACKAGE = Path(onnxshap_widgets.__file__).parent
NOTEBOOK = {"anywidget", "ipywidgets", "traitlets", "IPython"}
PURE = [
    "agreement",
    "arrays",
    "forms",
    "jobs",
    "netron_files",
    "outputs",
    "references",
    "samples",
    "static_files",
    "study",
    "subgraph",
]


def test_the_engine_loads_no_widgets() -> None:
    kept = "onnxshap_widgets anywidget ipywidgets traitlets IPython netron"
    code = f"import sys, onnxshap; print([m for m in {kept.split()} if m in sys.modules])"
    assert fresh(code).strip() == "[]"
    assert "onnxshap_widgets" in fresh(f"import onnxshap_widgets; {code}")


def impure(path: Path) -> list[str]:
    """What a module of the widgets' logic imports but may not: a notebook's parts, a widget."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, module = f"{name}.".split(".")[:2]
            if package in NOTEBOOK or (package == PACKAGE.name and module not in PURE):
                found.append(name)
    return found


@pytest.mark.parametrize("name", PURE)
def test_logic_needs_no_notebook(name: str) -> None:
    assert impure(PACKAGE / f"{name}.py") == []


@pytest.mark.parametrize(
    "line",
    [
        "import ipywidgets",
        "from traitlets import Int",
        "from onnxshap_widgets import overlay",
        "from onnxshap_widgets.overlay import Overlay",
    ],
)
def test_the_check_itself_can_fail(line: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(f"{line}\nfrom onnxshap_widgets.jobs import Job\n")
    assert len(impure(path)) == 1
