from itertools import product
from math import ceil, prod
from typing import Any

import pytest

from onnxshap.runtime.plan import DEFAULT_MEMORY, Plan, even

MIB = 2**20
LITE0 = {
    "pair_bytes": 14 * MIB,
    "cut_bytes": 24 * MIB,
    "explicand_bytes": 60 * MIB,
    "result_bytes": MIB,
    "steps": 1,
}


EVERY = product(
    [None, 1, MIB, 2**30, 2**36],
    [1, 10, 5000],
    [1, 7, 10_000],
    [1, 5, 1000],
    [1, 128],
    [0, 100, MIB, 2**33],
    [1, 2, 64],
)


def test_every_plan_keeps_its_promises() -> None:
    for memory, explicands, references, targets, steps, pair_bytes, processors in EVERY:
        plan = Plan.of(
            explicands=explicands,
            references=references,
            targets=targets,
            steps=steps,
            pair_bytes=pair_bytes,
            cut_bytes=24 * MIB,
            explicand_bytes=60 * MIB,
            result_bytes=1000,
            max_memory=memory,
            processors=processors,
        )
        assert 1 <= plan.explicands <= explicands
        assert 1 <= plan.references <= references
        assert 1 <= plan.targets <= targets
        assert 1 <= plan.steps <= steps
        assert plan.steps == steps or plan.references == 1  # a reference's steps are summed first
        assert plan.accumulated >= plan.explicands
        forward = plan.accumulated * 60 * MIB
        others = [references / plan.references, steps / plan.steps, targets / plan.targets]
        sharing = ceil(plan.workers / prod(map(ceil, others)))  # 1 unless runs are too few
        together = min(explicands, sharing * plan.explicands)
        assert forward <= max((memory or DEFAULT_MEMORY) / 4, 4 * together * 60 * MIB)
        budget = memory or DEFAULT_MEMORY
        work = plan.explicands * plan.references * plan.targets * plan.steps * pair_bytes
        kept = min(budget / 2, references * 24 * MIB)
        assert 1 <= plan.workers <= processors
        assert plan.workers * plan.threads <= processors
        assert 6 * plan.workers * work <= max(budget - kept, 6 * pair_bytes)
        if references * 24 * MIB > budget / 2:  # those not kept are there while worked on
            passing = plan.references * 24 * MIB
            assert 6 * plan.workers * passing <= max(budget - kept, 6 * passing)
        assert plan.cached_references * 24 * MIB <= budget / 2


@pytest.mark.parametrize("processors", [1, 2, 8])
def test_chunks_of_references_do_not_depend_on_the_number_of_explicands(processors: int) -> None:
    """Otherwise what is kept of them would be thrown away between calls."""
    plans = [
        Plan.of(
            explicands=n,
            references=100,
            targets=1,
            max_memory=None,
            processors=processors,
            **LITE0,
        )
        for n in (1, 3, 500)
    ]
    assert len({p.references for p in plans}) == 1
    assert {p.threads for p in plans} == ({0} if processors == 1 else {1})  # one session


def test_a_single_chunk_has_all_memory_whatever_the_processors() -> None:
    sizes = {**LITE0, "pair_bytes": MIB, "cut_bytes": MIB}
    plans = [
        Plan.of(explicands=1, references=1, targets=1000, max_memory=None, processors=p, **sizes)
        for p in (1, 2, 16, 64)
    ]
    assert len({(p.targets, p.workers, p.threads) for p in plans}) == 1


def test_chunks_are_as_many_as_processors_where_that_is_worth_it() -> None:
    def plan(pair_bytes: int, references: int = 10, **settings: int) -> Plan:
        sizes = {**LITE0, "pair_bytes": pair_bytes}
        return Plan.of(
            explicands=1, references=references, targets=1, max_memory=None, **sizes, **settings
        )

    assert [plan(14 * MIB, processors=2).workers, plan(14 * MIB, processors=2).references] == [2, 1]
    assert [plan(MIB, processors=2).workers, plan(MIB, processors=2).references] == [2, 5]
    assert [plan(1000, processors=2).workers, plan(1000, processors=2).references] == [1, 10]
    assert plan(14 * MIB, 1, processors=2).threads == 0  # one chunk, by all of them
    few, enough = (plan(14 * MIB, n, processors=8) for n in (3, 4))
    assert (few.workers, few.threads) == (1, 0)
    assert (enough.workers, enough.threads) == (4, 1)
    assert plan(14 * MIB, processors=8, device="cuda").workers == 1  # type: ignore[arg-type]


