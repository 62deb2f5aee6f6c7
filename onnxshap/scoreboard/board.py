"""What all judgements add up to."""

from dataclasses import asdict, dataclass, field
from typing import Any

import onnx

from onnxshap.autodiff.registry import vjp
from onnxshap.scoreboard.cases import LeftOut
from onnxshap.scoreboard.judge import SCORES, Judged, Score, Verdict
from onnxshap.scoreboard.schemas import EXTRAS, Coverage, coverage, differentiable


@dataclass
class Board:
    """Scores, coverage and exclusions of one run."""

    judged: list[Judged]
    left_out: list[LeftOut]
    cases: int
    """How many cases there are to judge, sampled or not."""
    own: list[Judged] = field(default_factory=list)
    """Cases of our own, for what the suite has none of; no score counts them."""
    coverage: Coverage = field(default_factory=lambda: coverage(vjp))
    onnx: str = onnx.__version__

    def verdicts(self, score: Score | None = None) -> list[Verdict]:
        """All verdicts on the suite, or those of one score."""
        found = (v for j in self.judged for v in j.verdicts)
        return [v for v in found if score is None or v.score == score]

    @property
    def failures(self) -> list[Verdict]:
        """Verdicts that are not in favour, on our own cases too."""
        return [v for j in (*self.judged, *self.own) for v in j.verdicts if not v.passed]

    @property
    def proven(self) -> tuple[int, int, int]:
        """Operators, pairs and extras that have cases, and whose gradients are right in all."""
        failing: set[tuple[str, int]] = set()
        seen: set[tuple[str, int]] = set()
        declared = differentiable()
        for v in (v for j in (*self.judged, *self.own) for v in j.verdicts):
            if v.score not in ("math", "zero"):
                continue
            pair = v.op, 0 if declared.get(v.op) == (0,) else v.place  # variadic: all alike
            seen.add(pair)
            if not v.passed:
                failing.add(pair)
        good = seen - failing
        # Of If and Scan, whatever their subgraphs read.
        read = {op: tuple({i for o, i in seen if o == op}) for op, i_s in EXTRAS.items() if not i_s}
        return (
            sum(all((op, i) in good for i in inputs) for op, inputs in declared.items()),
            sum((op, i) in good for op, inputs in declared.items() for i in inputs),
            sum(
                bool(i_s) and all((op, i) in good for i in i_s)
                for op, i_s in (EXTRAS | read).items()
            ),
        )

    def score(self, score: Score) -> tuple[int, int]:
        """How many judgements were in favour, and how many were made."""
        found = self.verdicts(score)
        return sum(v.passed for v in found), len(found)

    @property
    def exclusions(self) -> dict[str, list[str]]:
        """Names of cases that were not judged, by reason."""
        reasons: dict[str, list[str]] = {}
        outside = ((x.reason, x.name) for x in self.left_out)
        inside = ((j.left_out, j.case) for j in self.judged if j.left_out)
        for reason, name in (*outside, *inside):
            reasons.setdefault(reason, []).append(name)
        return reasons

    @property
    def without_runtime(self) -> dict[str, list[str]]:
        """Names of cases for which *deploy* is not asked, by what onnxruntime says of them."""
        reasons: dict[str, list[str]] = {}
        for j in self.judged:
            if j.no_runtime:
                reasons.setdefault(j.no_runtime, []).append(j.case)
        return reasons

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        return {
            "onnx": self.onnx,
            "scores": {s: dict(zip(("passed", "of"), self.score(s), strict=True)) for s in SCORES},
            "coverage": asdict(self.coverage) | {"proven": self.proven},
            "cases": {"all": self.cases, "judged": len(self.judged)},
            "own": [j.case for j in self.own],
            "left_out": self.exclusions,
            "moved": [j.case for j in self.judged if j.moved],
            "without_runtime": self.without_runtime,
            "failures": [asdict(v) for v in self.failures],
        }
