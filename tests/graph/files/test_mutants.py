import pytest

from tests.helpers import mutants


def test_the_watcher_notices_crashes_hangs_and_foreign_errors():
    outcome = mutants.watch(structural=8, by_bytes=2, reader="planted", seconds=1.0)
    assert outcome.signals == ["3: exit status -11"]
    assert outcome.hangs == ["5"]
    assert [text[:21] for text in outcome.escaped] == ["7: UnicodeDecodeError"]
    assert (outcome.accepted, outcome.total) == (7, 10)


def check_mutants(structural: int, by_bytes: int) -> None:
    outcome = mutants.watch(structural=structural, by_bytes=by_bytes)
    assert outcome.signals == []
    assert outcome.hangs == []
    assert outcome.escaped == []
    assert outcome.total == structural + by_bytes
    # Mutants that are all refused, or all accepted, would test nothing.
    assert outcome.refused > outcome.total / 4
    assert outcome.accepted > outcome.total / 10


def test_mutants_cannot_crash_hang_or_escape():
    check_mutants(300, 200)


@pytest.mark.full
def test_many_mutants_cannot_crash_hang_or_escape():
    check_mutants(10_000, 2_000)


def test_mutants_are_the_same_every_time():
    one, two = (mutants.structural_mutant(7).SerializeToString() for _ in range(2))
    assert one == two
    assert mutants.byte_mutant(7) == mutants.byte_mutant(7) != mutants.byte_mutant(8)
