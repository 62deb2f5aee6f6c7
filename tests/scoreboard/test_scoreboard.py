"""ONNX's own operator tests judge every rule: a part of them here, all in `make full`."""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxshap.autodiff.context import Context
from onnxshap.autodiff.registry import BLOCKED, Cotangents, RuleSet, multiplier, vjp
from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.lower import REWRITES
from onnxshap.graph.normalize import NEWEST_IR
from onnxshap.scoreboard import judge as judging
from onnxshap.scoreboard.__main__ import main
from onnxshap.scoreboard.board import Board
from onnxshap.scoreboard.cases import Case, LeftOut, collect, sample
from onnxshap.scoreboard.differences import Function, Unsettled, slopes
from onnxshap.scoreboard.judge import DIFFERENT, Judged, Verdict, judge
from onnxshap.scoreboard.run import judge_all
from onnxshap.scoreboard.runners import Arrays, complaint
from onnxshap.scoreboard.schemas import EXTRAS, coverage, differentiable
from onnxshap.scoreboard.supplement import supplement
from onnxshap.scoreboard.table import FEW, table

FRACTION, SEED = 0.1, 0
VERSION = "1.23"
"""Of onnx: what the numbers and names below were counted with."""

MECHANICAL = (
    "no float input",
    "no float output",
    "no float input the schema calls differentiable",
    "operator of ai.onnx.ml",
    "operator of ai.onnx.preview",
    "operator of ai.onnx.preview.training",
)
"""Reasons that follow from a case's types."""

UNJUDGED = {
    "test_bernoulli": "random",
    "test_bernoulli_double": "random",
    "test_bernoulli_double_expanded": "random",
    "test_bernoulli_expanded": "random",
    "test_bernoulli_seed": "random, the same in every run but not the suite's",
    "test_bernoulli_seed_expanded": "random, the same in every run but not the suite's",
    "test_scan_sum": "opset 8's Scan had a batch axis, which the reference evaluator never had",
}
"""Cases with floats at both ends that cannot be judged, and why: all others pass."""


@pytest.fixture(scope="module")
def suite() -> tuple[list[Case], list[LeftOut]]:
    return collect()


@pytest.fixture(scope="module")
def cases(suite: tuple[list[Case], list[LeftOut]]) -> dict[str, Case]:
    return {case.name: case for case in suite[0]}


def check(judged: Iterable[Judged], whole: bool = False) -> None:
    """Everything passes, and what is not judged is listed above by name."""
    judged = list(judged)
    assert not [v for j in judged for v in j.verdicts if not v.passed]
    unjudged = {j.case for j in judged if j.left_out}
    assert unjudged <= set(UNJUDGED)
    assert unjudged == set(UNJUDGED) or not whole


def test_a_sample_of_the_suite_passes(suite: tuple[list[Case], list[LeftOut]]) -> None:
    chosen = sample(suite[0], FRACTION, SEED)
    assert len(chosen) == round(FRACTION * len(suite[0]))
    judged = list(judge_all(chosen))
    check(judged)
    passed = [v for j in judged for v in j.verdicts if v.passed]
    assert {v.score for v in passed} == {"math", "deploy", "complete", "zero"}


@pytest.mark.full
def test_the_suite_passes(suite: tuple[list[Case], list[LeftOut]]) -> None:
    """All of it, and as much of it as ever: 2,246 and 2,018 pairs were the goal."""
    judged = list(judge_all([*suite[0], *supplement()], jobs=2))
    count = len(suite[0])
    board = Board(judged[:count], suite[1], count, judged[count:])
    print(table(board, failures=True, left_out=True))
    check(judged, whole=onnx.__version__.startswith(VERSION))
    if onnx.__version__.startswith(VERSION):
        assert board.proven == board.coverage.of
        assert board.score("math")[1] >= 2311
        assert board.score("deploy")[1] >= 2116
        assert board.score("complete")[1] >= 1214


