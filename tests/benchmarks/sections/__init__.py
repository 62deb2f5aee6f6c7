"""What is measured. A section yields cells: a key, and a call that returns plain JSON data."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

Cell = tuple[str, Callable[[], dict[str, Any]]]
Cells = Mapping[str, dict[str, Any]]
"""Those measured so far, by key."""
Section = Callable[["Options", Cells], Iterator[Cell]]


@dataclass(frozen=True)
class Options:
    """How much of a section is measured."""

    rounds: int = 5
    budget: float = 30.0
    """Seconds a contender may spend in one cell before it leaves the rounds; a third of them with
    many references or targets."""
    patience: float = 20.0
    """Seconds of one call beyond which several targets are not measured."""
    nets: tuple[str, ...] = ()
    """Only these; none: all."""
    references: tuple[int, ...] = (1, 10, 50)
    targets: tuple[int, ...] = (1, 10)
    contenders: tuple[str, ...] = ()


def apart(measure: Callable[..., dict[str, Any]], *given: object) -> dict[str, Any]:
    """Call ``measure`` in a new process, which nothing ran in before."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *given).result()
