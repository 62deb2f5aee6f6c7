"""Attributions as maps: sums over channels and blocks, colour limits, and the photos beneath."""

from typing import Any

import numpy as np

from onnxshap.errors import InputError
from onnxshap.plot.panels import Panel, Style, percent

CHANNELS = (1, 3, 4)


def form_of(shape: tuple[int, ...], style: Style, photos: bool) -> str:
    """Choose image, bars or strip by the shape of one sample."""
    if style.form != "auto":
        return style.form
    rank = len(shape) - (0 if style.axis is None else np.size(style.axis))
    if rank >= 3 or (rank == 2 and photos):
        return "image"
    long = [size for size in shape if size > 1]
    if rank == 2 and len(long) == 2:
        return "image" if min(long) >= 8 and max(long) <= 4 * min(long) else "strip"
    return "bars" if int(np.prod(shape)) <= 1000 else "strip"


def channel_axes(shape: tuple[int, ...], style: Style, keep: int) -> tuple[int, ...]:
    """Axes of one sample that are summed so that ``keep`` remain: channels first, or last."""
    rank = len(shape)
    if style.axis is not None:
        given = style.axis if isinstance(style.axis, tuple) else (style.axis,)
        if any(not -rank <= a < rank for a in given) or rank - len(given) > keep:
            raise InputError(
                f"axis is {style.axis!r}: a sample has shape {list(shape)}, "
                f"and {keep} of its axes can be drawn"
            )
        return tuple(a % rank for a in given)
    if rank <= keep:
        return ()
    if rank == keep + 1 and shape[0] not in CHANNELS and shape[-1] in CHANNELS:
        return (rank - 1,)
    return tuple(range(rank - keep))


def maps(values: np.ndarray, axes: tuple[int, ...], style: Style, lead: int = 2) -> np.ndarray:
    """Sum over channels and blocks, float64 [N, K, H, W] or [N, K, T]; non-finite values stay."""
    with np.errstate(invalid="ignore", over="ignore"):
        summed = values.sum(axis=tuple(lead + a for a in axes), dtype=np.float64)
        for axis in range(lead, summed.ndim):
            if style.block > 1 and summed.shape[axis] > style.block:
                starts = np.arange(0, summed.shape[axis], style.block)
                summed = np.add.reduceat(summed, starts, axis=axis)
    return np.asarray(summed)


def signed(values: np.ndarray, sign: str) -> np.ndarray:
    """Keep the asked-for part of signed values; NaN stays."""
    if sign == "signed":
        return values
    parts = {"positive": np.maximum(values, 0), "negative": np.minimum(values, 0)}
    return np.asarray(parts.get(sign, np.abs(values)))


def limits(values: np.ndarray, style: Style) -> np.ndarray:
    """Colour limit of every map, [N, K]: a percentile of |values| over what shares it; 0 if none.

    Where the percentile of a sparse map is 0, its largest value.
    """
    flat = np.abs(values.reshape(*values.shape[:2], -1))
    groups = {
        "panel": flat,
        "row": flat.reshape(len(flat), 1, -1),
        "figure": flat.reshape(1, 1, -1),
    }
    group = groups[style.scale]
    found = np.zeros(group.shape[:2])
    for index in np.ndindex(found.shape):
        finite = group[index][np.isfinite(group[index])]
        if finite.size:
            found[index] = np.percentile(finite, style.percentile) or finite.max()
    return np.broadcast_to(found, flat.shape[:2])


def clipped(values: np.ndarray, limit: float) -> float:
    """Share of finite values whose colour is saturated."""
    finite = np.isfinite(values)
    return float((np.abs(values[finite]) > limit).mean()) if finite.any() else 0.0


def standard_error(panel: Panel, axes: tuple[int, ...], style: Style, n: int, k: int) -> list[str]:
    """Say how large the standard error is beside the map, as root mean squares; [] if unknown.

    Exact for the map as drawn where it sums nothing, or where every reference's map was kept.
    """
    values, errors, each = panel.values[n, k], panel.errors, panel.per_reference
    of = "of the map"
    with np.errstate(invalid="ignore", over="ignore"):
        if each is not None and each.shape[2] > 1:
            kept = maps(each[n, k], axes, style, lead=1)
            values, square = kept.mean(0), kept.var(0, ddof=1) / len(kept)
        elif errors is not None:
            square = errors[n, k].astype(np.float64) ** 2
            if style.block > 1 or any(values.shape[a] > 1 for a in axes):
                of = "value by value"
        else:
            return []
        size, spread = _root_mean(values.astype(np.float64) ** 2), _root_mean(square)
    if not size > 0 or not np.isfinite(spread):
        return []
    return [f"standard error {percent(spread / size)} {of}"]


def _root_mean(squares: np.ndarray) -> float:
    finite = squares[np.isfinite(squares)]
    return float(np.sqrt(finite.mean())) if finite.size else 0.0


def photos(image: Any, count: int) -> list[np.ndarray]:
    """Photos as float arrays 0..1, [H, W] or [H, W, 3], one an explicand."""
    if isinstance(image, list | tuple):
        several = [np.asarray(one) for one in image]
    else:
        array = np.asarray(image)
        lone = array.ndim == 2 or (array.ndim == 3 and _has_channels(array.shape) and count == 1)
        several = [array] if lone else list(array)
    if len(several) != count:
        raise InputError(f"image holds {len(several)} pictures for {count} explicands")
    return [_photo(one) for one in several]


def _has_channels(shape: tuple[int, ...]) -> bool:
    return shape[0] in CHANNELS or shape[-1] in CHANNELS


def _photo(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and _has_channels(array.shape):
        array = array if array.shape[-1] in CHANNELS else np.moveaxis(array, 0, -1)
        array = array[..., 0] if array.shape[-1] == 1 else array[..., :3]
    elif array.ndim != 2:
        raise InputError(
            f"image has shape {list(array.shape)}; a picture is [H, W], [H, W, C] or [C, H, W] "
            "with 1, 3 or 4 channels"
        )
    if array.dtype == np.uint8:
        return array / 255.0
    values = np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    if low >= 0 and high <= 1:
        return values
    if low >= 0 and high <= 255 and np.issubdtype(array.dtype, np.integer):
        return values / 255.0
    low = values.min()
    return np.asarray((values - low) / max(high - low, 1e-300))


def grey(photo: np.ndarray) -> np.ndarray:
    """Luminance [H, W] (Rec. 601)."""
    return photo if photo.ndim == 2 else photo @ np.array([0.299, 0.587, 0.114])
