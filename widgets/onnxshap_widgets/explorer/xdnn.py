"""X-Gradient: whether the model is an X-DNN, and whether one backward pass is all it takes."""

import html
from dataclasses import dataclass, replace

import ipywidgets as W
import numpy as np

import onnxshap.xdnn
from onnxshap.methods import DeepShap, IntegratedGradients, Method, XGradient
from onnxshap.plot.panels import number, percent
from onnxshap.xdnn import Certificate
from onnxshap_widgets.explorer.ask import AskPanel
from onnxshap_widgets.explorer.parts import WorkPanel, button, last_of, row, table, write
from onnxshap_widgets.explorer.view import attributions
from onnxshap_widgets.jobs import Job
from onnxshap_widgets.references import ReferenceSet, zeros
from onnxshap_widgets.study import Question, Study

REASONS = 8
"""Reasons listed at most."""
AGREE = 1e-4
"""Largest difference, of the largest attribution, at which maps are called equal in float32."""


@dataclass(frozen=True)
class Proof:
    """A model, with or without its biases, and what is proven of one of its outputs."""

    study: Study
    output: str
    certificate: Certificate
    removed: int = 0
    """Biases that were removed first."""


@dataclass(frozen=True)
class Finding:
    """What was measured: each method beside X-Gradient."""

    method: str
    summed: float
    largest: float
    """Largest difference from X-Gradient, as a share of its largest attribution."""


@dataclass(frozen=True)
class Measured:
    """What X-Gradient, the first finding, was compared with for one sample and target."""

    of: str
    proof: Proof
    difference: float
    """f(x) - f(0): what attributions should sum to."""
    findings: list[Finding]


