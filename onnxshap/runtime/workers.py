"""Threads that runs happen in: several at once, and any of them can be stopped at once."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import onnxruntime as ort

from onnxshap.errors import OnnxShapError

T = TypeVar("T")
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


class Stopped(OnnxShapError):
    """A run was cancelled."""

    def __init__(self) -> None:
        super().__init__("stopped before it was complete")


class Stop:
    """Asks the runs of one call to end: during a run, and between two; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[Any] = []
        self._asked = False

    def ask(self) -> None:
        """End the runs in progress at once, and start no other."""
        with self._lock:
            self._asked = True
            for options in self._running:
                options.terminate = True

    @contextmanager
    def watching(self, options: Any) -> Iterator[None]:
        """Remember a run while it lasts; raises `Stopped` if there is to be none."""
        with self._lock:
            if self._asked:
                raise Stopped
            self._running.append(options)
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(options)


class Workers:
    """Runs calls in threads of its own, so that Ctrl-C and `Stop` end them at once.

    onnxruntime holds no lock that Python needs, but a run in the main thread hears of Ctrl-C only
    when it ends; here the main thread waits, hears it, and sets the run's terminate flag.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = processors() if count is None else count
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="onnxshap")
        self._here = threading.local()

    def run(self, call: Callable[[Any], T], stop: Stop) -> T:
        """Call ``call(run_options)`` in a worker and wait for it; in a worker, call it there."""
        options = ort.RunOptions()
        options.log_severity_level = 4  # its message comes back as the exception's
        options.only_execute_path_to_fetches = True

        def watched() -> T:
            with stop.watching(options):
                try:
                    return call(options)
                except Exception as error:
                    if options.terminate:
                        raise Stopped from error
                    raise

        if getattr(self._here, "inside", False):
            return watched()
        future = self._pool.submit(watched)
        try:
            return future.result()
        except BaseException:
            if not future.done():  # the wait was interrupted, not the run
                options.terminate = True
                if not future.cancel():
                    future.exception()
            raise

    def ahead(self, tasks: Iterable[Callable[[], T]], count: int, stop: Stop) -> Iterator[T]:
        """Results of ``tasks`` in order, ``count`` of them at work at once.

        Whoever ends the iteration early, by Ctrl-C too, ends what is under way by ``stop``.
        """
        # Another one waits where no more than there should be can be at work anyway.
        most = count + (count >= self.count)
        under_way: deque[Future[T]] = deque()
        complete = False
        try:
            for task in tasks:
                under_way.append(self._pool.submit(self._inside, task))
                while len(under_way) >= most:
                    yield self._first(under_way)
            while under_way:
                yield self._first(under_way)
            complete = True
        finally:
            if not complete:
                stop.ask()
            for future in under_way:
                if not future.cancel():
                    future.exception()

    @staticmethod
    def _first(under_way: deque[Future[T]]) -> T:
        """Wait for the first, which stays among the others until then, and hand it over."""
        result = under_way[0].result()
        under_way.popleft()
        return result

    def _inside(self, task: Callable[[], T]) -> T:
        self._here.inside = True
        try:
            return task()
        finally:
            self._here.inside = False


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores() -> int:
    """How many cores this process may run on; 0 where the system does not tell.

    Two processors of one core share what it calculates with.
    """
    try:
        own = [_SIBLINGS.format(n) for n in os.sched_getaffinity(0)]
        return len({Path(path).read_text() for path in own})
    except (AttributeError, OSError):  # not Linux, or without that folder
        return 0
