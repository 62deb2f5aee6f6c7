import numpy as np
import pytest

from onnxshap.runtime.moments import Moments


def fed(samples: np.ndarray, sizes: list[int]) -> Moments:
    moments, start = Moments(), 0
    for size in sizes:
        chunk = samples[start : start + size]
        mean = chunk.mean(0)
        moments.add(size, mean, ((chunk - mean) ** 2).sum(0))
        start += size
    return moments


@pytest.mark.parametrize("sizes", [[12], [1] * 12, [5, 7], [1, 10, 1], [3, 3, 3, 3]])
def test_chunks_equal_the_whole(sizes: list[int]) -> None:
    samples = np.random.default_rng(0).normal(3, 2, size=(12, 4, 5))
    moments = fed(samples, sizes)
    assert moments.count == 12
    np.testing.assert_allclose(moments.mean, samples.mean(0), rtol=1e-14)
    expected = samples.std(0, ddof=1) / np.sqrt(12)
    np.testing.assert_allclose(moments.standard_error, expected, rtol=1e-13)


def test_far_from_zero_nothing_cancels() -> None:
    samples = 1e9 + np.random.default_rng(1).normal(size=(1000, 3))
    moments = fed(samples, [10] * 100)
    expected = (samples - 1e9).std(0, ddof=1) / np.sqrt(1000)
    np.testing.assert_allclose(moments.standard_error, expected, rtol=1e-6)


def test_many_float32_chunks_accumulate_in_float64() -> None:
    moments = Moments()
    tenth = np.full(2, 0.1, np.float32)
    for _ in range(20_000):
        moments.add(1, tenth, np.zeros(2, np.float32))
    assert moments.mean is not None
    assert moments.mean.dtype == np.float64
    np.testing.assert_allclose(moments.mean, np.float64(tenth[0]), rtol=1e-12)
    assert moments.standard_error is not None
    np.testing.assert_allclose(moments.standard_error, 0, atol=1e-12)


def test_one_sample_has_no_standard_error() -> None:
    moments = Moments()
    assert moments.mean is moments.standard_error is None
    moments.add(1, np.ones(2), np.zeros(2))
    assert moments.standard_error is None
    np.testing.assert_array_equal(moments.mean, [1, 1])
    moments.add(1, np.zeros(2), np.zeros(2))
    np.testing.assert_allclose(moments.standard_error, [0.5, 0.5])


def test_arrays_that_were_added_are_not_changed() -> None:
    moments, first, second = Moments(), np.ones(2), np.zeros(2)
    moments.add(1, first, second)
    moments.add(1, first * 3, second)
    np.testing.assert_array_equal([first, second], [[1, 1], [0, 0]])
