"""Tell how far a run is: to a callback, or by a bar that appears only when it is worth one."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

ProgressCallback = Callable[[int, int, dict[str, Any]], None]


class Progress:
    """Reports ``done`` of ``total`` (explicand, reference) pairs.

    Without a callback a bar appears after two seconds, in terminals and notebooks only.
    """

    def __init__(self, callback: ProgressCallback | None, total: int, what: str) -> None:
        self._callback, self._total, self._what = callback, total, what
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if self._callback is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=self._total, desc=self._what, unit="pair", delay=2, leave=False, disable=None
            )
        return self

    def update(self, done: int) -> None:
        """Report that ``done`` pairs are finished in all."""
        if self._callback is not None:
            self._callback(done, self._total, {"method": self._what})
        elif self._bar is not None:
            self._bar.update(done - self._bar.n)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
