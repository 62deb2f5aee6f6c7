"""Checks of the parameters that methods take."""

import numpy as np

from onnxshap.errors import InputError


def require_count(method: object, name: str, value: object) -> None:
    """Raise unless a parameter is a whole number above 0."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InputError(
            f"{type(method).__name__}: {name}={value!r} must be a whole number above 0"
        )
