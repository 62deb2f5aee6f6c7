"""What each input adds to an output: the sums of its positive and of its negative attributions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxshap.plot.panels import Panel, plain, three


@dataclass(frozen=True)
class Part:
    """Sums over one input's finite attributions, float64 [N, K]."""

    name: str
    up: np.ndarray
    down: np.ndarray
    broken: np.ndarray
    """How many attributions are not finite."""

    def line(self, n: int, k: int) -> str:
        """Both sums, and what they come to."""
        up, down = float(self.up[n, k]), float(self.down[n, k])
        if not up or not down:
            return f"{self.name} {three(up + down)}"
        return f"{self.name} {three(up)} {three(down)} = {three(up + down)}"


def parts(panels: Sequence[Panel], top: int) -> list[Part]:
    """One part an input, in their order; those beyond the ``top`` largest added up."""
    several = [_part(panel) for panel in panels]
    if len(several) <= top:
        return several
    order = sorted(range(len(several)), key=lambda i: -_size(several[i]))
    kept, rest = sorted(order[:top]), [several[i] for i in order[top:]]
    others = Part(
        f"{len(rest)} other inputs" if len(rest) > 1 else "1 other input",
        np.sum([part.up for part in rest], axis=0),
        np.sum([part.down for part in rest], axis=0),
        np.sum([part.broken for part in rest], axis=0),
    )
    return [*(several[i] for i in kept), others]


def _part(panel: Panel) -> Part:
    values = panel.values.reshape(*panel.values.shape[:2], -1).astype(np.float64)
    finite = np.isfinite(values)
    known = np.where(finite, values, 0.0)
    up, down = np.maximum(known, 0).sum(-1), np.minimum(known, 0).sum(-1)
    return Part(plain(panel.name or ""), up, down, (~finite).sum(-1))


def _size(part: Part) -> float:
    return float((part.up - part.down).sum())
