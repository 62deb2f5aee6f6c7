"""Seconds of contenders that take turns, so that a busy moment of the machine hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping

Contender = Callable[[], object]


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