def test_the_suite_is_what_it_was(suite: tuple[list[Case], list[LeftOut]]) -> None:
    judged, left_out = suite
    assert {x.reason for x in left_out} <= set(MECHANICAL)
    names = [*(c.name for c in judged), *(x.name for x in left_out)]
    assert len(names) == len(set(names))
    assert len(names) == 1884 or not onnx.__version__.startswith(VERSION)


def test_what_the_schemas_call_differentiable() -> None:
    declared = differentiable()
    found = coverage(vjp).of
    assert found == (len(declared), sum(map(len, declared.values())), len(EXTRAS))
    assert found == (120, 162, 15) or not onnx.__version__.startswith(VERSION)
    assert "Scatter" not in declared  # deprecated
    assert declared["Gemm"] == (0, 1, 2)
    assert declared["Concat"] == (0,)  # any number of inputs count as one


def test_without_rules_nothing_is_covered() -> None:
    empty, replaced = coverage(RuleSet("vjp")), EXPANDED | set(REWRITES) | BLOCKED
    assert empty.operators == len(replaced & set(differentiable()))
    assert set(empty.missing) == (set(differentiable()) | set(EXTRAS)) - replaced


# The judge itself ---------------------------------------------------------------------------------


def plant(monkeypatch: pytest.MonkeyPatch, rules: RuleSet, op: str, wrong: object) -> None:
    """Replace every rule of an operator by another function."""
    for key, rule in list(rules.rules.items()):
        if key[:2] == ("", op):
            monkeypatch.setitem(rules.rules, key, replace(rule, function=wrong))


def scores(judged: Judged) -> dict[str, str]:
    return {v.score: v.status for v in judged.verdicts}


