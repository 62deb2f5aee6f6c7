"""Work beside the notebook: one job at a time in a thread, cancelled at once, never lost."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

logger = logging.getLogger("onnxshap")

State = Literal["waiting", "running", "done", "failed", "cancelled"]
Work = Callable[["Job"], Any]
Told = Callable[[Any], None]

PAUSE = 0.1
"""Seconds between two progress reports, at least."""


class Job:
    """One piece of work. Made by `Worker.submit`; its methods may be called from any thread."""

    def __init__(
        self, work: Work, on_progress: Told | None, on_done: Told | None, on_error: Told | None
    ) -> None:
        self._work = work
        self._on_progress, self._on_done, self._on_error = on_progress, on_done, on_error
        self._lock = threading.Lock()
        self._telling = threading.RLock()  # held while a callback runs
        self._finished = threading.Event()
        self._to_stop: list[Callable[[], None]] = []
        self._held: list[Any] = []  # a report that came too soon after the last one
        self._told = -PAUSE
        self.state: State = "waiting"
        self.result: Any = None
        self.error: BaseException | None = None

    # --- for whoever waits -----------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._finished.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether it was told to stop; work looks at this between two steps."""
        return self.state == "cancelled"

    def cancel(self) -> None:
        """Tell the work to stop, and do not wait for that; none of its callbacks runs after this.

        One that runs already is let finish, also of a job that is done.
        """
        with self._lock:
            waited, to_stop = self.state == "waiting", self._to_stop
            if self.state in ("waiting", "running"):
                self.state, self._to_stop = "cancelled", []
            else:
                to_stop = []
        if waited:
            self._finished.set()
        for stop in to_stop:
            _safely(stop)
        with self._telling:
            pass

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; returns whether it has."""
        return self._finished.wait(timeout)

    # --- for the work ----------------------------------------------------------------------------

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """Call ``stop`` when the job is cancelled, e.g. a stream's ``close``; now if it was."""
        with self._lock:
            if not self.cancelled:
                self._to_stop.append(stop)
                return
        _safely(stop)

    def report(self, value: Any) -> None:
        """Pass on progress: at most ten times a second, and what came last in any case."""
        self._held = [value]
        if time.monotonic() - self._told >= PAUSE:
            self._flush()

    def _flush(self) -> None:
        with self._telling:
            if self._held and self._on_progress is not None and not self.cancelled:
                self._on_progress(self._held.pop())
                self._told = time.monotonic()

    # --- for the worker --------------------------------------------------------------------------

    def _enter(self, before: State, after: State) -> bool:
        with self._lock:
            if self.state != before:
                return False
            self.state = after
            return True

    def _run(self) -> None:
        if not self._enter("waiting", "running"):
            return
        try:
            self.result = self._work(self)
            self._flush()
            with self._telling:
                if self._enter("running", "done") and self._on_done is not None:
                    self._on_done(self.result)
        except BaseException as error:  # whatever it is, it is told, and the thread lives on
            with self._telling:
                self._failed(error)
        finally:
            self._to_stop = []
            self._finished.set()

    def _failed(self, error: BaseException) -> None:
        with self._lock:
            if self.cancelled:
                logger.debug("a cancelled job ended with %r", error)
                return
            self.state, self.error = "failed", error
        if self._on_error is None:
            logger.error("a job failed", exc_info=error)
        else:
            _safely(lambda: self._on_error(error) if self._on_error else None)


class Worker:
    """Runs one job at a time; a new job cancels the one before.

    The thread is a daemon, begins with the first job and ends when none is left.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._next: tuple[Job, float] | None = None
        self._current: Job | None = None
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a job waits or runs."""
        with self._change:
            return self._next is not None or self._current is not None

    def submit(
        self,
        work: Work,
        on_progress: Told | None = None,
        on_done: Told | None = None,
        on_error: Told | None = None,
        *,
        debounce: float = 0.0,
    ) -> Job:
        """Run ``work(job)`` in the thread, after the job before has been cancelled and has ended.

        Parameters
        ----------
        work : callable
            Given the `Job`: it calls ``job.report(value)``, looks at ``job.cancelled``, and says
            how to be stopped with ``job.on_cancel``.
        on_progress, on_done, on_error : callable, optional
            Called in the thread with what was reported, the result, or the exception. An
            exception of ``on_progress`` or ``on_done`` is an exception of the job. A cancelled job
            calls none of them.
        debounce : float
            Seconds to wait first: of several jobs submitted in a row only the last one runs.
        """
        job = Job(work, on_progress, on_done, on_error)
        with self._change:
            before = [self._current, self._next and self._next[0]]
            self._next = job, time.monotonic() + debounce
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="onnxshap", daemon=True)
                self._thread.start()
            self._change.notify()
        for old in before:
            if old is not None:
                old.cancel()
        return job

    def cancel(self) -> None:
        """Cancel whatever waits or runs."""
        with self._change:
            jobs = [self._current, self._next and self._next[0]]
        for job in jobs:
            if job is not None:
                job.cancel()

    def _loop(self) -> None:
        while (job := self._due()) is not None:
            job._run()
            with self._change:
                self._current = None

    def _due(self) -> Job | None:
        """Wait for the next job's time; None, and the thread's end, if there is no next."""
        with self._change:
            while self._next is not None:
                job, due = self._next
                left = 0.0 if job.cancelled else due - time.monotonic()
                if left <= 0:
                    self._next, self._current = None, job
                    return job
                self._change.wait(left)
            self._thread = None
            return None


def _safely(call: Callable[[], Any]) -> None:
    """Call what must not break its caller; log what it raises."""
    try:
        call()
    except Exception:
        logger.exception("a callback failed")
