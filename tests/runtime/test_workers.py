import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import onnxshap
from onnxshap.runtime.session import Session
from onnxshap.runtime.workers import Stop, Stopped, Workers, cores
from tests.helpers import models


def counted(log: list[int], most: list[int]) -> Callable[[int], Callable[[], int]]:
    """Return what makes tasks that remember how many were at work with them."""
    lock = threading.Lock()

    def task(number: int) -> int:
        with lock:
            log.append(number)
            most[0] = max(most[0], len(log))
        time.sleep(0.002 * (7 - number % 5))
        with lock:
            log.remove(number)
        return number

    return lambda number: lambda: task(number)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_order_from_as_many_at_once(count: int) -> None:
    most = [0]
    make = counted([], most)
    tasks = (make(k) for k in range(20))
    assert list(Workers(3).ahead(tasks, count, Stop())) == list(range(20))
    assert most == [count]


def test_tasks_are_made_when_there_is_room_for_them() -> None:
    made = []

    def tasks() -> Iterator[Callable[[], int]]:
        for k in range(20):
            made.append(k)
            yield lambda k=k: k

    for result in Workers(3).ahead(tasks(), 2, Stop()):
        assert len(made) <= result + 2


@pytest.fixture
def slow() -> Session:
    """Return a model whose one run takes far longer than any test."""
    model = models.deep(layers=400, width=512).SerializeToString()
    return Session(model, None, Workers(2), "test", threads=1)


@pytest.mark.parametrize("leave", ["error", "close"])
def test_leaving_early_ends_what_is_under_way(slow: Session, leave: str) -> None:
    workers, stop, begun = slow._workers, Stop(), threading.Event()
    x, outcomes = np.ones((4000, 512), np.float32), []

    def long() -> None:
        begun.set()
        try:
            slow.run({"v0": x}, ["v400"], stop)
            outcomes.append("done")
        except Stopped:
            outcomes.append("stopped")
            raise

    def fail() -> None:
        begun.wait(60)
        raise RuntimeError("the first")

    start = time.monotonic()
    if leave == "error":
        with pytest.raises(RuntimeError, match="the first"):
            list(workers.ahead([fail, long, long], 2, stop))
    else:
        results = workers.ahead([lambda: begun.wait(60), long, long], 2, stop)
        next(results)
        results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 1
    assert outcomes
    assert set(outcomes) == {"stopped"}


def test_a_run_in_a_worker_waits_for_no_other_worker() -> None:
    workers, x = Workers(1), np.ones((1, 8), np.float32)
    some = Session(models.deep(3, 8).SerializeToString(), None, workers, "test")

    def call() -> np.ndarray:
        found: np.ndarray = some.run({"v0": x}, ["v3"])["v3"].numpy()
        return found

    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.extend(workers.ahead([call], 1, Stop())))
    thread.daemon = True  # if it waits, it waits forever
    thread.start()
    thread.join(60)
    np.testing.assert_array_equal(found, [call()])


def test_as_many_processors_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a net whose references, at these sizes, fill several chunks."""
    rng = np.random.default_rng(0)
    x, background = (rng.normal(size=(n, 512)).astype(np.float32) for n in (2, 40))
    proto = models.deep(layers=40, width=512)
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr("onnxshap.runtime.workers.processors", lambda count=count: count)
        explain = onnxshap.Explainer(proto, background, target=[0, 1], max_memory=2**22)
        found.append(explain(x, per_reference=True))
        sessions = explain._engine.compiled._sessions
        assert {threads for which, _, threads in sessions if which == "pair"} == {
            0 if count == 1 else 1
        }
    for name in ("attributions", "standard_error", "per_reference", "base_values"):
        one, *others = (np.asarray(getattr(e, name)) for e in found)
        for other in others:
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-6 * np.abs(one).max())


@pytest.mark.parametrize(
    ("siblings", "expected"),
    [(["0", "1"], 2), (["0-1", "0-1"], 1), (["0,2", "1,3", "0,2", "1,3"], 2), ([], 0)],
)
def test_two_processors_of_one_core_count_once(
    siblings: list[str], expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And where the system does not tell, the runtime chooses."""
    for number, own in enumerate(siblings):
        (tmp_path / str(number)).write_text(f"{own}\n")
    monkeypatch.setattr("onnxshap.runtime.workers._SIBLINGS", f"{tmp_path}/{{}}")
    everything = set(range(len(siblings) or 1))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: everything, raising=False)
    assert cores() == expected
    monkeypatch.delattr("os.sched_getaffinity")
    assert cores() == 0
