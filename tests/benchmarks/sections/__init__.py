"""What is measured. A section yields cells: a key, and a call that returns plain JSON data."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
