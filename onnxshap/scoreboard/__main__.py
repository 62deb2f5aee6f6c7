"""``python -m onnxshap.scoreboard``: judge the suite, print the scores."""

import argparse
import json
import os
import sys
from pathlib import Path

from tqdm import tqdm

from onnxshap.scoreboard.board import Board
from onnxshap.scoreboard.cases import collect, sample
from onnxshap.scoreboard.run import judge_all
from onnxshap.scoreboard.supplement import supplement
from onnxshap.scoreboard.table import table


def main() -> int:
    """Run; the exit status is 1 if anything that has a rule fails."""
    options = _parser().parse_args()
    cases, left_out = collect(options.op)
    own = supplement(options.op)
    if not cases and not left_out and not own:
        print(f"onnxshap.scoreboard: there is no case of {options.op!r}", file=sys.stderr)
        return 2
    chosen = sample(cases, options.sample, options.seed) if options.sample < 1 else cases
    progress = tqdm(
        judge_all([*chosen, *own], options.jobs),
        total=len(chosen) + len(own),
        disable=None,
        unit="case",
    )
    judged = list(progress)
    board = Board(judged[: len(chosen)], left_out, len(cases), judged[len(chosen) :])
    print(table(board, failures=options.failures, left_out=options.left_out))
    if options.json is not None:
        options.json.write_text(json.dumps(board.as_dict(), indent=1) + "\n")
    return int(any(v.status in ("wrong", "error") for v in board.failures))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m onnxshap.scoreboard",
        description="Judge every rule by ONNX's own operator tests.",
    )
    parser.add_argument("--op", help="only this operator's cases")
    parser.add_argument("--failures", action="store_true", help="list every failure")
    parser.add_argument("--left-out", action="store_true", help="name every case left out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--sample", type=float, default=1.0, metavar="FRACTION")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