def test_a_wrong_gradient_is_caught(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(ctx: Context, g: object) -> Cotangents:
        """dx = g (1.001 - y^2)."""
        y = ctx.y()
        return [ctx.op.Mul(g, ctx.op.Sub(1.001, ctx.op.Mul(y, y)))]

    case = cases["test_tanh"]
    assert scores(judge(case)) == {"math": "pass", "deploy": "pass", "complete": "pass"}
    plant(monkeypatch, vjp, "Tanh", wrong)
    assert scores(judge(case)) == {"math": "wrong", "deploy": "pass", "complete": "pass"}
    with pytest.raises(AssertionError):
        check([judge(case)])


def test_an_incomplete_multiplier_is_caught(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(ctx: Context, m: object) -> Cotangents:
        """m times the gradient at the explicand."""
        y = ctx.y()
        return [ctx.op.Mul(m, ctx.op.Sub(1.0, ctx.op.Mul(y, y)))]

    plant(monkeypatch, multiplier, "Tanh", wrong)
    assert scores(judge(cases["test_tanh"]))["complete"] == "wrong"


@pytest.mark.parametrize(
    ("name", "op"), [("test_tanh", "Tanh"), ("test_causal_conv_with_state_silu", "Mul")]
)
def test_a_sum_is_asked_for_to_float64_even_where_the_operator_takes_none(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch, name: str, op: str
) -> None:
    (right,) = (rule.function for key, rule in multiplier.rules.items() if key[:2] == ("", op))

    def wrong(ctx: Context, m: ir.Value) -> Cotangents:
        """A ten-millionth more than m."""
        return right(ctx, ctx.op.Mul(m, 1 + 1e-7))

    assert scores(judge(cases[name]))["complete"] == "pass"
    plant(monkeypatch, multiplier, op, wrong)
    assert scores(judge(cases[name]))["complete"] == "wrong"


def test_a_rule_that_fails_or_is_missing_is_told(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(ctx: Context, g: object) -> Cotangents:
        raise RuntimeError("broken")

    plant(monkeypatch, vjp, "Tanh", broken)
    assert scores(judge(cases["test_tanh"]))["math"] == "error"
    for key in [key for key in vjp.rules if key[1] == "Tanh"]:
        monkeypatch.delitem(vjp.rules, key)
    (math,) = (v for v in judge(cases["test_tanh"]).verdicts if v.score == "math")
    assert (math.status, math.note) == ("no rule", "no vjp rule for ai.onnx@13::Tanh")


def test_a_runtime_that_disagrees_is_caught(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = judging.session

    def session(proto: onnx.ModelProto) -> object:
        run = own(proto)
        return lambda feeds: {
            name: y * 1.01 if "/contributions" in name else y for name, y in run(feeds).items()
        }

    monkeypatch.setattr(judging, "session", session)
    assert scores(judge(cases["test_tanh"]))["deploy"] == "wrong"


def test_a_gradient_where_there_is_none_is_caught(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(ctx: Context, g: object) -> Cotangents:
        """dx = g, inside the bounds or not."""
        return [g]  # type: ignore[list-item]

    case = cases["test_clip_min_greater_than_max"]
    assert scores(judge(case)) == {"zero": "pass"}
    plant(monkeypatch, vjp, "Clip", wrong)
    assert scores(judge(case)) == {"zero": "wrong"}


# What is judged -----------------------------------------------------------------------------------


def test_what_the_suite_has_no_case_of_has_one_of_ours(cases: dict[str, Case]) -> None:
    """Every operator and input that counts is judged, and nothing is judged twice."""
    places = [
        {(c.op, p) for c in found for p in c.inputs.values()} for found in (cases.values(), own())
    ]
    declared = {op: (0,) if inputs == (0,) else inputs for op, inputs in differentiable().items()}
    wanted = {(op, i) for op, inputs in (declared | EXTRAS).items() for i in inputs}
    assert wanted <= places[0] | places[1]
    assert {op for op, i_s in EXTRAS.items() if not i_s} <= {op for op, _ in places[0] | places[1]}
    assert {c.op for c in own()} <= {op for op, i in wanted - places[0]} | {"If"}


def own() -> list[Case]:
    return supplement()


@pytest.mark.parametrize("case", own(), ids=lambda case: case.name)
def test_cases_of_our_own_pass(case: Case) -> None:
    judged = judge(case)
    assert not judged.left_out
    assert not judged.no_runtime
    assert {v.status for v in judged.verdicts} == {"pass"}
    assert len(judged.verdicts) == 2 * len(case.inputs) + 1  # math, deploy, and complete


def test_a_gradient_that_is_not_straight_through_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(ctx: Context, g: ir.Value) -> Cotangents:
        """dx = g / scale, clipped or not."""
        return [ctx.op.Div(g, ctx.x(1)), ctx.op.Mul(ctx.x(1), 0.0)]

    (case,) = supplement("QuantizeLinear")
    plant(monkeypatch, vjp, "QuantizeLinear", wrong)
    statuses = {v.input: v.status for v in judge(case).verdicts if v.score == "math"}
    assert statuses["x"] == "wrong"


def test_files_are_of_a_version_that_runtimes_read(cases: dict[str, Case]) -> None:
    assert max(case.model.ir_version for case in cases.values()) <= NEWEST_IR


@pytest.mark.parametrize("name", ["test_castlike_FLOAT_to_BFLOAT16", "test_dequantizelinear_uint4"])
def test_types_that_a_runtime_lacks_are_run_by_casts_or_as_constants(
    cases: dict[str, Case], name: str
) -> None:
    judged = judge(cases[name])
    assert not judged.no_runtime
    assert scores(judged)["deploy"] == "pass"


def test_other_numbers_are_no_missing_kernel(cases: dict[str, Case]) -> None:
    """onnxruntime reads the indices of a MaxUnpool with an output_shape in another way."""
    assert judge(cases["test_maxunpool_export_with_output_shape"]).no_runtime == DIFFERENT


def test_complaints_are_a_line_without_paths() -> None:
    said = (
        "[ONNXRuntimeError] : 1 : FAIL : /src/core/model.cc:256 void f(const int&) Unsupported x.\n"
    )
    assert complaint(RuntimeError(said)) == "Unsupported x."
    kernel = (
        "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Pow(15)"
    )
    assert complaint(RuntimeError(kernel)) == "no kernel for Pow of opset 15, these types"


# Differences --------------------------------------------------------------------------------------


def function(f: object) -> Function:
    def run(x: Arrays) -> Arrays:
        return {"y": f(x["x"])}  # type: ignore[operator]

    return Function(run, {"y": np.ones(3)})


@pytest.mark.parametrize(
    ("f", "derivative"),
    [(np.sin, np.cos), (np.exp, np.exp), (np.sqrt, lambda x: 0.5 / np.sqrt(x))],
)
def test_differences_find_derivatives(f: object, derivative: object) -> None:
    x, rng = {"x": np.array([0.5, 1.0, 2.0])}, np.random.default_rng(0)
    found = slopes(function(f), x, "x", rng)
    right = derivative(x["x"])  # type: ignore[operator]
    assert found.gap(right) < 0.01
    assert found.gap(right * 1.001) > 1
    assert found.gap(right * np.nan) == np.inf
    assert found.gap(right[:2]) == np.inf
    assert not found.zero


@pytest.mark.parametrize(
    "f", [np.abs, np.floor, lambda x: np.maximum(x, 0), lambda x: np.cbrt(x - 0.0)]
)
def test_kinks_jumps_and_infinite_slopes_are_seen(f: object) -> None:
    x, rng = {"x": np.array([0.0, 1.0, 2.0])}, np.random.default_rng(0)
    with pytest.raises(Unsettled):
        slopes(function(f), x, "x", rng)


def test_what_is_not_finite_is_held() -> None:
    x, rng = {"x": np.array([-np.inf, 1.0, 2.0])}, np.random.default_rng(0)
    found = slopes(function(np.exp), x, "x", rng)
    assert found.gap(np.exp(x["x"])) < 0.01


# The command --------------------------------------------------------------------------------------


def test_the_command_prints_and_writes(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pytest.TempPathFactory,
) -> None:
    file = tmp_path / "board.json"  # type: ignore[operator]
    monkeypatch.setattr(sys, "argv", ["scoreboard", "--op", "Tanh", "--jobs", "1"])
    sys.argv += ["--failures", "--json", str(file)]
    assert main() == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"ONNX {onnx.__version__} backend node tests: 2 cases, 2 with a")
    assert "math           2 / 2" in printed
    assert "not passed: 0" in printed
    assert json.loads(file.read_text())["scores"]["math"] == {"passed": 2, "of": 2}


def test_every_case_left_out_is_named_when_asked() -> None:
    outside = [LeftOut(f"test_{k}_", "Not", "no float input") for k in range(FEW + 1)]
    judged = [Judged(f"test_{k}_", "Mod", no_runtime="no kernel") for k in range(20, 21 + FEW)]
    board = Board(judged, outside, len(judged))
    names = {x.name for x in outside} | {j.case for j in judged}
    assert not {name for name in names if name in table(board)}
    assert names <= {name.strip(",") for name in table(board, left_out=True).split()}


def test_the_command_says_when_there_is_no_such_operator(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["scoreboard", "--op", "Nothing"])
    assert main() == 2
    assert "there is no case of 'Nothing'" in capsys.readouterr().err


def test_failures_and_exclusions_are_listed_by_name() -> None:
    verdict = Verdict("math", "test_a", "Sin", "x", 0, "no rule", "no vjp rule for ai.onnx@22::Sin")
    judged = [Judged("test_a", "Sin", [verdict]), Judged("test_b", "Cos", left_out="a kink")]
    printed = table(Board(judged, [LeftOut("test_c", "Not", "no float input")], 2), failures=True)
    assert "math           0 / 1" in printed
    assert "    1  no rule: no vjp rule for ai.onnx@22::Sin" in printed
    assert "test_a  Sin(x)  no rule" in printed
    assert "    1  no float input: test_c" in printed
    assert "    1  a kink: test_b" in printed


def test_a_sample_is_the_same_for_the_same_seed(cases: dict[str, Case]) -> None:
    every = list(cases.values())
    assert sample(every, 0.1, 1) == sample(every, 0.1, 1) != sample(every, 0.1, 2)


def test_the_library_does_not_load_it() -> None:
    code = "import sys, onnxshap.explainer; print('onnxshap.scoreboard' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
