"""Explanations as shap has them, for its plots."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxshap.errors import InputError
from onnxshap.explanation import Explanation
from onnxshap.plot.maps import channel_axes
from onnxshap.plot.panels import Style


def to_shap(
    explanation: Explanation, feature_names: Sequence[str] | None = None, input: str | None = None
) -> Any:
    """Return the shap.Explanation of an explanation; see `Explanation.to_shap`."""
    values, data = _chosen(explanation, input)
    lead = np.ndim(explanation.outputs)
    sample = values.shape[lead:]
    if feature_names is not None and (len(sample) != 1 or len(feature_names) != sample[0]):
        raise InputError(
            f"feature_names: {len(feature_names)} are given, and a sample has shape "
            f"{list(sample)}; give one for each of the features of a sample with one axis"
        )
    if len(sample) == 3 and channel_axes(sample, Style(), keep=2) == (0,):
        values = np.moveaxis(values, lead, -1)
        data = None if data is None else np.moveaxis(data, 1, -1)
    if lead == 2:
        values = np.moveaxis(values, 1, -1)
    return _shap().Explanation(
        values=values,
        base_values=explanation.base_values,
        data=data,
        feature_names=None if feature_names is None else list(feature_names),
        output_names=_output_names(explanation) if lead == 2 else None,
    )


def _shap() -> Any:
    try:
        return importlib.import_module("shap")
    except ModuleNotFoundError as error:
        raise InputError(
            f"Explanation.to_shap needs {error.name}, which is not installed: pip install shap"
        ) from error


def _chosen(explanation: Explanation, name: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Attributions and data of one input."""
    attributions, data = explanation.attributions, explanation.data
    if isinstance(attributions, dict):
        if name not in attributions:
            asked = "several inputs are explained" if name is None else f"no input {name!r}"
            raise InputError(
                f"input: {asked}, and shap has one at a time; name one of "
                f"{', '.join(map(repr, attributions))}"
            )
        return attributions[name], data.get(name) if isinstance(data, dict) else None
    if name is not None:
        raise InputError(f"input={name!r}: a single input is explained; leave input= out")
    return attributions, None if isinstance(data, dict) else data


def _output_names(explanation: Explanation) -> list[str] | np.ndarray:
    """Names of the targets, [K]; [N, K] where they differ from explicand to explicand."""
    targets, (count, width) = explanation.targets, explanation.outputs.shape
    if targets.dtype.kind == "f":
        return [f"weights {k}" for k in range(width)]
    names = np.array(
        [[_spelt(targets[n, k]) for k in range(width)] for n in range(count)], dtype=object
    )
    return list(names[0]) if (names == names[:1]).all() else names


def _spelt(target: np.ndarray) -> str:
    """A class, or the index of one element of the output."""
    return str(target) if np.ndim(target) == 0 else str(tuple(target.tolist()))
