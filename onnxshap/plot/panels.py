"""What a figure shows: the options, attributions by input, and the facts printed beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxshap.errors import InputError
from onnxshap.explanation import Arrays, Explanation

Labels = Sequence[str] | Mapping[int, str] | None


@dataclass(frozen=True)
class Style:
    """The options of `plot` that say how, not what."""

    form: str = "auto"
    sign: str = "signed"
    percentile: float = 99.9
    scale: str = "row"
    cmap: str = "RdBu_r"
    opacity: float | None = None
    block: int = 1
    axis: int | tuple[int, ...] | None = None
    top: int = 10
    max_rows: int = 8
    max_columns: int = 8

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn, by the option's name."""
        for name, allowed in (
            ("form", ("auto", "image", "bars", "strip", "tokens", "completeness")),
            ("sign", ("signed", "positive", "negative", "absolute")),
            ("scale", ("row", "panel", "figure")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(f"{name} is {value!r}; it takes {', '.join(allowed)}")
        if not 0 < self.percentile <= 100:
            raise InputError(f"percentile is {self.percentile!r}; it takes 0 (excluded) to 100")
        if self.opacity is not None and not 0 <= self.opacity <= 1:
            raise InputError(f"opacity is {self.opacity!r}; it takes 0 to 1, or None")
        for name in ("block", "top", "max_rows", "max_columns"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; it takes 1 or more")
        if self.form == "completeness" and self.sign != "signed":
            raise InputError(
                f"sign is {self.sign!r}; completeness draws both signs and their sum: leave it out"
            )


@dataclass(frozen=True)
class Facts:
    """What is printed beside the map of one explicand and target, in target output units."""

    explicand: int
    label: str
    output: float
    base_value: float | None
    total: float
    residual: float | None
    error: float | None
    """Standard error over attribution, as root mean squares over all features."""

    def lines(self) -> list[str]:
        """Two or three short lines."""
        first = f"sum {number(self.total)}"
        if self.base_value is not None:
            first = f"base value {number(self.base_value)}, {first}"
        second = f"residual {self.residual:+.1e}" if self.residual is not None else ""
        return [line for line in (first, second) if line]


@dataclass(frozen=True)
class Panel:
    """One explained input: values [N, K, *x], with the K axis always there."""

    name: str | None
    values: np.ndarray
    errors: np.ndarray | None
    per_reference: np.ndarray | None
    data: np.ndarray | None


def facts(explanation: Explanation, labels: Labels) -> list[list[Facts]]:
    """Facts of every explicand [N] and target [K]."""
    outputs = two_axes(explanation.outputs)
    bases, residuals, errors = (
        None if a is None else two_axes(a)
        for a in (
            explanation.base_values,
            explanation.residual,
            explanation.relative_standard_error(),
        )
    )
    with np.errstate(invalid="ignore", over="ignore"):
        totals = two_axes(explanation.sums())

    def entry(array: np.ndarray | None, n: int, k: int) -> float | None:
        return None if array is None or np.isnan(array[n, k]) else float(array[n, k])

    return [
        [
            Facts(
                explicand=n,
                label=_label(explanation, labels, n, k),
                output=float(outputs[n, k]),
                base_value=entry(bases, n, k),
                total=float(totals[n, k]),
                residual=None if residuals is None else float(residuals[n, k]),
                error=entry(errors, n, k),
            )
            for k in range(outputs.shape[1])
        ]
        for n in range(outputs.shape[0])
    ]


def number(value: float) -> str:
    """Four digits and the sign."""
    return f"{value:+.4g}" if np.isfinite(value) else "not finite"


def three(value: float) -> str:
    """Three digits, zeros too, and the sign: in columns and sums."""
    return f"{value:+#.3g}".rstrip(".") if value else "0"


def percent(share: float) -> str:
    """Share as a percentage; two digits at least, no more than needed."""
    return f"{100 * share:.{0 if share >= 0.1 else 1 if share >= 0.01 else 2}f} %"


def plain(text: object) -> str:
    """Text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def two_axes(array: Any) -> np.ndarray:
    """[N] or [N, K] as [N, K]."""
    a = np.asarray(array, dtype=np.float64)
    return a.reshape(a.shape[0], -1) if a.ndim else a.reshape(1, 1)


def _label(explanation: Explanation, labels: Labels, n: int, k: int) -> str:
    targets, outputs = np.asarray(explanation.targets), np.asarray(explanation.outputs)
    if targets.dtype.kind not in "iu" or targets.shape[: outputs.ndim] != outputs.shape:
        return "weighted target"
    chosen = targets[(n, k)[: outputs.ndim]]
    if chosen.ndim:
        return f"target {chosen.tolist()}"
    target = int(chosen)
    if isinstance(labels, Mapping):
        return plain(labels.get(target, f"target {target}"))
    if labels is not None and 0 <= target < len(labels):
        return plain(labels[target])
    return f"target {target}"


def panels(explanation: Explanation, name: str | None) -> list[Panel]:
    """Return one panel an explained input, or the one that is named."""
    several = explanation.attributions
    single = np.ndim(explanation.outputs) == 1

    def take(arrays: Arrays | None, key: str | None) -> np.ndarray | None:
        array = arrays.get(key or "") if isinstance(arrays, dict) else arrays
        return array if array is None else np.asarray(array)

    def panel(key: str | None) -> Panel:
        values, errors, each, data = (
            take(a, key)
            for a in (
                several,
                explanation.standard_error,
                explanation.per_reference,
                explanation.data,
            )
        )
        assert values is not None
        if single:
            values, errors, each = (a if a is None else a[:, None] for a in (values, errors, each))
            assert values is not None
        return Panel(key, values, errors, each, data)

    if not np.size(explanation.outputs):
        raise InputError("the explanation holds no explicands: there is nothing to draw")
    if not isinstance(several, dict):
        return [panel(None)]
    if name is not None and name not in several:
        raise InputError(f"no explained input {name!r}; there are {', '.join(map(repr, several))}")
    return [panel(key) for key in ([name] if name is not None else several)]
