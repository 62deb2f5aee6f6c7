"""Measure, section by section, on Linux; what is measured is kept, so that a stopped run goes on.

``python -m tests.benchmarks.run --only compare --nets resnet50 --references 10 --rounds 5``
"""

import argparse
import datetime
import importlib
import json
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.benchmarks.sections import Options
from tests.benchmarks.workers import THREADS, two_threads

OUT = Path("out/bench")
SECTIONS = ["published", "compare", "kernels", "loads", "builds", "x_gradient", "curves", "settle"]
SECTIONS += ["scale", "capacity"]
PACKAGES = ["onnxshap", "onnxruntime-gpu", "onnxruntime", "onnx", "numpy", "torch", "torchvision"]
PACKAGES += ["shap", "captum", "tensorflow", "keras"]


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="sections, by comma", default=",".join(SECTIONS))
    parser.add_argument("--nets", default="")
    parser.add_argument("--references", default="1,10,50")
    parser.add_argument("--targets", default="1,10")
    parser.add_argument("--contenders", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=30.0)
    parser.add_argument("--patience", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    asked = parser.parse_args()
    options = Options(
        rounds=asked.rounds,
        budget=asked.budget,
        patience=asked.patience,
        nets=_words(asked.nets),
        references=tuple(map(int, _words(asked.references))),
        targets=tuple(map(int, _words(asked.targets))),
        contenders=_words(asked.contenders),
    )
    two_threads()
    os.environ |= {"OMP_NUM_THREADS": str(THREADS), "TF_CPP_MIN_LOG_LEVEL": "3"}
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in _words(asked.only):
        measure(name, options, asked.out, asked.fresh)


def measure(name: str, options: Options, out: Path, fresh: bool) -> None:
    """Measure one section's cells, those that are not there yet."""
    file = out / f"{name}.json"
    cells: dict[str, Any] = _kept(file)
    module = importlib.import_module(f"tests.benchmarks.sections.{name}")
    for key, call in module.section(options, cells):
        if key in cells and not fresh:
            continue
        began = time.perf_counter()
        print(f"{name} {key} ...", end=" ", flush=True)
        cells[key] = call()
        cells[key]["took"] = time.perf_counter() - began
        cells[key]["date"] = datetime.date.today().isoformat()
        print(f"{cells[key]['took']:.0f} s", flush=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"machine": machine(), "cells": _kept(file) | cells}, indent=1))
        part.replace(file)


def _kept(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())["cells"] if file.is_file() else {}
    return found


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions,
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((r.split(":", 1)[1].strip() for r in lines if r.startswith("model name")), "?")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


if __name__ == "__main__":
    main()
