"""No MatMul that a rule emits has both operands stretched along their leading axes.

onnxruntime's CUDA kernel compares how many matrices the operands hold, not their axes: [2, 1] by
[1, 2] of them are multiplied one by one, two products instead of four, and nothing is said.
"""

import numpy as np
import onnx
import pytest

from onnxshap.scoreboard.runners import session
from tests.helpers.cases import CASES
from tests.helpers.gradcheck import Case, emit, seeds
from tests.helpers.models import Arrays

BOTH, EXPLICANDS = 2, 3
"""As many targets as references."""
FLOAT = np.dtype(np.float32)
OPERATORS = ("AffineGrid", "DFT", "DeformConv", "GridSample", "MatMul", "Resize", "STFT")
ROWS = [
    pytest.param(c, id=c.id) for c in CASES if c.op in OPERATORS and c.on_runtime and not c.alone
]


def stretched(proto: onnx.ModelProto, feeds: Arrays) -> list[str]:
    """Names of the MatMuls neither of whose operands has the product's leading axes.

    Those of the model itself are its author's.
    """
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    emitted = ("vjp/", "multiplier/")
    products = [n for n in proto.graph.node if n.op_type == "MatMul" and n.name.startswith(emitted)]
    del shown.graph.output[:]
    for name in {v for n in products for v in (*n.input, *n.output)}:
        shown.graph.output.add().name = name
    shapes = {name: a.shape[:-2] for name, a in session(shown)(feeds).items()} if products else {}
    return [n.name for n in products if shapes[n.output[0]] not in (shapes[v] for v in n.input)]


@pytest.mark.parametrize("method", ["gradient", "deepshap"])
@pytest.mark.parametrize("case", ROWS)
def test_one_operand_has_all_leading_axes(
    case: Case, method: str, rng: np.random.Generator
) -> None:
    emitted = emit(case, method, FLOAT)
    x, r = case.draw(rng, EXPLICANDS), case.draw(rng, BOTH)
    if case.flips:
        x |= case.held(EXPLICANDS, varied=True)
        r |= case.held(BOTH, varied=True)
    program = emitted.program
    feeds = {name: x[name] for name in program.inputs} | {program.seed: seeds(case, rng, BOTH, x)}
    feeds |= {twin: r[name] for name, twin in program.references.items()}
    floats = {n: a.astype(FLOAT) if a.dtype.kind == "f" else a for n, a in feeds.items()}
    assert stretched(emitted.proto, floats) == []
