"""References, and what is kept of them between calls."""

import threading

import numpy as np

from onnxshap.compiled import Compiled, References


class Background:
    """References, and those results of the reference pass that fit into memory.

    Shared by siblings, which may run in several threads and in chunks of different sizes: what is
    kept is keyed by the rows it is of and the program that made it.
    """

    def __init__(self, arrays: dict[str, np.ndarray], count: int) -> None:
        self.arrays, self.count = arrays, count
        self._kept: dict[tuple[int, int], References] = {}
        self._owner: tuple[Compiled, int] | None = None
        self._lock = threading.Lock()

    def kept(self, compiled: Compiled, start: int, stop: int) -> References | None:
        """Results kept for rows ``start`` to ``stop``, if this program made them."""
        with self._lock:
            mine = self._owner is not None and self._owner[0] is compiled
            return self._kept.get((start, stop)) if mine else None

    def keep(self, compiled: Compiled, chunk: int, found: References) -> None:
        """Keep results; those of another program or chunk size make room."""
        with self._lock:
            if self._owner is None or self._owner[0] is not compiled or self._owner[1] != chunk:
                self._kept, self._owner = {}, (compiled, chunk)
            self._kept[found.rows.start, found.rows.stop] = found
