"""Seconds of contenders that take turns, so that a busy moment of the machine hits all alike."""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import onnxruntime as ort

from onnxshap.runtime.providers import CPU, CUDA

Contender = Callable[[], object]
PROVIDERS = {"cpu": [CPU], "cuda": [CUDA, CPU]}


def providers() -> list[str]:
    """Return what the command line asks for: ``--providers cuda``, or else the CPU."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--providers", choices=PROVIDERS, default="cpu")
    return PROVIDERS[parser.parse_args().providers]


def bare(names: list[str]) -> list[str | tuple[str, dict[str, str]]]:
    """Return providers for onnxruntime alone, with TF32 off as the explainer has it."""
    if CUDA in names:
        ort.preload_dlls()
    return [(name, {"use_tf32": "0"}) if name == CUDA else name for name in names]


def seconds(contenders: Mapping[str, Contender], rounds: int = 5) -> dict[str, float]:
    """Median seconds of each contender, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}