def test_processors_without_references_of_their_own_share_explicands() -> None:
    def plan(pair_bytes: int, explicands: int, **more: int) -> tuple[int, int]:
        sizes = {**LITE0, "pair_bytes": pair_bytes, "cut_bytes": 1000}
        asked = {"references": 1, "targets": 1, "max_memory": None, "processors": 2}
        found = Plan.of(explicands=explicands, **{**sizes, **asked, **more})  # type: ignore[arg-type]
        return found.explicands, found.workers

    assert plan(MIB // 4, 64) == (32, 2)
    assert plan(MIB // 4, 6) == (4, 2)  # a smaller run is not worth its while
    assert plan(MIB // 4, 6, targets=10) == (3, 2)
    assert plan(MIB // 4, 4, steps=16) == (2, 2)
    assert plan(MIB // 4, 16, references=4) == (8, 2)
    assert plan(1000, 64) == (64, 1)
    assert plan(14 * MIB, 3) == (1, 2)
    assert plan(MIB // 4, 64, references=8) == (20, 2)  # each has half of the references


def test_what_is_held_at_once_is_run_forward_once() -> None:
    """A block of explicands is planned again when it is run."""
    kinds = product([64, 300], [1, 3], [1, 10], [MIB // 4, 5 * MIB], [8, 100], [1000, 600_000])
    for (count, references, targets, pair, explicand, result), w in product(kinds, [2, 8, 64]):
        settings = {
            "references": references,
            "targets": targets,
            "steps": 1,
            "pair_bytes": pair,
            "cut_bytes": 1000,
            "explicand_bytes": explicand * MIB,
            "result_bytes": result,
            "max_memory": None,
            "processors": w,
        }
        block = min(count, Plan.of(explicands=count, **settings).accumulated)  # type: ignore[arg-type]
        assert Plan.of(explicands=block, **settings).accumulated >= block  # type: ignore[arg-type]


def test_explicands_are_held_as_their_forward_pass_and_results_fit() -> None:
    def held(explicand_bytes: int, result_bytes: int) -> int:
        sizes = {**LITE0, "explicand_bytes": explicand_bytes, "result_bytes": result_bytes}
        return Plan.of(
            explicands=10_000, references=10, targets=1, max_memory=2**31, **sizes
        ).accumulated

    assert held(64 * MIB, 1000) == 8
    assert held(MIB, 1000) == 512
    assert held(2**30, 1000) == 4  # fewer would repeat reference work
    assert held(0, 2**30) == 1


def test_references_are_run_by_plain_kernels_where_a_file_folds_them() -> None:
    """Lite0's fit by default up to 28; less memory than that changes no kernels."""

    def plain(references: int, max_memory: int | None = None, **more: Any) -> bool:
        asked = {"explicands": 1, "references": references, "targets": 1, "max_memory": max_memory}
        return Plan.of(**LITE0, **asked, **more).plain_kernels  # type: ignore[arg-type]

    assert [plain(m) for m in (1, 28, 29, 100)] == [True, True, False, False]
    assert [plain(m, max_memory=1) for m in (28, 29)] == [True, False]
    assert [plain(m, max_memory=2**33) for m in (100, 114)] == [True, False]
    assert not plain(1, device="cuda")
    assert not plain(1, apart=True)


def test_more_memory_is_used() -> None:
    small, large = (
        Plan.of(explicands=1, references=100, targets=1, max_memory=m, **LITE0)
        for m in (2**27, 2**33)
    )
    assert large.references > small.references
    assert large.cached_references > small.cached_references


def test_more_runs_at_once_on_a_gpu() -> None:
    cpu, cuda = (
        Plan.of(explicands=1, references=100, targets=1, max_memory=None, device=d, **LITE0)
        for d in ("cpu", "cuda")
    )
    assert cuda.references > cpu.references


def test_chunks_are_of_one_size_where_that_costs_little() -> None:
    assert [even(10, 9), even(50, 9), even(100, 18), even(7, 10), even(0, 3)] == [5, 5, 10, 7, 1]
    assert even(101, 9) == 9  # a prime: twelve chunks, the last one smaller
    for count in range(1, 60):
        for most in range(1, 20):
            size = even(count, most)
            assert 1 <= size <= most
            assert -(-count // size) <= 2 * -(-count // most)
