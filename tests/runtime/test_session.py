import re
import threading
import time

import numpy as np
import onnxruntime
import pytest

from onnxshap import Explainer, ProviderError
from onnxshap.errors import ExecutionError
from onnxshap.runtime import providers
from onnxshap.runtime.providers import CPU, CUDA, choose, cuda_device_present
from onnxshap.runtime.session import Session
from onnxshap.runtime.workers import Stop, Stopped, Workers, cores
from tests.helpers import models

no_cuda = pytest.mark.skipif(cuda_device_present(), reason="a CUDA device answers here")


@pytest.fixture(scope="module")
def mlp() -> bytes:
    return models.mlp().SerializeToString()


def session(model: bytes, asked: list[str] | None = None) -> Session:
    return Session(model, asked, Workers(1), "test")


def test_threads_are_counted_so_that_the_runtime_ties_none_to_a_processor(mlp: bytes) -> None:
    asked = [Session(mlp, None, Workers(1), "test", threads=n)._session for n in (0, 1)]
    assert [s.get_session_options().intra_op_num_threads for s in asked] == [cores(), 1]


# Providers ----------------------------------------------------------------------------------------


@no_cuda
def test_without_a_device_none_takes_the_cpu(mlp: bytes) -> None:
    assert choose(None) == [CPU]
    assert session(mlp).device == "cpu"


def test_one_provider_may_be_a_plain_string(mlp: bytes) -> None:
    assert choose(CPU) == choose([CPU]) == choose((CPU,)) == [CPU]
    model = models.mlp()
    explain = Explainer(model, models.samples(model, 2), providers=CPU)
    assert explain(models.samples(model, 1)).references == 2
    with pytest.raises(ProviderError, match="has no cpu; it has"):
        choose("cpu")


@pytest.mark.parametrize("given", [3, [3], [(CPU, {})], [None]])
def test_things_that_are_no_providers_are_refused(given: object) -> None:
    text = re.escape(f"providers={given!r}: give names such as 'CPUExecutionProvider'")
    with pytest.raises(ProviderError, match=text):
        choose(given)  # type: ignore[arg-type]


def test_absent_provider_is_refused_by_name(mlp: bytes) -> None:
    text = r"has no MadeUpExecutionProvider; it has .*CPUExecutionProvider.*onnxshap\[cuda\]"
    with pytest.raises(ProviderError, match=text):
        choose(["MadeUpExecutionProvider", CPU])
    model = models.cnn()
    explain = Explainer(
        model, models.samples(model, 1), target=0, providers=["MadeUpExecutionProvider"]
    )
    with pytest.raises(ProviderError, match=text):
        explain(models.samples(model, 1))


@no_cuda
@pytest.mark.parametrize("asked", [[CUDA], [CUDA, CPU]])
def test_cuda_without_a_device_is_an_error_and_never_the_cpu(
    asked: list[str], mlp: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Session.count
    with pytest.raises(ProviderError, match=r"CUDAExecutionProvider|cuda"):
        session(mlp, asked)
    assert Session.count == made
    capfd.readouterr()


def test_a_provider_that_is_listed_but_not_granted_is_an_error(
    mlp: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fallen:
        """A session that fell back, as onnxruntime's do: without an exception."""

        def __init__(self, *_: object, **__: object) -> None:
            pass

        def get_providers(self) -> list[str]:
            return [CPU]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fallen)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with pytest.raises(ProviderError, match=f"{CUDA} was not granted; onnxruntime gave {CPU}"):
        session(mlp, [CUDA, CPU])


def test_cuda_is_taken_where_a_device_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    for present, expected in ((True, [CUDA, CPU]), (False, [CPU])):
        monkeypatch.setattr(providers, "cuda_device_present", lambda found=present: found)
        assert choose(None) == expected


# Runs ---------------------------------------------------------------------------------------------


def test_values_stay_until_they_are_asked_for(mlp: bytes) -> None:
    some = session(mlp)
    x = models.samples(models.mlp(), 3)["x"]
    found = some.run({"x": x, "not an input": x}, ["logits"])
    assert list(found) == ["logits"]
    again = some.run({"x": some.put(x)}, ["logits"])
    np.testing.assert_array_equal(found["logits"].numpy(), again["logits"].numpy())
    assert some.runs == 2


def test_failures_say_in_which_pass(mlp: bytes) -> None:
    with pytest.raises(ExecutionError, match="onnxruntime cannot load the test: "):
        session(b"not a model")
    with pytest.raises(ExecutionError, match="onnxruntime failed in the test: "):
        session(mlp).run({"x": np.zeros((1, 7), np.float32)}, ["logits"])


# Stopping -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endless() -> bytes:
    """Return a model whose one run takes far longer than any test."""
    return models.deep(layers=400, width=512).SerializeToString()


def test_a_run_ends_when_asked(endless: bytes) -> None:
    some, stop = session(endless), Stop()
    x = np.ones((4000, 512), np.float32)
    timer = threading.Timer(0.3, stop.ask)
    timer.start()
    start = time.monotonic()
    with pytest.raises(Stopped, match="stopped before it was complete"):
        some.run({"v0": x}, ["v400"], stop)
    assert 0.25 < time.monotonic() - start < 0.8
    timer.join()
    with pytest.raises(Stopped):  # and no later run of the same call begins
        some.run({"v0": x[:1]}, ["v400"], stop)
    some.run({"v0": x[:1]}, ["v400"], Stop())  # another call's does


def test_stopping_one_call_leaves_another_alone(endless: bytes) -> None:
    worker = Workers(1)
    some = Session(endless, None, worker, "test")
    mine, other = Stop(), Stop()
    results: list[object] = []
    x = np.ones((100, 512), np.float32)
    thread = threading.Thread(
        target=lambda: results.append(some.run({"v0": x}, ["v400"], other)["v400"])
    )
    thread.start()
    mine.ask()
    thread.join(60)
    assert len(results) == 1
    assert not thread.is_alive()
