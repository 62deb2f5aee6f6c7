"""The page of operators: fresh, and with every operator of the registries."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import onnxshap
from onnxshap.autodiff.registry import BLOCKED, multiplier, vjp
from onnxshap.graph.expand import EXPANDED
from onnxshap.graph.lower import REWRITES
from onnxshap.scoreboard.operators import page
from tests.helpers.cases import CASES
from tests.helpers.gradcheck import one_node_model

FILE = Path(__file__).parents[2] / "OPERATORS.md"


def test_the_page_is_what_the_command_prints() -> None:
    command = [sys.executable, "-m", "onnxshap.scoreboard.operators"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert FILE.read_text() == printed, "run make operators"


def test_every_operator_is_on_the_page() -> None:
    shown = set(re.findall(r"\w+", page()))
    own = {op for domain, op, _ in (*vjp.rules, *multiplier.rules) if not domain}
    written = {name.rpartition("::")[2] for name in REWRITES}
    assert own | EXPANDED | BLOCKED | written <= shown


@pytest.mark.parametrize("op", ["Tanh", "Mul", "Conv", "PRelu", "Softmax", "MaxPool", "TopK"])
def test_multipliers_are_of_the_kind_that_check_reports(op: str) -> None:
    (row,) = (line.split(" | ") for line in page().split("\n") if line.startswith(f"| {op} |"))
    rows = [case for case in CASES if case.op == op]
    reports = [onnxshap.check(one_node_model(case), inputs=case.explained) for case in rows]
    kinds = {node.family for r in reports for node in r.nodes if node.operator.endswith(f":{op}")}
    assert kinds == set(row[4].split(", or "))
