"""The judgements of a case: math, deploy, complete; and zero: no gradient where there is none.

math:     the emitted gradient graph, run in float64 by ONNX's reference evaluator, equals central
          differences of the forward run on the case's own data.
deploy:   the same graph in the case's own type runs on onnxruntime and gives the same numbers.
complete: DeepLIFT multipliers against a second data set sum to the change of the output, float64.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
import onnx_ir as ir

from onnxshap.errors import ModelFileError, OnnxShapError, UnsupportedOpError
from onnxshap.graph.model import Model, load
from onnxshap.methods import DeepShap, Gradient, Method, build_program
from onnxshap.methods.program import Program
from onnxshap.scoreboard.cases import Case
from onnxshap.scoreboard.differences import weigh
from onnxshap.scoreboard.precision import embedded, widened
from onnxshap.scoreboard.runners import Arrays, Run, complaint, session
from onnxshap.scoreboard.trial import NotJudged, Trial, cast, prepare, reproduces

Score = Literal["math", "deploy", "complete", "zero"]
SCORES: tuple[Score, ...] = ("math", "deploy", "complete", "zero")

Runner = Callable[[onnx.ModelProto], Run]

Status = Literal["pass", "no rule", "refused", "wrong", "error"]
"""no rule: an operator, or one of its inputs, has none. refused: a rule declines this use of its
operator and says so. wrong: the numbers are. error: anything else that went wrong."""

DIFFERENT = "its outputs are not the suite's"
"""Of a case that onnxruntime runs."""
COMPLETE = 1e-9
"""Of the change of the output, or of this share of what is added up for it:"""
FLOOR = 1e-3
SAME = 1e-6
"""How near the outputs of an explained graph must be to the case's."""
_DEPLOY = {8: (1e-3, 1e-5), 4: (1e-3, 1e-5), 2: (2e-2, 2e-2)}  # rtol, atol by bytes of a number


@dataclass(frozen=True)
class Verdict:
    """One judgement: of an input of a case, or for *complete* of a case."""

    score: Score
    case: str
    op: str
    input: str
    """Name of the case's input; empty for *complete*."""
    place: int
    """Which of the operator's inputs it is; -1 for *complete*."""
    status: Status
    note: str = ""
    """What went wrong."""

    @property
    def passed(self) -> bool:
        """Whether the judgement is in favour."""
        return self.status == "pass"


@dataclass
class Judged:
    """All that is said about one case."""

    case: str
    op: str
    verdicts: list[Verdict] = field(default_factory=list)
    left_out: str = ""
    """Why no judgement was possible."""
    no_runtime: str = ""
    """Why *deploy* is not asked: onnxruntime does not run the case itself."""
    moved: bool = False
    """Whether the case's data were moved off a kink."""


class Wrong(Exception):
    """Numbers that should agree do not."""


def judge(case: Case) -> Judged:
    """Judge one case; whatever fails in it is a verdict, not an exception."""
    judged = Judged(case.name, case.op)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            trial = prepare(case)
        except NotJudged as error:
            judged.left_out = str(error)
            return judged
        judged.moved = trial.moved
        gradients = _judge_math(trial, judged)
        if trial.pairs:
            _judge_deploy(trial, gradients, judged)
            _judge_complete(trial, judged)
    return judged


# Gradients ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """Why there is no gradient."""

    status: Status
    note: str


def _judge_math(trial: Trial, judged: Judged) -> dict[str, np.ndarray | Failure]:
    gradients = _gradients(trial.model, trial, list(trial.slopes), trial.evaluator)
    for name, found in trial.slopes.items():
        score: Score = "zero" if found.zero else "math"
        gradient = gradients[name]
        if not isinstance(gradient, Failure):
            gap = found.gap(gradient)
            if not gap <= 1:
                note = f"{gap:.1e} tolerances from central differences"
                judged.verdicts.append(_verdict(score, trial.case, name, Failure("wrong", note)))
                continue
        judged.verdicts.append(_verdict(score, trial.case, name, gradient))
    return gradients


