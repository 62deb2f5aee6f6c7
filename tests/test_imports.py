"""Who may import whom, and what `import onnxshap` may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "onnxshap"

# Layers from the bottom up: a room may import itself and rooms below, and those third parties.
ROOMS = ["errors", "graph", "autodiff", "homogeneity", "methods", "runtime", "top", "scoreboard"]
MAY_IMPORT = {
    "errors": set(),
    "graph": {"errors"},
    "autodiff": {"errors", "graph"},
    "homogeneity": {"errors", "graph"},
    "methods": {"errors", "graph", "autodiff", "homogeneity"},
    "runtime": {"errors"},
    "top": {"errors", "graph", "autodiff", "homogeneity", "methods", "runtime"},
    "scoreboard": {"errors", "graph", "autodiff", "methods"},
}
NEVER = {
    "errors": {"onnx", "onnx_ir", "onnxruntime", "numpy"},
    "graph": {"onnxruntime", "matplotlib"},
    "autodiff": {"onnxruntime", "matplotlib"},
    "homogeneity": {"onnxruntime", "matplotlib"},
    "methods": {"onnxruntime", "matplotlib"},
    "runtime": {"onnx", "onnx_ir", "matplotlib"},
    "top": {"torch", "onnxscript", "spox"},
    "scoreboard": {"matplotlib", "torch"},
}


def room(module: str) -> str:
    """Room of a dotted module name below onnxshap; top-level modules are the top room."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "top"


def imports(path: Path) -> list[str]:
    """Dotted names of everything a file imports, outside `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: list[str] = []
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.append(node.module or "")
    return found


def violations(module: str, imported: list[str]) -> list[str]:
    """What ``module`` imports but may not."""
    own = room(module)
    bad = []
    for name in imported:
        if name.split(".")[0] == "onnxshap":
            other = room(name)
            if other != own and other not in MAY_IMPORT[own]:
                bad.append(f"{module} ({own}) imports {name} ({other})")
        elif name.split(".")[0] in NEVER[own]:
            bad.append(f"{module} ({own}) imports {name}")
    return bad


def modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


@pytest.mark.parametrize(("module", "path"), modules(), ids=[m for m, _ in modules()])
def test_a_room_imports_only_rooms_below(module: str, path: Path) -> None:
    assert violations(module, imports(path)) == []


def test_vjp_rules_do_not_import_one_another() -> None:
    for module, path in modules():
        if module.startswith("onnxshap.autodiff.rules.vjp."):
            others = [i for i in imports(path) if i.startswith("onnxshap.autodiff.rules")]
            assert others == [], module


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("onnxshap.graph.builder", "onnxshap.autodiff.engine"),
        ("onnxshap.runtime.plan", "onnxshap.methods.program"),
        ("onnxshap.autodiff.engine", "onnxruntime"),
        ("onnxshap.homogeneity.proof", "onnxshap.autodiff.registry"),
        ("onnxshap.methods.deepshap", "onnxshap.explainer"),
        ("onnxshap.explainer", "onnxshap.scoreboard.judge"),
    ],
)
def test_the_check_itself_can_fail(module: str, name: str) -> None:
    assert violations(module, [name])


def fresh(code: str) -> str:
    """Run code in a new interpreter that knows the package; returns what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def test_import_loads_no_runtime_and_no_notebook_package() -> None:
    heavy = "onnx onnx_ir onnxruntime matplotlib IPython ipywidgets anywidget netron tqdm"
    code = f"import sys, onnxshap; print([m for m in {heavy.split()} if m in sys.modules])"
    assert fresh(code).strip() == "[]"
    assert "onnxruntime" in fresh(f"import onnxruntime; {code}")


def test_import_of_xdnn_loads_no_runtime() -> None:
    code = (
        "import sys, onnxshap.xdnn; print([m for m in ('onnx', 'onnxruntime') if m in sys.modules])"
    )
    assert fresh(code).strip() == "[]"


def test_import_takes_less_than_half_a_second() -> None:
    code = "import time; t = time.perf_counter(); import onnxshap; print(time.perf_counter() - t)"
    assert min(float(fresh(code)) for _ in range(3)) < 0.5


def test_every_public_name_exists() -> None:
    import onnxshap
    import onnxshap.xdnn

    for module in (onnxshap, onnxshap.xdnn):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=r"'onnxshap.xdnn' has no attribute 'nothing'"):
        onnxshap.xdnn.nothing  # noqa: B018  the access is the test
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        onnxshap.nothing  # noqa: B018  the access is the test
