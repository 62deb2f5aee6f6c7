"""The worker: one job at a time, cancelled at once, and nothing that goes wrong is lost."""

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnxshap import Explainer
from onnxshap_widgets.jobs import PAUSE, Job, Worker
from tests.helpers import models

LONG = 10.0  # seconds; whatever waits as long has failed


@pytest.fixture
def worker() -> Worker:
    return Worker()


def endless(job: Job) -> None:
    """Run until cancelled, looking every millisecond."""
    while not job.cancelled:
        time.sleep(0.001)


def ended(job: Job) -> bool:
    return job.wait(LONG)


def is_soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LONG
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    return condition()


# One job ------------------------------------------------------------------------------------------


def test_a_job_gives_its_result(worker: Worker) -> None:
    told: list[Any] = []
    job = worker.submit(lambda job: 6 * 7, on_done=told.append)
    assert ended(job)
    assert (job.state, job.done, job.result, told) == ("done", True, 42, [42])
    assert is_soon(lambda: not worker.busy)


def test_callbacks_run_in_a_daemon_thread_of_its_own(worker: Worker) -> None:
    threads: list[threading.Thread] = []

    def note(_: Any) -> None:
        threads.append(threading.current_thread())

    def work(job: Job) -> None:
        note(None)
        job.report(1)

    assert ended(worker.submit(work, note, note))
    assert len(set(threads)) == 1
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


def test_the_thread_ends_when_no_job_is_left() -> None:
    workers = [Worker()]
    assert ended(workers[0].submit(lambda job: None))
    assert is_soon(lambda: workers[0]._thread is None)
    gone = weakref.ref(workers.pop())
    gc.collect()
    assert gone() is None


# Errors -------------------------------------------------------------------------------------------


def test_an_exception_is_told(worker: Worker) -> None:
    told: list[BaseException] = []
    job = worker.submit(lambda job: 1 / 0, on_done=pytest.fail, on_error=told.append)
    assert ended(job)
    assert job.state == "failed"
    assert isinstance(job.error, ZeroDivisionError)
    assert told == [job.error]
    assert ended(worker.submit(lambda job: None))  # the worker lives on


@pytest.mark.parametrize("which", ["on_progress", "on_done"])
def test_an_exception_of_a_callback_is_the_jobs(worker: Worker, which: str) -> None:
    def broken(_: Any) -> None:
        raise ValueError("broken callback")

    told: list[BaseException] = []
    job = worker.submit(lambda job: job.report(1), on_error=told.append, **{which: broken})
    assert ended(job)
    assert job.state == "failed"
    assert [str(e) for e in told] == ["broken callback"]


def test_what_nobody_listens_to_is_logged(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Any) -> None:
        raise ValueError("even on_error is broken")

    with caplog.at_level(logging.ERROR, "onnxshap"):
        assert ended(worker.submit(lambda job: 1 / 0))
        assert ended(worker.submit(lambda job: 1 / 0, on_error=broken))
    assert "ZeroDivisionError" in caplog.text
    assert "even on_error is broken" in caplog.text


def test_even_an_exit_leaves_the_worker_alive(worker: Worker) -> None:
    def leave(job: Job) -> None:
        raise SystemExit

    told: list[BaseException] = []
    assert ended(worker.submit(leave, on_error=told.append))
    assert isinstance(told[0], SystemExit)
    assert ended(worker.submit(lambda job: None))


# Progress -----------------------------------------------------------------------------------------


def test_progress_comes_ten_times_a_second_and_the_last_in_any_case(worker: Worker) -> None:
    told: list[tuple[float, int]] = []

    def work(job: Job) -> None:
        for i in range(450):
            job.report(i)
            time.sleep(0.001)

    assert ended(worker.submit(work, lambda i: told.append((time.monotonic(), i))))
    times, values = zip(*told, strict=True)
    assert (values[0], values[-1]) == (0, 449)
    assert list(values) == sorted(set(values))
    assert min(np.diff(times)[:-1]) >= 0.9 * PAUSE  # all but the last one
    assert len(values) >= 4


def test_progress_comes_before_the_result(worker: Worker) -> None:
    told: list[Any] = []

    def work(job: Job) -> str:
        job.report(1)
        job.report(2)
        return "result"

    assert ended(worker.submit(work, told.append, told.append))
    assert told == [1, 2, "result"]


# Cancelling ---------------------------------------------------------------------------------------


def test_cancel_returns_at_once_and_the_work_ends(worker: Worker) -> None:
    job = worker.submit(endless, on_done=pytest.fail, on_error=pytest.fail)
    assert is_soon(lambda: job.state == "running")
    began = time.monotonic()
    job.cancel()
    assert time.monotonic() - began < 0.1
    assert ended(job)
    assert time.monotonic() - began < 0.5
    assert (job.state, job.done, job.cancelled) == ("cancelled", True, True)
    job.cancel()  # again changes nothing


