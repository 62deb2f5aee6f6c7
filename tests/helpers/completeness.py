"""How far attributions are from summing to the output difference that the model itself gives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

from onnxshap import Explainer, Explanation
from tests.helpers.models import Arrays

TOLERANCE = {"float64": 1e-9, "float32": 1e-5, "float16": 5e-3}
"""The gap allowed, of max(|f(x)|, |f(r)|, sum of |attributions|)."""


@dataclass(frozen=True)
class Gap:
    """The worst pair of explicand and reference, in two measures."""

    scaled: float
    """Gap, of max(|f(x)|, |f(r)|, sum |attributions|)."""
    relative: float
    """Gap, of |f(x) - f(r)|."""
    explanation: Explanation

    def __str__(self) -> str:
        return f"worst pair {self.scaled:.1e}, |residual| / |difference| {self.relative:.1e}"


def measure(
    model: ModelProto,
    x: Arrays,
    references: Arrays,
    target: int | np.ndarray,
    *,
    output: str | None = None,
    inputs: str | Sequence[str] | None = None,
    axis: int = 0,
) -> Gap:
    """Explain every pair, and compare with the model run alone, one sample at a time.

    Inputs without references keep the explicand's own value. ``axis``: where the output counts
    samples.
    """
    explain = Explainer(model, references, target=target, output=output, inputs=inputs)
    explained = explain(x, per_reference=True)
    count, pairs = len(next(iter(x.values()))), len(next(iter(references.values())))
    run = _Alone(model, output, target, axis)
    f = np.array([run({k: a[i] for k, a in x.items()}) for i in range(count)])
    held = [k for k in x if k not in references]
    f_ref = np.array(
        [
            [
                run({k: x[k][i] for k in held} | {k: a[j] for k, a in references.items()})
                for j in range(pairs)
            ]
            for i in (range(count) if held else [0])
        ]
    )
    found = explained.per_reference
    several = list(found.values()) if isinstance(found, dict) else [found]
    rows = [a.reshape(count, pairs, -1).astype(np.float64) for a in several if a is not None]
    gap = np.abs(sum(a.sum(2) for a in rows) - (f[:, None] - f_ref))
    total = sum(np.abs(a).sum(2) for a in rows)
    scale = np.maximum(np.maximum(np.abs(f[:, None]), np.abs(f_ref)), total)
    difference = np.abs(f[:, None] - f_ref)
    relative = np.divide(gap, difference, out=gap.copy(), where=difference > 0)
    return Gap(float((gap / scale).max()), float(relative.max()), explained)


class _Alone:
    """The explained number of one sample, by onnxruntime alone."""

    def __init__(
        self, model: ModelProto, output: str | None, target: int | np.ndarray, axis: int
    ) -> None:
        shown = ModelProto()
        shown.CopyFrom(model)
        self.output, self.target = output or model.graph.output[0].name, target
        self.axis = axis
        if all(o.name != self.output for o in shown.graph.output):
            shown.graph.output.add().name = self.output
        self.session = ort.InferenceSession(
            shown.SerializeToString(), providers=["CPUExecutionProvider"]
        )

    def __call__(self, sample: Arrays) -> float:
        feeds = {k: a[None] for k, a in sample.items()}
        (found,) = self.session.run([self.output], feeds)
        found = found.take(0, self.axis).astype(np.float64)
        if isinstance(self.target, np.ndarray):
            return float((found * self.target).sum())
        return float(found.ravel()[self.target])
