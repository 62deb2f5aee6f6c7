"""The result of an explanation: arrays and the facts needed to judge them."""

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from onnxshap.errors import InputError

Arrays = np.ndarray | dict[str, np.ndarray]

_SCALARS = ("references", "method", "complete", "note")


@dataclass(frozen=True, eq=False)
class Explanation:
    """What an `Explainer` returns.

    N explicands, M references, K targets; for a single target the K axis is left out, and for a
    single explained input arrays stand alone instead of in a dict by input name.
    """

    attributions: Arrays
    """Credit of each input feature, float32 [N, K, *x], in units of the target output."""
    outputs: np.ndarray
    """Target output at the explicands, float64 [N, K]."""
    targets: np.ndarray
    """int64 [N, K] for classes, [N, K, rank] for tuples into outputs of that rank; weights are
    float64, shaped like one sample's output."""
    base_values: np.ndarray | None = None
    """Mean target output over the background, float64 [N, K]; SHAP calls it the expected value.
    0 for X-Gradient, which compares with the zero input; None for methods that compare with
    nothing."""
    residual: np.ndarray | None = None
    """sum(attributions) - (output - base value), float64 [N, K]: the gap in completeness. None
    where the method does not promise it, or the explained values do not cut every path."""
    standard_error: Arrays | None = None
    """Standard error of the attributions over references, s / sqrt(M). None for one reference."""
    per_reference: Arrays | None = None
    """Attributions of every reference, [N, K, M, *x] (without K: [N, M, *x]), when asked for."""
    data: Arrays | None = None
    """The explained values themselves, [N, *x]; None for inner values of the model."""
    references: int = 0
    """How many references these arrays average over."""
    method: str = ""
    complete: bool = True
    """Whether every reference asked for has been used; False in partial results."""
    note: str = ""
    """What a reader must know, e.g. that completeness was waived; empty where there is nothing."""

    def summary(self) -> str:
        """One line an explicand and target: output, base value, sum, residual."""
        lines = [self.method + (f", {counted(self.references)}" if self.references else "")]
        if self.note:
            lines.append(f"  {self.note}")
        sums = self.sums()
        outputs, targets = np.atleast_1d(self.outputs), self.targets
        for index in np.ndindex(outputs.shape):
            parts = [f"explicand {index[0]}"]
            if targets.dtype.kind == "i" and targets.shape == self.outputs.shape:
                parts.append(f"target {np.atleast_1d(targets)[index]}")
            parts.append(f"output {outputs[index]:+.6g}")
            if self.base_values is not None:
                parts.append(f"base value {np.atleast_1d(self.base_values)[index]:+.6g}")
            parts.append(f"sum of attributions {np.atleast_1d(sums)[index]:+.6g}")
            if self.residual is not None:
                parts.append(f"residual {np.atleast_1d(self.residual)[index]:+.2e}")
            lines.append("  " + ", ".join(parts))
        return "\n".join(lines)

    def sums(self) -> np.ndarray:
        """Sum of the attributions over features (and inputs), float64, shaped like `outputs`."""
        arrays = self.attributions
        several = list(arrays.values()) if isinstance(arrays, dict) else [arrays]
        lead = np.ndim(self.outputs)
        return np.asarray(
            sum(a.astype(np.float64).sum(axis=tuple(range(lead, a.ndim))) for a in several)
        )

    def relative_standard_error(self) -> np.ndarray | None:
        """Standard error over attribution, both as root mean squares over features; [N, K]."""
        if self.standard_error is None:
            return None
        lead = np.ndim(self.outputs)
        errors, maps = _flat(self.standard_error, lead), _flat(self.attributions, lead)
        size = np.sqrt((maps**2).mean(-1))
        spread = np.sqrt((errors**2).mean(-1))
        relative: np.ndarray = np.divide(
            spread, size, out=np.full_like(size, np.nan), where=size > 0
        )
        return relative

    def plot(self, **options: Any) -> Any:
        """Draw the attributions; see `onnxshap.plot.plot`. Needs matplotlib (extra ``lab``)."""
        from onnxshap.plot import plot

        return plot(self, **options)

    def to_shap(
        self, *, feature_names: Sequence[str] | None = None, input: str | None = None
    ) -> Any:
        """Return these attributions as a ``shap.Explanation``, for shap's plots. Needs shap.

        In shap's layout: targets last, ``[N, *x, K]``, and the channels of images after their
        rows and columns, whatever they are in the model.

        Parameters
        ----------
        feature_names : sequence of str, optional
            Name of each feature, where a sample is a row of them.
        input : str, optional
            Which input, where several are explained.

        Raises
        ------
        InputError
            If shap is not installed, or an argument does not fit the explanation.
        """
        from onnxshap.interop.shap import to_shap

        return to_shap(self, feature_names, input)

    def to_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write a page that stands alone: the figure and the facts beside it."""
        from onnxshap.plot import to_html

        return to_html(self, Path(path), **options)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write every array to an ``.npz`` under the attribute names; dicts as ``name/input``.

        Raises
        ------
        InputError
            If the folder does not exist.
        """
        target = Path(path)
        if not target.parent.is_dir():
            raise InputError(
                f"cannot save {target.name!r}: there is no folder {os.fspath(target.parent)!r}; "
                "create it first"
            )
        entries: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, dict):
                entries |= {f"{field.name}/{name}": array for name, array in value.items()}
            elif value is not None:
                entries[field.name] = value
        partial = target.with_name(target.name + ".partial")
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, **entries)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Explanation":
        """Read what `save` wrote.

        Raises
        ------
        InputError
            If the file is not a saved explanation.
        """
        try:
            with open(path, "rb") as file:
                if file.read(2) != b"PK":
                    raise ValueError("it is no .npz archive")
                file.seek(0)
                with np.load(file, allow_pickle=False) as archive:
                    entries = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{os.fspath(path)!r} is not a saved explanation: {error}") from error
        names = {field.name for field in fields(cls)}
        values: dict[str, Any] = {}
        for key, array in entries.items():
            name, slash, part = key.partition("/")
            if name not in names:
                raise InputError(
                    f"{os.fspath(path)!r} is not a saved explanation: it holds {key!r}"
                )
            if slash:
                values.setdefault(name, {})[part] = array
            else:
                values[name] = array.item() if name in _SCALARS else array
        if not {"attributions", "outputs", "targets"} <= set(values):
            raise InputError(f"{os.fspath(path)!r} is not a saved explanation: no attributions")
        return cls(**values)


def counted(references: int) -> str:
    """``5 references``, ``1 reference``."""
    return f"{references} reference{'s' if references != 1 else ''}"


def _flat(arrays: Arrays, lead: int) -> np.ndarray:
    several = list(arrays.values()) if isinstance(arrays, dict) else [arrays]
    flat = [a.reshape(*a.shape[:lead], -1).astype(np.float64) for a in several]
    return np.concatenate(flat, axis=-1)
