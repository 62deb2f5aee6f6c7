"""How much to run at once, so that memory stays within a budget."""

import math
from dataclasses import dataclass

DEFAULT_MEMORY = 2 * 2**30  # bytes, where max_memory is not given
_DEVICE_MEMORY = 8 * 2**30  # the same on a GPU
_SLACK = 3  # arenas, padding and fragmentation: plan on three times what is kept
_ENOUGH = {"cpu": 40 * 2**20, "cuda": 2 * 2**30}
"""Bytes of work at once beyond which larger chunks are no faster: on the CPU its cache's.

Half as many for one processor of several."""
_WORTH = 2**20  # bytes of work below which a chunk is not worth a run of its own
_LEAST = 32 * 2**20  # bytes of results held at once in any case: fewer would repeat reference work
_HELD = 4  # chunks of explicands held at once in any case: fewer would repeat reference work
FOLDED = 3  # folding keeps the latest cut and, while at work, its inputs: about 3 of the smallest


@dataclass(frozen=True)
class Plan:
    """Sizes of the chunks that explicands, references, targets and steps are run in."""

    explicands: int
    references: int
    targets: int
    steps: int
    cached_references: int
    """How many references' activations fit beside the work, to be kept between calls."""
    accumulated: int
    """How many explicands to hold at once, what their forward pass gave and their results."""
    workers: int
    """How many chunks to run at once."""
    threads: int
    """How many threads a chunk is run by: 1, or 0 for one on each core."""
    plain_kernels: bool
    """Whether the reference side is run by plain kernels, which fold it in a one-shot file.

    By the same kernels, the file's numbers are these: where explicand and reference nearly meet at
    a kink, rounding alone moves a multiplier. Where references are too many to be folded, the
    runtime's fastest run them, here and in the file. Less memory than by default changes no
    kernels, though a file made with less may not fold what fits here."""

    @classmethod
    def of(
        cls,
        *,
        explicands: int,
        references: int,
        targets: int,
        steps: int,
        pair_bytes: int,
        cut_bytes: int,
        explicand_bytes: int,
        result_bytes: int,
        max_memory: int | None,
        device: str = "cpu",
        processors: int = 1,
        apart: bool = False,
        chunk: int | None = None,
    ) -> "Plan":
        """Plan a run.

        ``pair_bytes``: peak activations of one (explicand, reference, target) at one step;
        ``cut_bytes``: what is kept of one reference; ``explicand_bytes``: of one explicand;
        ``result_bytes``: attributions of one explicand and target. References are taken one by one
        where their steps are not run at once. ``apart``: nothing can be run together at all.
        ``chunk``: the most references in one.

        Chunks run side by side, each by one of the ``processors`` where there are enough of them:
        what one operator leaves in a processor's cache the next one finds there, and none waits.
        Chunks of references depend on no number of explicands, so that what is kept of them serves.
        """
        budget = max_memory or (_DEVICE_MEMORY if device == "cuda" else DEFAULT_MEMORY)
        kept, pair = references * cut_bytes, max(1, pair_bytes)
        # References that are not kept are there while they are worked on.
        passing = cut_bytes if kept > budget // 2 else 0
        most = (budget - min(budget // 2, kept)) // 2 // _SLACK
        pieces = references * steps if references * steps > 1 else explicands
        workers = min(1 if device == "cuda" else processors, pieces, most // (pair + passing))
        # Two ways to run a pair and no more: each is a session, with weights of its own.
        beside = workers > 1 and 2 * workers >= processors
        workers = workers if beside else 1
        most //= workers
        enough = _ENOUGH[device] // (2 if beside else 1)
        pairs = 1 if apart else max(1, min(most, enough) // pair)
        # Targets share what a pair of samples costs once, so together they are worth more memory.
        k = 1 if apart else even(targets, max(1, most // pair))
        s = max(1, min(steps, pairs // k))
        alike = max(math.ceil(references / workers), _WORTH // pair)
        limits = [alike, pairs // (k * s), most // passing if passing else references]
        m = even(references, max(1, min([*limits, chunk or references]))) if s == steps else 1
        whole = max(1, min(explicands, pairs // (k * s * m)))
        # Where the runs of one explicand are fewer than processors, these share the explicands.
        runs = math.prod(map(math.ceil, [references / m, steps / s, targets / k]))
        share = max(math.ceil(explicands * runs / workers), _WORTH // (pair * k * s * m))
        n = max(1, min(whole, share))
        workers = min(workers, runs * math.ceil(explicands / n))
        cached = budget // 2 // max(1, cut_bytes)
        results = min(_ENOUGH[device], max(_LEAST, budget // 4))
        fit = max(_HELD * whole, budget // 4 // max(1, explicand_bytes))
        held = max(whole, min(fit, results // max(1, 3 * result_bytes * targets)))
        in_a_file = folds(references, cut_bytes, max(max_memory or 0, DEFAULT_MEMORY))
        plain = device == "cpu" and not apart and in_a_file
        return cls(n, m, k, s, int(cached), held, workers, int(beside), plain)


def folds(references: int, cut_bytes: int, budget: int) -> bool:
    """Whether the reference side fits into so many bytes as constants of a one-shot file."""
    return FOLDED * cut_bytes * references <= budget


def even(count: int, most: int) -> int:
    """Size of the chunks that ``count`` things are run in, at most ``most``; all alike if possible.

    A runtime on a GPU chooses its kernels anew whenever a size changes, which takes longer than
    the run itself.
    """
    if count <= most:
        return max(1, count)
    alike = divisor(count, most)
    return alike if 2 * alike >= most else math.ceil(count / math.ceil(count / most))


def divisor(number: int, most: int) -> int:
    """Largest divisor of ``number`` that is at most ``most``, or 1."""
    return max(size for size in range(1, max(1, most) + 1) if number % size == 0)