def test_a_cancelled_job_says_nothing_more(worker: Worker) -> None:
    held, told = threading.Event(), []
    running = threading.Event()

    def work(job: Job) -> None:
        running.set()
        held.wait(LONG)
        job.report("late")
        raise ValueError("because it was stopped")

    job = worker.submit(work, told.append, told.append, told.append)
    assert running.wait(LONG)
    job.cancel()
    assert not job.done  # it runs still, nobody can end it from outside
    held.set()
    assert ended(job)
    assert told == []
    assert job.error is None


@pytest.mark.parametrize("which", ["on_progress", "on_done", "on_error"])
def test_when_cancel_returns_no_callback_runs(worker: Worker, which: str) -> None:
    begun, told = threading.Event(), []

    def slow(_: Any) -> None:
        begun.set()
        time.sleep(0.1)
        told.append(which)

    def work(job: Job) -> None:
        if which == "on_progress":
            job.report(1)
            endless(job)
        if which == "on_error":
            raise ValueError

    job = worker.submit(work, **{which: slow})
    assert begun.wait(LONG)
    job.cancel()
    assert told == [which]
    assert ended(job)


def test_whoever_can_stop_the_work_is_called(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    stopped, ready = threading.Event(), threading.Event()

    def broken() -> None:
        raise OSError("cannot stop this")

    def work(job: Job) -> None:
        job.on_cancel(broken)
        job.on_cancel(stopped.set)
        ready.set()
        stopped.wait(LONG)
        job.on_cancel(stopped.clear)  # was cancelled: called now

    job = worker.submit(work)
    assert ready.wait(LONG)
    worker.cancel()
    assert ended(job)
    assert not stopped.is_set()
    assert "cannot stop this" in caplog.text


def test_a_new_job_cancels_the_one_before(worker: Worker) -> None:
    first = worker.submit(endless, on_done=pytest.fail)
    assert is_soon(lambda: first.state == "running")
    second = worker.submit(endless)
    third = worker.submit(lambda job: "third")
    assert ended(third)
    assert [j.state for j in (first, second, third)] == ["cancelled", "cancelled", "done"]
    assert first.done
    assert second.done


def test_jobs_never_overlap(worker: Worker) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def work(job: Job) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        endless(job)
        time.sleep(0.002)
        with lock:
            running[0] -= 1

    jobs = [worker.submit(work) for _ in range(50) if not time.sleep(0.001)]
    worker.cancel()
    assert all(ended(job) for job in jobs)
    assert most[0] == 1


def test_submitting_from_many_threads_runs_the_last(worker: Worker) -> None:
    jobs: list[Job] = []
    threads = [
        threading.Thread(target=lambda: jobs.append(worker.submit(endless))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = worker.submit(lambda job: "last")
    assert ended(last)
    assert last.result == "last"
    assert all(ended(job) and job.cancelled for job in jobs)


def test_a_callback_may_submit_the_next_job(worker: Worker) -> None:
    done = threading.Event()
    job = worker.submit(
        lambda job: None, on_done=lambda _: worker.submit(lambda job: done.set()) and None
    )
    assert ended(job)
    assert done.wait(LONG)


# Debouncing ---------------------------------------------------------------------------------------


def test_of_several_jobs_in_a_row_only_the_last_runs(worker: Worker) -> None:
    ran: list[int] = []
    began = time.monotonic()
    jobs = [
        worker.submit(lambda job, i=i: ran.append(i), debounce=0.15)  # type: ignore[misc]
        for i in range(5)
    ]
    assert ended(jobs[-1])
    assert time.monotonic() - began >= 0.15
    assert ran == [4]
    assert [j.state for j in jobs[:-1]] == ["cancelled"] * 4
    assert all(j.done for j in jobs)


def test_a_job_that_waits_can_be_cancelled(worker: Worker) -> None:
    job = worker.submit(pytest.fail, debounce=0.2)
    job.cancel()
    assert job.done
    assert ended(worker.submit(lambda job: None))  # and holds nobody up
    assert job.state == "cancelled"


# With a real explainer ----------------------------------------------------------------------------


def test_a_stream_ends_within_half_a_second(worker: Worker) -> None:
    zeros = np.zeros((20000, 512), np.float32)
    explainer = Explainer(models.deep(30, 512), zeros, target=0, max_memory=2**24)
    x = np.ones((1, 512), np.float32)
    seen: list[int] = []

    def work(job: Job) -> None:
        stream = explainer.stream(x)
        job.on_cancel(stream.close)
        for partial in stream:
            job.report(partial.references)

    job = worker.submit(work, seen.append, on_done=pytest.fail, on_error=pytest.fail)
    assert is_soon(lambda: bool(seen))
    began = time.monotonic()
    job.cancel()
    assert time.monotonic() - began < 0.1
    assert ended(job)
    assert time.monotonic() - began < 0.5
    assert seen[-1] < 20000
