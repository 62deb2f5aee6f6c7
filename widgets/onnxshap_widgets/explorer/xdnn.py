"""X-Gradient: whether the model is an X-DNN, and whether one backward pass is all it takes."""

import html
from dataclasses import dataclass

import ipywidgets as W
import numpy as np

import onnxshap.xdnn
from onnxshap.explanation import Explanation
from onnxshap.graph.model import Model
from onnxshap.methods import DeepShap, IntegratedGradients, Method, XGradient
from onnxshap.plot.panels import number, percent
from onnxshap.xdnn import Certificate
from onnxshap_widgets.explorer.ask import AskPanel
from onnxshap_widgets.explorer.parts import button, line, row, table, write
from onnxshap_widgets.explorer.view import attributions
from onnxshap_widgets.jobs import Job, Worker
from onnxshap_widgets.references import ReferenceSet, zeros
from onnxshap_widgets.study import Question, Study

REASONS = 8
"""Reasons listed at most."""
AGREE = 1e-4
"""Largest difference, of the largest attribution, at which maps are called equal in float32."""


@dataclass(frozen=True)
class Finding:
    """What was measured: each method beside X-Gradient."""

    method: str
    summed: float
    expected: float
    largest: float
    """Largest difference from X-Gradient, as a share of its largest attribution."""


class XdnnPanel(W.VBox):  # type: ignore[misc]  # ipywidgets ships no types
    """The certificate as a badge, the offer to strip biases, and the measured agreement."""

    def __init__(self, study: Study, worker: Worker, ask: AskPanel) -> None:
        self._study, self._worker, self._ask = study, worker, ask
        self._stripped: Study | None = None
        self.badge = W.HTML()
        self.reasons = W.HTML()
        self.measure_button = button("Measure", "compare X-Gradient with other methods", main=True)
        self.strip_button = button("Strip biases", "certify and measure the model without biases")
        self.status = line("", "muted", live=True)
        self.result = W.HTML()
        super().__init__(
            [
                self.badge,
                self.reasons,
                row(self.measure_button, self.strip_button, self.status),
                self.result,
            ]
        )
        self.strip_button.layout.display = "none"
        self.measure_button.on_click(lambda _: self.measure())
        self.strip_button.on_click(lambda _: self.strip())
        self.certificate: Certificate | None = None
        self._certified = ""

    def enter(self) -> None:
        """Certify the model for the chosen output, once."""
        output = self._ask.output.value
        if self._certified != output:
            self._certified, self._stripped = output, None
            self.result.value = ""
            self._submit("Proving…", lambda: self._certify(self._study.model), self._badge)

    def strip(self) -> Job:
        """Remove every bias, and certify what is left."""

        def work() -> Certificate:
            model = onnxshap.xdnn.strip_bias(self._study.model, output=self._ask.output.value)
            study = Study(model, self._study.samples, labels=self._study.labels)
            self._stripped, self.removed = study, len(model.removed)
            return self._certify(model)

        return self._submit("Removing biases…", work, self._badge)

    def measure(self) -> Job:
        """Explain the sample by X-Gradient, Integrated Gradients and DeepSHAP of the zero input."""
        study = self._stripped or self._study
        return self._submit("Explaining…", lambda: self._findings(study), self._tell)

    # --- work ------------------------------------------------------------------------------------

    def _certify(self, model: Model) -> Certificate:
        own = self._study.samples.feeds(self._ask.sample)
        return onnxshap.xdnn.certify(model, output=self._ask.output.value, samples=own)

    def _findings(self, study: Study) -> list[Finding]:
        """The first is X-Gradient itself; without a certificate it is forced, and says so."""
        zero = zeros(study.samples)
        methods: list[tuple[Method, ReferenceSet | None]] = [
            (XGradient(force=not self._ok), None),
            (IntegratedGradients(), zero),
            (DeepShap(), zero),
        ]
        found: list[Finding] = []
        first: np.ndarray | None = None
        for method, references in methods:
            explanation = self._explain(study, method, references)
            values = attributions(explanation, study.samples.source)[0].astype(np.float64)
            first = values if first is None else first
            size = np.abs(first).max() or 1.0
            base = 0.0 if explanation.base_values is None else explanation.base_values[0]
            found.append(
                Finding(
                    method.name,
                    float(explanation.sums()[0]),
                    float(explanation.outputs[0] - base),
                    float(np.abs(values - first).max() / size),
                )
            )
        return found

    def _explain(
        self, study: Study, method: Method, references: ReferenceSet | None
    ) -> Explanation:
        ask = self._ask
        question = Question(
            ask.sample, ask.output.value, ask.target.target, method, references, ask.provider.value
        )
        return study.explainer(question)(study.samples.feeds(question.sample))

    @property
    def _ok(self) -> bool:
        return self.certificate is not None and self.certificate.ok

    # --- telling ---------------------------------------------------------------------------------

    def _badge(self, certificate: Certificate) -> None:
        self.certificate = certificate
        kind, mark = ("good", "yes") if certificate.ok else ("warn", "no")
        of = "" if self._stripped is None else f" after removing {self.removed} biases"
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
        can = not certificate.ok and self._stripped is None
        self.strip_button.layout.display = "" if can else "none"
        write(self.status, "", "muted")

    def _tell(self, findings: list[Finding]) -> None:
        names = {f.name: f.title for f in self._ask.method.forms.values()}
        rows = [
            (
                names[f.method] + ("" if k == 0 else ", zero reference"),
                number(f.summed),
                number(f.expected),
                "" if k == 0 else _share(f.largest),
            )
            for k, f in enumerate(findings)
        ]
        head = ("method", "sum of attributions", "f(x) − f(0)", "largest difference of the largest")
        worst = max(f.largest for f in findings[1:])
        if worst <= AGREE:
            said, kind = f"One backward pass is enough: they agree to {_share(worst)}.", "good"
        else:
            why = "" if self._ok else " The model is not bias-free: this is what X-Gradient misses."
            said, kind = f"They differ by up to {_share(worst)}.{why}", "warn"
        self.result.value = (
            f'<div class="oxa-text oxa-{kind}">{html.escape(said)}</div>{table(rows, head)}'
        )
        write(self.status, "", "muted")

    def _submit(self, told: str, work, done) -> Job:  # type: ignore[no-untyped-def]
        write(self.status, told, "muted", live=True)
        return self._worker.submit(
            lambda job: work(),
            None,
            done,
            lambda error: write(self.status, f"{type(error).__name__}: {error}", "error"),
        )


def _share(value: float) -> str:
    return percent(value) if value >= 1e-3 else f"{value:.1e}"