def _judge_deploy(trial: Trial, gradients: dict[str, np.ndarray | Failure], judged: Judged) -> None:
    case = trial.case
    try:
        proto = _runnable(case)
    except AssertionError:
        judged.no_runtime = DIFFERENT
        return
    except Exception as error:
        judged.no_runtime = complaint(error)
        return
    found = _gradients(proto, trial, trial.pairs, _on_runtime)
    for name in trial.pairs:
        expected, gradient = gradients[name], found[name]
        outcome: np.ndarray | Failure = gradient
        if isinstance(expected, Failure):
            outcome = expected
        elif not isinstance(gradient, Failure):
            rtol, atol = _DEPLOY[min(case.feeds[n].dtype.itemsize for n in case.inputs)]
            bound = rtol * np.abs(expected) + atol * max(1.0, float(np.abs(expected).max()))
            gap = np.abs(gradient - expected) / bound
            if not np.all(gap <= 1):
                outcome = Failure("wrong", f"{np.max(gap):.1e} tolerances from the float64 value")
        judged.verdicts.append(_verdict("deploy", case, name, outcome))


def _runnable(case: Case) -> onnx.ModelProto:
    """The case as onnxruntime runs it, with the suite's outputs.

    As it is; or where 16-bit floats lack a kernel, in float32 as Casts around it would. What is not
    differentiated may be constant: some types cannot be fed from Python.
    """
    refusals = []
    for proto in (case.model, widened(case.model, onnx.TensorProto.FLOAT)):
        feeds = cast(case.feeds, proto)
        held = {name: array for name, array in feeds.items() if name not in case.inputs}
        for constants in ({}, held):
            free = {name: array for name, array in feeds.items() if name not in constants}
            try:
                found = session(embedded(proto, constants))(free)
            except Exception as error:  # onnxruntime raises a dozen classes without a common root
                refusals.append(error)
                continue
            reproduces(case, found)
            return proto
    raise refusals[0]


def _gradients(
    proto: onnx.ModelProto, trial: Trial, names: Sequence[str], runner: Runner
) -> dict[str, np.ndarray | Failure]:
    """Gradient of the weighed outputs by every input, float64; all at once where that can be."""
    together = _attempt(proto, trial, names, runner)
    if not isinstance(together, Failure):
        return dict(together)
    if len(names) == 1:
        return {names[0]: together}
    found: dict[str, np.ndarray | Failure] = {}
    for name in names:
        alone = _attempt(proto, trial, [name], runner)
        found[name] = alone if isinstance(alone, Failure) else alone[name]
    return found


def _attempt(
    proto: onnx.ModelProto, trial: Trial, names: Sequence[str], runner: Runner
) -> dict[str, np.ndarray] | Failure:
    try:
        model, free = _model(proto, trial, names)
        total = {name: np.zeros(trial.x[name].shape) for name in names}
        for _, program, seed in _programs(model, Gradient(), trial, names):
            feeds = {n: free[n] for n in program.inputs} | {program.seed: seed}
            found = runner(ir.serde.serialize_model(program.model))(feeds)
            for name in names:
                part = found[program.contributions[name]].astype(np.float64)
                total[name] += part.reshape(total[name].shape)
        return total
    except Exception as error:  # every failure is a verdict
        return _failure(error)


# DeepLIFT -----------------------------------------------------------------------------------------


def _judge_complete(trial: Trial, judged: Judged) -> None:
    names = [n for n in trial.pairs if np.isfinite(trial.x[n]).all()]
    if not names:
        return
    try:
        failure = _complete(trial, names)
    except Exception as error:  # every failure is a verdict
        failure = _failure(error)
    failure = failure or Failure("pass", "")
    case = trial.case
    judged.verdicts.append(
        Verdict("complete", case.name, case.op, "", -1, failure.status, failure.note)
    )


