"""The most references in 4 GiB over the idle process, by runs that watch their own peak."""

from collections.abc import Iterator
from typing import Any

from tests.benchmarks.nets import LITE0, Task
from tests.benchmarks.sections import Cell, Cells, Options
from tests.benchmarks.sections.compare import floor
from tests.benchmarks.workers import ContenderError, Worker

LIMIT = 4 * 2**30
START = (2, 8)
MOST = 1000
"""References beyond which nobody is asked: what still fits there is not bounded by memory."""
GROWING = ("shap", "captum", "opt_torch", "shap_tf", "opt_tf")
BOUNDED = ("onnxshap", "one_shot")


def section(options: Options, _: Cells) -> Iterator[Cell]:
    """One cell for each contender on a large and on a small net."""
    for net in options.nets or ("resnet50", LITE0):
        for name in options.contenders or (*GROWING, *BOUNDED):
            yield f"{net}/{name}", lambda net=net, name=name: largest(net, name)


def largest(net: str, contender: str) -> dict[str, Any]:
    """Follow the line through two runs to the limit, and measure there, above and below."""
    peaks: dict[int, int] = {}

    def fits(count: int) -> bool:
        if count not in peaks:
            try:
                peaks[count] = peak(net, contender, count)
            except ContenderError as error:
                if "process ended" not in str(error) and "Alloc" not in str(error):
                    raise
                peaks[count] = 2 * LIMIT  # the system ran out of memory first
        return peaks[count] <= LIMIT

    try:
        if contender in BOUNDED:
            guess = MOST
            while guess and not fits(guess):
                guess //= 2
        else:
            for count in START:
                fits(count)
            guess = _line(peaks)
            for _ in range(3):  # the line is straight: one step corrects most of it
                fits(guess)
                better = _line(peaks)
                if better == guess:
                    break
                guess = better
            while guess and not fits(guess):
                guess -= max(1, guess // 50)
    except ContenderError as error:
        return {"error": str(error)}
    return {"largest": guess, "peaks": {str(m): b for m, b in sorted(peaks.items())}}


def _line(peaks: dict[int, int]) -> int:
    """Where the line through the two largest counts meets the limit."""
    (low, less), (high, more) = sorted(peaks.items())[-2:]
    growth = max(1.0, (more - less) / (high - low))
    return max(1, min(MOST, int(low + (LIMIT - less) / growth)))


def peak(net: str, contender: str, references: int) -> int:
    """Bytes over the idle process of getting ready and one call."""
    with floor(Task(net, 1)) as truth:
        targets = truth.targets
    with Worker(contender) as worker:
        worker.prepare(Task(net, references), targets)
        worker.run()
        return worker.peak()
