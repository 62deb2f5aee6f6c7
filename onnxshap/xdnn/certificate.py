"""The certificate: whether a model is nonnegatively homogeneous, and if not, what breaks it."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from onnxshap.graph.model import Model, ModelSource, load
from onnxshap.homogeneity import Offender, Proof, prove
from onnxshap.inputs import Data
from onnxshap.methods.draft import Draft
from onnxshap.xdnn.confirm import Confirmation, confirm

_TOLERANCE = 1e-3
_HALF = 64  # units of rounding, for types whose rounding alone exceeds the tolerance


@dataclass(frozen=True)
class Certificate:
    """What `certify` found. ``str()`` for a terminal, an HTML table in a notebook."""

    sources: list[str]
    output: str
    degree: Fraction | None
    """The proven k in f(a x) = a^k f(x) for every a > 0; None where there are offenders."""
    offenders: list[Offender]
    """Every node at fault, in graph order."""
    deviation: float | None
    """Largest |f(a x) - a^k f(x)| in the runs, relative to the largest |a^k f(x)|."""
    unconfirmed: str
    """Why there were no such runs, or none that count."""
    tolerance: float = _TOLERANCE
    """The deviation above which the runs contradict the proof."""

    @property
    def proof(self) -> Proof:
        """What was proven, without the runs."""
        return Proof(self.degree, self.offenders)

    @property
    def ok(self) -> bool:
        """Whether X-Gradient may explain the model: k >= 1, and no run contradicts it."""
        return self.proof.ok and not self.contradicted

    @property
    def contradicted(self) -> bool:
        """Whether runs deviate from what was proven."""
        return self.deviation is not None and not self.deviation <= self.tolerance

    @property
    def verdict(self) -> str:
        """One sentence."""
        proof = self.proof
        if self.contradicted:
            return (
                f"NOT certified: {proof.law} was proven, but runs deviate by "
                f"{self.deviation:.2g}, more than {self.tolerance:g}"
            )
        if proof.ok:
            return f"certified, {proof.law} for every a > 0, proven node by node"
        return f"NOT certified: {proof.objection}"

    def __str__(self) -> str:
        lines = self._head()
        for (operator, reason), names in self.proof.reasons().items():
            lines.append(f"{len(names):5d}  {operator}: {reason}")
            lines += [f'       node "{name}"' for name in names]
        return "\n".join(lines)

    def _head(self) -> list[str]:
        verdict = f"{', '.join(self.sources)} -> {self.output}: {self.verdict}"
        if self.degree is None:
            return [verdict]
        if self.deviation is None:
            return [verdict, f"not confirmed by runs: {self.unconfirmed}"]
        return [verdict, f"runs: largest deviation {self.deviation:.2g}"]

    def _repr_html_(self) -> str:
        head = "<br>".join(html.escape(line) for line in self._head())
        if not self.offenders:
            return f"<p>{head}</p>"
        rows = "".join(
            "<tr>"
            + "".join(f"<td>{html.escape(c)}</td>" for c in (o.node, o.operator, o.reason))
            + "</tr>"
            for o in self.offenders
        )
        titles = "".join(f"<th>{t}</th>" for t in ("node", "operator", "what breaks it"))
        return f"<p>{head}</p><table><tr>{titles}</tr>{rows}</table>"


def certify(
    model: ModelSource | Model,
    *,
    output: str | None = None,
    inputs: str | Sequence[str] | None = None,
    samples: Data | None = None,
) -> Certificate:
    """Certify that a model is nonnegatively homogeneous: f(a x) = a^k f(x) for every a > 0.

    Proven on the graph, node by node; then confirmed by runs on the CPU.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
    output, inputs : str, optional
        As for `Explainer`. Name the logits as ``output`` where the model ends in a Softmax.
    samples : ndarray [N, *x] or dict of them by input name, optional
        What to confirm on; by default two random samples. Where the model's inputs have free
        sizes there are none, and the proof stands alone.

    Returns
    -------
    Certificate
        ``certificate.ok`` says whether X-Gradient equals Integrated Gradients on this model.

    Raises
    ------
    InputError
        If a name is not in the model, or samples do not fit its inputs.
    """
    asked = [inputs] if isinstance(inputs, str) else inputs
    draft = Draft(load(model), output, asked)
    proof = prove(draft.graph, draft.sources, draft.target)
    if proof.degree is None:
        runs = Confirmation(None, "nothing was proven that runs could confirm")
    else:
        runs = confirm(draft, proof.degree, samples)
    return Certificate(
        sources=[str(v.name) for v in draft.sources],
        output=str(draft.target.name),
        degree=proof.degree,
        offenders=proof.offenders,
        deviation=runs.deviation,
        unconfirmed=runs.unconfirmed,
        tolerance=_tolerance(draft),
    )


def _tolerance(draft: Draft) -> float:
    """What rounding may add up to in the least precise type on the way."""
    types = {v.dtype for v in (draft.target, *draft.sources) if v.dtype is not None}
    steps = [float(np.finfo(t.numpy()).eps) for t in types if t.numpy().kind == "f"]
    return max([_TOLERANCE, *(_HALF * step for step in steps if step > 1e-4)])
