"""A random row is judged by what the rows of the table are judged by, and drawn from these parts.

What a strategy may draw though no rule can be judged on it is counted by its reason:
``pytest tests/properties --hypothesis-show-statistics`` prints them.
"""

from typing import Any, NoReturn

import numpy as np
from hypothesis import event, reject
from hypothesis import strategies as st

from onnxshap.errors import UnsupportedOpError
from onnxshap.scoreboard import differences
from tests.autodiff import test_multiplier, test_vjp
from tests.helpers.cases import Case, N, normal
from tests.helpers.gradcheck import (
    FLOAT,
    STEP,
    Arrays,
    directional,
    directions_for,
    emit,
    forward,
    one_node_model,
    relative_gap,
    sample_by_sample,
    seeds,
    session,
)

DISAGREE = "runtimes disagree"
"""Said by rules that decline a use of an operator because there is no one meaning of it."""

SINGLE = differences.Ladder((1e-2, 2e-2, 4e-2), 1e-3, 1e-2, 5e-2, 1e-2)
"""Of what onnxruntime runs in float32 alone."""

numbers = st.integers(0, 2**32 - 1)
"""Seeds of the numbers an example is judged on."""


def judge(case: Case, seed: int, disputed: bool = False) -> None:
    """Gradients, multipliers and batches of one node, in float64 and on onnxruntime.

    ``disputed``: whether onnxruntime may read the operator another way than ONNX's reference
    evaluator does; a gradient on onnxruntime is then judged by onnxruntime's own differences.
    """
    event(case.op)
    x = test_vjp.samples(case, np.random.default_rng(seed))
    if not np.isfinite(forward(case)(x)).all():
        invalid("an output is not a number")
    try:
        emit(case)
    except UnsupportedOpError as error:
        if DISAGREE not in str(error):
            raise
        invalid(DISAGREE)
    try:
        test_vjp.test_gradient_equals_central_differences(case, np.random.default_rng(seed))
    except AssertionError:
        if _settled(case, seed):
            raise
        invalid("a kink within a step of the point")
    if not case.alone:
        test_vjp.test_every_way_to_batch_gives_the_same(case, np.random.default_rng(seed))
    test_multiplier.test_complete_in_float64(case, np.random.default_rng(seed))
    if not case.on_runtime or not _runs(case, x):
        return
    test_multiplier.test_complete_in_float32(case, np.random.default_rng(seed))
    if disputed and not _agrees(case, x):
        _check_by_runtime(case, x, np.random.default_rng(seed))
    else:
        test_vjp.test_onnxruntime_agrees(case, np.random.default_rng(seed))


def invalid(reason: str) -> NoReturn:
    """Leave the example out, and count why."""
    event(f"left out: {reason}")
    reject()


def _runs(case: Case, x: Arrays) -> bool:
    """Whether onnxruntime runs the node itself."""
    try:
        run = session(one_node_model(case, FLOAT))
        (sample_by_sample(run) if case.alone else run)(_single(x))
    except Exception as error:  # onnxruntime raises a dozen classes without a common root
        event(f"not run on onnxruntime: {str(error).split('Status Message: ')[-1][:160]}")
        return False
    return True


def _single(x: Arrays) -> Arrays:
    return {n: v.astype(FLOAT) if v.dtype.kind == "f" else v for n, v in x.items()}


def _agrees(case: Case, x: Arrays) -> bool:
    try:
        test_vjp.check_forward(case, x)
    except AssertionError:
        event("the reference evaluator and onnxruntime disagree")
        return False
    return True


def _check_by_runtime(case: Case, x: Arrays, rng: np.random.Generator) -> None:
    """The gradient of a linear node on onnxruntime, by onnxruntime's own differences."""
    single, run = _single(x), session(one_node_model(case, FLOAT))
    ((name, y),) = run(single).items()
    seed = rng.normal(size=y.shape)
    found = emit(case, dtype=FLOAT).contributions(single, seed[None])
    for own, gradient in found.items():
        function = differences.Function(run, {name: seed})
        slopes = differences.slopes(function, single, own, rng, SINGLE)
        assert slopes.gap(gradient[0]) <= 1


def _settled(case: Case, seed: int) -> bool:
    """Whether a step ten times smaller gives the same differences: it does not across a kink."""
    rng = np.random.default_rng(seed)  # for the directions that the test took
    x = test_vjp.samples(case, rng)
    seeds(case, rng, test_vjp.TARGETS, x)
    for name in emit(case).program.contributions:
        directions = directions_for(x[name].shape[1:], rng)
        wide, narrow = (directional(case, x, name, directions, s) for s in (STEP, STEP / 10))
        if not relative_gap(wide, narrow) < test_vjp.EXACT:
            return False
    return True


# Parts of strategies ------------------------------------------------------------------------------


def lists(size: int, low: int, high: int) -> st.SearchStrategy[list[int]]:
    """``size`` integers of a range."""
    return st.lists(st.integers(low, high), min_size=size, max_size=size)


@st.composite
def some(draw: st.DrawFn, shapes: list[tuple[int, ...]]) -> list[Any]:
    """Inputs of these shapes for a row that is ``alone``: constants, but for at least one."""
    free = draw(st.sets(st.integers(0, len(shapes) - 1), min_size=1))
    return [(N, *shape) if i in free else normal(*shape) for i, shape in enumerate(shapes)]


@st.composite
def data(draw: st.DrawFn, most: int = 3) -> tuple[list[int], bool]:
    """Sizes of a sample, and whether the operator sees a batch axis in front of them.

    Where it does not, the first is above 1: a literal 1 in front counts samples. ``most``: axes.
    """
    rank, batched = draw(st.integers(1, most)), draw(st.booleans())
    sizes = draw(lists(rank, 1, 5))
    if not batched:
        sizes[0] = max(2, sizes[0])
    return sizes, batched


@st.composite
def axes(draw: st.DrawFn, rank: int) -> list[int]:
    """Some of ``rank`` axes, in any order."""
    return draw(st.lists(st.integers(0, rank - 1), min_size=1, max_size=rank, unique=True))


@st.composite
def spelt(draw: st.DrawFn, axis: int, rank: int) -> int:
    """An axis, or an index, counted from either end."""
    return axis - rank if draw(st.booleans()) else axis