class XdnnPanel(WorkPanel):
    """The certificate as a badge, the offer to strip biases, and the measured agreement."""

    def __init__(self, study: Study, ask: AskPanel) -> None:
        self._study, self._ask = study, ask
        self.proof: Proof | None = None
        """What is on view, None before the first."""
        self._begun = ""
        """The output that is proven or being proven."""
        self.badge = W.HTML()
        self.reasons = W.HTML()
        self.measure_button = button("Measure", "compare X-Gradient with other methods", main=True)
        self.strip_button = button("Strip biases", "certify and measure the model without biases")
        self.result = W.HTML()
        super().__init__()
        bar = row(self.measure_button, self.strip_button, self.cancel_button, self.status)
        self.children = [self.badge, self.reasons, bar, self.result]
        self.strip_button.layout.display = "none"
        self.measure_button.on_click(lambda _: self.measure())
        self.strip_button.on_click(lambda _: self.strip())

    def enter(self) -> None:
        """Certify the model for the chosen output, once."""
        output = self._ask.output.value
        if self._begun != output:
            self._begun, self.proof = output, None
            self.badge.value = self.reasons.value = self.result.value = ""
            self.strip_button.layout.display = "none"
            sample = self._ask.sample
            self.start("Proving…", lambda job: self._prove(output, sample), self._show)

    def strip(self) -> Job:
        """Remove every bias, and certify what is left."""
        output, sample = self._ask.output.value, self._ask.sample

        def work(job: Job) -> Proof:
            model = onnxshap.xdnn.strip_bias(self._study.model, output=output)
            study = Study(model, self._study.samples, labels=self._study.labels)
            return Proof(study, output, _certified(study, output, sample), len(model.removed))

        return self.start("Removing biases…", work, self._show)

    def measure(self) -> Job:
        """Explain the sample by X-Gradient, Integrated Gradients and DeepSHAP of the zero input."""
        ask = self._ask
        question = Question(
            ask.sample,
            ask.output.value,
            ask.target.target,
            XGradient(),
            providers=ask.provider.value,
        )
        of = f"{self._study.samples.caption(ask.sample)}, {ask.target.label}"
        proof = self.proof if self._begun == question.output else None

        def work(job: Job) -> Measured | None:
            proven = proof or self._prove(question.output, question.sample)
            return _measured(proven, question, of, job)

        return self.start("Explaining…", work, self._tell)

    def cancel(self) -> None:
        """Stop at once; a proof that was stopped begins again when the panel is looked at."""
        super().cancel()
        if self.proof is None:
            self._begun = ""

    def _prove(self, output: str, sample: int) -> Proof:
        return Proof(self._study, output, _certified(self._study, output, sample))

    # --- telling ---------------------------------------------------------------------------------

    def _show(self, proof: Proof) -> None:
        self.proof, self._begun = proof, proof.output
        certificate = proof.certificate
        kind, mark = ("good", "yes") if certificate.ok else ("warn", "no")
        of = f" after removing {proof.removed} biases" if proof.removed else ""
        self.badge.value = (
            f'<div class="oxa-badge oxa-{kind}"><b>Bias-free{of}: {mark}.</b> '
            f"{html.escape(certificate.verdict)}</div>"
        )
        reasons = certificate.proof.reasons() if not certificate.ok else {}
        lines = [
            (f"{op} × {len(nodes)}", why, ", ".join(nodes[:4]) + (" …" if len(nodes) > 4 else ""))
            for (op, why), nodes in list(reasons.items())[:REASONS]
        ]
        self.reasons.value = table(lines, ("operator", "reason", "nodes")) if lines else ""
        can = not certificate.ok and not proof.removed
        self.strip_button.layout.display = "" if can else "none"
        write(self.status, "", "muted")

    def _tell(self, measured: Measured | None) -> None:
        if measured is None:  # cancelled
            return
        if measured.proof is not self.proof:
            self._show(measured.proof)
        names = {f.name: f.title for f in self._ask.method.forms.values()}
        rows = [
            (
                names[f.method] + ("" if k == 0 else ", zero reference"),
                number(f.summed),
                number(measured.difference),
                "" if k == 0 else _share(f.largest),
            )
            for k, f in enumerate(measured.findings)
        ]
        head = ("method", "sum of attributions", "f(x) − f(0)", "largest difference")
        worst = max(f.largest for f in measured.findings[1:])
        ok = measured.proof.certificate.ok
        if worst <= AGREE:
            said, kind, why = "One backward pass is enough: they agree to", "good", ""
        else:
            said, kind = "They differ by up to", "warn"
            why = "" if ok else " The model is not bias-free: this is what X-Gradient misses."
        said = f"{measured.of}: {said} {_share(worst)} of the largest attribution.{why}"
        text = html.escape(said)
        self.result.value = f'<div class="oxa-text oxa-{kind}">{text}</div>{table(rows, head)}'
        write(self.status, "", "muted")


def _certified(study: Study, output: str, sample: int) -> Certificate:
    own = study.samples.feeds(sample)
    return onnxshap.xdnn.certify(study.model, output=output, samples=own)


def _measured(proof: Proof, question: Question, of: str, job: Job) -> Measured | None:
    """Without a certificate X-Gradient is forced; None if the job was cancelled."""
    study, zero = proof.study, zeros(proof.study.samples)
    methods: list[tuple[Method, ReferenceSet | None]] = [
        (XGradient(force=not proof.certificate.ok), None),
        (IntegratedGradients(), zero),
        (DeepShap(), zero),
    ]
    found: list[Finding] = []
    first, difference = np.zeros(1), 0.0
    for method, references in methods:
        asked = replace(question, method=method, references=references)
        explanation = last_of(study.stream(asked), job)
        if explanation is None:
            return None
        values = attributions(explanation, study.samples.source)[0].astype(np.float64)
        first = first if found else values
        largest = np.abs(values - first).max() / (np.abs(first).max() or 1.0)
        found.append(Finding(method.name, float(explanation.sums()[0]), float(largest)))
        if references is not None and explanation.base_values is not None:
            difference = float(explanation.outputs[0] - explanation.base_values[0])
    return Measured(of, proof, difference, found)


def _share(value: float) -> str:
    return percent(value) if value >= 1e-3 else f"{value:.1e}"
