"""Checks of the parameters that methods take."""

import numpy as np

from onnxshap.errors import InputError


def require_count(method: object, name: str, value: object) -> None:
    """Raise unless a parameter is a whole number above 0."""
    _require_whole(method, name, value, 1)


def require_seed(method: object, value: object) -> None:
    """Raise unless a seed is a whole number, 0 or above."""
    _require_whole(method, "seed", value, 0)


def _require_whole(method: object, name: str, value: object, least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        owner = type(method).__name__
        raise InputError(f"{owner}: {name}={value!r} must be a whole number, {least} or above")
