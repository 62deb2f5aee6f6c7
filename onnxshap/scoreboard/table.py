"""The scoreboard as it is printed."""

from collections import Counter
from collections.abc import Iterator

from onnxshap.scoreboard.board import Board
from onnxshap.scoreboard.judge import SCORES, Score

_UNITS: dict[Score, str] = {
    "math": "pairs (case, input): the gradient equals central differences, float64",
    "deploy": "pairs: the same numbers on onnxruntime, where it runs the case itself",
    "complete": "cases: DeepLIFT sums to the change of the output, float64",
    "zero": "pairs without a derivative: the gradient is 0",
}
FEW = 12
"""So many names of cases are listed with a reason, unless all are asked for."""


def table(board: Board, *, failures: bool = False, left_out: bool = False) -> str:
    """Scores, coverage, and what was left out.

    ``failures``: every judgement that is not in favour, on a line of its own. ``left_out``: every
    case that was not judged or not run, by name.
    """
    lines = [f"ONNX {board.onnx} backend node tests: {_cases(board)}", ""]
    for score in SCORES:
        passed, of = board.score(score)
        lines.append(f"{score:10s}{passed:6d} / {of:<6d}{_UNITS[score]}")
    lines += ["", *_coverage(board), "", *_failures(board)]
    if failures:
        lines += ["", "Failures"]
        lines += [
            f"  {v.score}  {v.case}  {v.op}({v.input})  {v.status}: {v.note}"
            for v in board.failures
        ]
    return "\n".join([*lines, "", *_left_out(board, left_out)])


def _cases(board: Board) -> str:
    judged = len(board.judged)
    share = f"{judged} cases" if judged == board.cases else f"{judged} of {board.cases} cases"
    pairs = {v.case for v in board.verdicts("math")}
    twins = sum("_expanded" in case for case in pairs)
    return f"{share}, {len(pairs)} with a derivative ({twins} of them written-out definitions)"


def _coverage(board: Board) -> Iterator[str]:
    yield "coverage: with a rule, and proven: their gradients are right in every case there is"
    names = ("operators", "pairs (operator, input)", "extras")
    coverage = board.coverage
    having = (coverage.operators, coverage.pairs, coverage.extras)
    for name, rule, proven, of in zip(names, having, board.proven, coverage.of, strict=True):
        yield f"  {name:26s}{rule:4d} / {of:<6d}{proven:4d} / {of}"
    for op, inputs in coverage.missing.items():
        yield f"  no rule: {op}, inputs {', '.join(map(str, inputs))}"
    if board.own:
        verdicts = [v for j in board.own for v in j.verdicts]
        passed = f"{sum(v.passed for v in verdicts)} / {len(verdicts)}"
        ops = ", ".join(dict.fromkeys(j.op for j in board.own))
        yield f"  {passed} judgements on cases of our own, where the suite has none: {ops}"


def _failures(board: Board) -> Iterator[str]:
    counts: Counter[tuple[str, str]] = Counter()
    for v in board.failures:
        counts[v.status, v.note if v.status == "no rule" else v.op] += 1
    yield f"not passed: {sum(counts.values())}"
    for (status, what), count in counts.most_common():
        yield f"  {count:5d}  {status}: {what.removeprefix('no rule ')}"


def _left_out(board: Board, all_names: bool) -> Iterator[str]:
    yield f"left out: {sum(map(len, board.exclusions.values()))} cases"
    yield from _named(board.exclusions, all_names)
    yield f"no deploy: {sum(map(len, board.without_runtime.values()))} cases"
    yield from _named(board.without_runtime, all_names)
    yield f"moved off a kink: {sum(j.moved for j in board.judged)} cases"


def _named(reasons: dict[str, list[str]], all_names: bool) -> Iterator[str]:
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        listed = f": {', '.join(names)}" if all_names or len(names) <= FEW else ""
        yield f"  {len(names):5d}  {reason}{listed}"
