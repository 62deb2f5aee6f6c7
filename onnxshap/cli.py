"""The command line: demo, check, explain, export."""

import argparse
import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxshap.errors import InputError, OnnxShapError
from onnxshap.targets import TargetSpec

if TYPE_CHECKING:
    from onnxshap.explainer import Explainer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors of ours are one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except OnnxShapError as error:
        print(f"onnxshap: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"onnxshap: cannot write: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("onnxshap: stopped", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="onnxshap", description="Explain ONNX models; the explanation is an ONNX graph too."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="explain the bundled classifier on two photos")
    demo.add_argument("--out", type=Path, default=Path("out"), help="folder for what it writes")
    demo.add_argument("--lab", action="store_true", help="open JupyterLab afterwards")
    demo.set_defaults(command=_demo)

    check = commands.add_parser("check", help="say how each node is differentiated")
    check.add_argument("model", type=Path)
    _add_ends(check)
    check.set_defaults(command=_check)

    explain = commands.add_parser("explain", help="explain the rows of an array")
    explain.add_argument("model", type=Path)
    explain.add_argument("--input", type=Path, required=True, help=".npy, or .npz by input name")
    explain.add_argument("--background", type=Path, help="references, as --input")
    explain.add_argument("--out", type=Path, required=True, help=".npz, .png or .html")
    _add_what(explain)
    explain.set_defaults(command=_explain)

    export = commands.add_parser("export", help="write model and explanation as one ONNX file")
    export.add_argument("model", type=Path)
    export.add_argument("--background", type=Path, help="references, .npy or .npz by input name")
    export.add_argument("--background-as", choices=("embed", "input"), default="embed")
    export.add_argument("--out", type=Path, required=True, help=".onnx")
    _add_what(export)
    export.set_defaults(command=_export)
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", default="top1", help="index, topK, tuple or list; top1")
    parser.add_argument("--method", default="deepshap")
    parser.add_argument("--rules", choices=("exact", "shap"), help="of deepshap; exact")
    _add_ends(parser)


def _add_ends(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", help="value to explain, by default the first output")
    parser.add_argument("--inputs", help="values to attribute to, separated by commas")


def _demo(options: argparse.Namespace) -> int:
    from onnxshap.demo import run

    run(options.out)
    if options.lab:
        command = [sys.executable, "-m", "jupyterlab", "--notebook-dir", str(options.out)]
        return subprocess.run(command, check=False).returncode
    return 0


def _check(options: argparse.Namespace) -> int:
    from onnxshap.report import check

    report = check(options.model, output=options.output, inputs=_names(options.inputs))
    print(report)
    return 0 if report.ok else 1


def _explain(options: argparse.Namespace) -> int:
    if options.out.suffix not in (".npz", ".png", ".html"):
        raise InputError(f"--out {options.out}: the ending must be .npz, .png or .html")
    explanation = _explainer(options)(_arrays(options.input, "--input"))
    if options.out.suffix == ".npz":
        explanation.save(options.out)
    elif options.out.suffix == ".png":
        explanation.plot().savefig(options.out)
    else:
        explanation.to_html(options.out)
    print(explanation.summary())
    return 0


def _export(options: argparse.Namespace) -> int:
    written = _explainer(options).export(options.out, background=options.background_as)
    for path in written:
        print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")
    return 0


def _explainer(options: argparse.Namespace) -> "Explainer":
    from onnxshap.explainer import Explainer

    background = options.background
    return Explainer(
        options.model,
        None if background is None else _arrays(background, "--background"),
        method=options.method,
        rules=options.rules,
        target=_target(options.target),
        output=options.output,
        inputs=_names(options.inputs),
    )


def _names(text: str | None) -> list[str] | None:
    return text.split(",") if text else None


def _target(text: str) -> TargetSpec:
    if text.startswith("top"):
        return text
    try:
        target: TargetSpec = ast.literal_eval(text)
    except (SyntaxError, ValueError) as error:
        raise InputError(
            f'--target {text}: give an index such as 3, a tuple such as "(0, 3)", a list, or topK'
        ) from error
    return target


def _arrays(path: Path, option: str) -> np.ndarray | dict[str, np.ndarray]:
    """Read ``.npy`` (memory-mapped) or ``.npz`` (one array per input name)."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        return {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{option} {path}: not a readable .npy or .npz file ({error})") from error