def _complete(trial: Trial, names: list[str]) -> Failure | None:
    model, free = _model(trial.model, trial, names)
    r = second(trial, names)
    y, y0 = trial.run(trial.x), trial.run(r)
    changes, credits = [], []
    for output, program, seed in _programs(model, DeepShap(), trial, names):
        seed = np.where(np.isfinite(y0[output]), seed, 0.0).astype(program.number)
        feeds = {n: free[n] for n in program.inputs} | {program.seed: seed}
        feeds |= {twin: r[n] for n, twin in program.references.items()}
        found = trial.evaluator(ir.serde.serialize_model(program.model))(feeds)
        # Of the program's own outputs, which are the case's up to rounding of its attributes; of
        # the case's where an operator gives float32 by definition, whatever it computes in.
        ends = [found[program.output], found[program.reference_output or program.output]]
        for k, own in enumerate((y[output], y0[output])):
            if not np.allclose(weigh(ends[k], seed), weigh(own, seed), rtol=SAME, atol=SAME):
                return Failure("wrong", "the explained graph gives other outputs")
            ends[k] = own if ends[k].dtype.itemsize < own.dtype.itemsize else ends[k]
        changes.append((weigh(ends[0], seed) - weigh(ends[1], seed)).ravel())
        credits += [found[end].ravel() for end in program.contributions.values()]
    change, credit = np.concatenate(changes), np.concatenate(credits)
    turnover = max(float(np.abs(change).sum()), float(np.abs(credit).sum()))
    size = max(abs(float(change.sum())), FLOOR * turnover)
    residual = abs(float(credit.sum()) - float(change.sum()))
    if not residual <= COMPLETE * size:
        return Failure("wrong", f"residual {residual / max(size, 1e-300):.1e} of the change")
    return None


def second(trial: Trial, names: Sequence[str]) -> Arrays:
    """A random second data set, of means of two shuffles of the case's own numbers.

    So what is defined on the first is defined on the second. Numbers that are all alike get noise.
    """
    rng = np.random.default_rng(trial.case.seed + 1)
    r = dict(trial.x)
    for name in names:
        x = trial.x[name]
        share = rng.uniform(size=x.shape)
        mixed = share * rng.permutation(x.ravel()).reshape(x.shape)
        mixed += (1 - share) * rng.permutation(x.ravel()).reshape(x.shape)
        if np.ptp(x) == 0:  # all alike: mixing changes nothing
            mixed = x * (1 + 0.2 * rng.normal(size=x.shape)) + 0.1 * (x == 0)
        r[name] = mixed.astype(x.dtype)
    return r


# Both ---------------------------------------------------------------------------------------------


def _model(proto: onnx.ModelProto, trial: Trial, free: Sequence[str]) -> tuple[Model, Arrays]:
    """The case with all that is not ``free`` as constants, and what is left to feed."""
    held = {name: array for name, array in trial.x.items() if name not in free}
    return load(embedded(proto, cast(held, proto))), {name: trial.x[name] for name in free}


def _programs(
    model: Model, method: Method, trial: Trial, names: Sequence[str]
) -> Iterator[tuple[str, Program, np.ndarray]]:
    """Every float output with its program and its cotangent."""
    for output, seed in trial.seeds.items():
        program = build_program(
            model, method, output=output, inputs=names, varying=names, separable=False
        )
        yield output, program, seed


def _on_runtime(emitted: onnx.ModelProto) -> Run:
    run = session(emitted)
    return lambda feeds: run(cast(feeds, emitted))


def _verdict(score: Score, case: Case, name: str, outcome: np.ndarray | Failure) -> Verdict:
    place = case.inputs[name]
    if isinstance(outcome, Failure):
        return Verdict(score, case.name, case.op, name, place, outcome.status, outcome.note)
    return Verdict(score, case.name, case.op, name, place, "pass")


_MISSING = re.compile(r"no (?:vjp|multiplier) rule for [^,]+")
_UNCOVERED = re.compile(
    r"([^\s,]+), node .*: (its input \d+ depends|an output beyond the first \d+)"
)


def _failure(error: Exception) -> Failure:
    said = str(error)
    if isinstance(error, UnsupportedOpError):
        missing = sorted(set(_MISSING.findall(said)))
        missing += sorted({f"{op}: {what}" for op, what in _UNCOVERED.findall(said)})
        if missing:
            return Failure("no rule", "; ".join(missing))
    if isinstance(error, ModelFileError) and "operators changed since" in said:
        return Failure("no rule", _line(error))
    if isinstance(error, OnnxShapError):
        return Failure("refused", _line(error))
    return Failure("error", f"{type(error).__name__}: {_line(error)}")


def _line(error: Exception) -> str:
    return (str(error).strip().split("\n") or [""])[0][:240]
