"""Judge many cases, over several processes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from onnxshap.scoreboard.cases import Case
from onnxshap.scoreboard.judge import Judged, judge

CHUNK = 8
"""Cases handed to a process at a time."""


def judge_all(cases: Sequence[Case], jobs: int = 1) -> Iterator[Judged]:
    """Judge every case, in order, in ``jobs`` processes."""
    if jobs == 1 or len(cases) <= CHUNK:
        yield from map(judge, cases)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(judge, cases, chunksize=CHUNK)
