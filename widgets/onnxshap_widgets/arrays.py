"""Attribution maps and photos as the browser gets them: float32 and grey bytes, small enough."""

from typing import Any

import numpy as np

from onnxshap.errors import InputError
from onnxshap.plot.maps import CHANNELS, grey, photos


def attribution_map(values: Any, name: str = "values") -> np.ndarray:
    """Attributions of one sample and target as float32 [C, H, W]; [H, W] gets one channel."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} has dtype {array.dtype}; attributions are real numbers")
    if array.ndim not in (2, 3) or not array.size:
        raise InputError(
            f"{name} has shape {list(array.shape)}; pass the map of one sample and target, "
            "[H, W] or [C, H, W], e.g. explanation.attributions[0, 0]"
        )
    if array.ndim == 2:
        array = array[None]
    elif array.shape[0] not in CHANNELS and array.shape[-1] in CHANNELS:
        array = np.moveaxis(array, -1, 0)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, dtype=np.float32)


def over_channels(values: np.ndarray) -> np.ndarray:
    """Sum of a map [C, H, W] over its channels, float64 [H, W]."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(values.sum(axis=0, dtype=np.float64))


def squares(values: np.ndarray, block: int) -> np.ndarray:
    """Sum [..., H, W] over squares of ``block`` pixels a side; the last ones may be cut."""
    if block == 1:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        sums = values.astype(np.float64)
        for axis in (-2, -1):
            sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], block), axis=axis)
        return np.asarray(sums, dtype=values.dtype)


def in_squares(values: np.ndarray, side: int) -> tuple[np.ndarray, int]:
    """Sum over the smallest squares that leave ``side`` cells a side at most; their size."""
    block = -(-max(values.shape[-2:]) // side)
    return squares(values, block), block


def grey_photo(image: Any, side: int) -> np.ndarray:
    """A picture as grey bytes, uint8 [h, w], of ``side`` a side at most.

    Parameters
    ----------
    image : array
        [H, W], [H, W, C] or [C, H, W]; integers 0..255 or floats. Floats outside 0..1 are
        stretched to their range.
    side : int
        Larger pictures are averaged over squares of pixels.
    """
    array = np.asarray(image)
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3) or not array.size:
        raise InputError(
            f"image has dtype {array.dtype} and shape {list(array.shape)}; a picture is an array "
            "[H, W], [H, W, C] or [C, H, W] of integers 0..255 or floats"
        )
    if array.dtype == np.uint8:  # a camera's picture: thin it out before it becomes floats
        array = _averaged(array, side).astype(np.uint8)
    lightness = _averaged(np.asarray(grey(photos([array], 1)[0])), side)
    return np.asarray(np.rint(255 * np.clip(lightness, 0, 1)), dtype=np.uint8)


def _averaged(picture: np.ndarray, side: int) -> np.ndarray:
    """Mean over the smallest squares that leave ``side`` cells a side at most."""
    block = -(-max(picture.shape) // side)
    if block == 1:
        return picture
    first = 1 if picture.ndim == 3 and picture.shape[-1] not in CHANNELS else 0
    for axis in (first, first + 1):
        starts = np.arange(0, picture.shape[axis], block)
        sums = np.add.reduceat(picture, starts, axis=axis, dtype=np.float32)
        counts = np.diff(np.append(starts, picture.shape[axis])).astype(np.float32)
        picture = sums / np.expand_dims(counts, [k for k in range(picture.ndim) if k != axis])
    return picture


def facts_of(facts: Any, name: str = "facts") -> list[list[str]]:
    """Facts as the browser gets them: a list of [label, text]."""
    try:
        pairs = list(facts.items()) if isinstance(facts, dict) else [tuple(f) for f in facts]
        if all(len(pair) == 2 for pair in pairs) and not isinstance(facts, str):
            return [[str(label), str(text)] for label, text in pairs]
    except TypeError:
        pass
    raise InputError(f"{name} is {facts!r}; pass (label, text) pairs")


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return the value, or refuse it with what there is."""
    if value not in allowed:
        raise InputError(f"{name} is {value!r}; it takes {', '.join(allowed)}")
    return str(value)


def within(name: str, value: Any, low: float, high: float) -> float:
    """Return a number from low to high, or refuse it."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise InputError(f"{name} is {value!r}; it takes a number from {low:g} to {high:g}")
    if not low <= value <= high:
        raise InputError(f"{name} is {value!r}; it takes {low:g} to {high:g}")
    return float(value)
