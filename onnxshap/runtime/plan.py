"""How much to run at once, so that memory stays within a budget."""

import math
from dataclasses import dataclass

DEFAULT_MEMORY = 2 * 2**30  # bytes, where max_memory is not given
_DEVICE_MEMORY = 8 * 2**30  # the same on a GPU
_SLACK = 3  # arenas, padding and fragmentation: plan on three times what is kept
_ENOUGH = {"cpu": 40 * 2**20, "cuda": 2 * 2**30}
"""Bytes of work at once beyond which larger chunks are no faster: on the CPU its cache's."""
_LEAST = 32 * 2**20  # bytes of results held at once in any case: fewer would repeat reference work


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
    """How many explicands' results to hold at once."""

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
        result_bytes: int,
        max_memory: int | None,
        device: str = "cpu",
    ) -> "Plan":
        """Plan a run.

        ``pair_bytes``: peak activations of one (explicand, reference, target) at one step;
        ``cut_bytes``: what is kept of one reference; ``result_bytes``: attributions of one
        explicand and target. References are taken one by one where their steps are not run at once.
        """
        budget = max_memory or (_DEVICE_MEMORY if device == "cuda" else DEFAULT_MEMORY)
        enough = _ENOUGH[device]
        most = (budget - min(budget // 2, references * cut_bytes)) // 2 // _SLACK
        pairs = max(1, min(most, enough) // max(1, pair_bytes))
        # Targets share what a pair of samples costs once, so together they are worth more memory.
        k = even(targets, max(1, most // max(1, pair_bytes)))
        s = max(1, min(steps, pairs // k))
        m = even(references, max(1, pairs // (k * s))) if s == steps else 1
        n = max(1, min(explicands, pairs // (k * s * m)))
        cached = budget // 2 // max(1, cut_bytes)
        results = min(enough, max(_LEAST, budget // 4))
        held = max(n, results // max(1, 3 * result_bytes * targets))
        return cls(n, m, k, s, int(cached), held)


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
