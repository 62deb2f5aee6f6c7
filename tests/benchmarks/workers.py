"""Each contender in a process of its own, so that none inherits another's memory or threads.

Workers take turns: only one is ever at work. What is not at work rests, as onnxruntime's and
OpenMP's threads sleep soon after a run.
"""

import contextlib
import ctypes
import multiprocessing
import os
import resource
import time
import warnings
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from tests.benchmarks.contenders import CONTENDERS, Contender
from tests.benchmarks.nets import Task

THREADS = 2


class ContenderError(Exception):
    """A contender raised, or its process died; the message says which."""


class Worker:
    """A process that runs one contender."""

    def __init__(self, contender: str | Contender) -> None:
        context = multiprocessing.get_context("spawn")
        if isinstance(contender, str):
            contender = CONTENDERS[contender]
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, contender), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.send(("import",))
        self._imported = False

    def prepare(self, task: Task, targets: list[int]) -> float:
        """Get ready; returns seconds, those of imports left out."""
        if not self._imported:  # which started with the process, beside those of other workers
            self._answer()
            self._imported = True
        return float(self._ask("prepare", task, targets)[0])

    def run(self) -> tuple[float, float, np.ndarray]:
        """Explain once: wall seconds, processor seconds, attributions."""
        return self._ask("run")

    def peak(self) -> int:
        """Largest size of the process so far, in bytes over what it was idle."""
        return int(self._ask("peak"))

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, *request: Any) -> Any:
        with contextlib.suppress(BrokenPipeError):  # the answer says how it ended
            self._connection.send(request)
        return self._answer()

    def _answer(self) -> Any:
        try:
            ok, answer = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise ContenderError(f"its process ended, code {self._process.exitcode}") from None
        if not ok:
            raise ContenderError(answer)
        return answer


def _serve(connection: Connection, contender: Contender) -> None:
    """Answer requests until the other end closes."""
    two_threads()
    warnings.simplefilter("ignore")  # peers tell at every call what they are about to hook
    call = prepare = None
    idle = 0
    while True:
        try:
            what, *given = connection.recv()
        except EOFError:
            return
        try:
            began, own = time.perf_counter(), _processor()
            answer: Any = None
            if what == "import":
                prepare = contender.load()
                idle = _reset_peak()
            elif what == "prepare":
                assert prepare is not None
                task, targets = given
                task.x, task.background  # noqa: B018  inputs are drawn before the clock starts
                began, own = time.perf_counter(), _processor()
                call = prepare(task, targets)
                answer = time.perf_counter() - began, _processor() - own
                _trim()
            elif what == "run":
                assert call is not None
                result = call()
                answer = time.perf_counter() - began, _processor() - own, result
            else:
                answer = status("VmHWM") - idle
        except Exception as error:  # a peer may raise anything; the table shows it
            connection.send((False, f"{type(error).__name__}: {error}"))
        else:
            connection.send((True, answer))


def two_threads() -> None:
    """Bind the process to two cores: every runtime then takes two threads by itself."""
    cores = sorted(os.sched_getaffinity(0))[:THREADS]
    os.sched_setaffinity(0, cores)


def _trim() -> None:
    """Give memory that was only needed to load back to the system."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc
        library.malloc_trim(0)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def status(key: str) -> int:
    """A size of this process in bytes, from the kernel."""
    with open("/proc/self/status") as status:
        line = next(row for row in status if row.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def _reset_peak() -> int:
    """Make the present size the largest so far; returns it."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return status("VmRSS")
