"""What a rule sees of its node: degrees, contents and sizes of the inputs, and attributes."""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir

from onnxshap.graph.inference import Known
from onnxshap.homogeneity.degrees import ANY, CONSTANT, Degree, Offence, largest, scales, spell

SCALABLE = {
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
}
"""Types whose rounding is an error; what integers and narrower floats round is what is computed."""

_GLANCE = 64  # elements; a weight that is not all zeros shows it in the first few, nearly always


class Context:
    """One node, with the degree of each input; an input that is left out counts as zero.

    ``degrees``: of the node's inputs, then of what its subgraphs read from outside. ``known``: what
    inference found, with contents only for what the sources cannot change. ``dependent``: the
    values that depend on the sources.
    """

    def __init__(
        self,
        node: ir.Node,
        degrees: Sequence[Degree],
        known: Mapping[ir.Value, Known],
        dependent: Container[ir.Value],
    ) -> None:
        self.node, self.degrees = node, degrees
        self._known, self._dependent = known, dependent

    def input(self, place: int) -> ir.Value | None:
        """An input, or None if it is left out."""
        return self.node.inputs[place] if place < len(self.node.inputs) else None

    def has(self, place: int) -> bool:
        """Whether an input is given."""
        return self.input(place) is not None

    def degree(self, place: int = 0) -> Degree:
        """Degree of an input."""
        return self.degrees[place] if self.has(place) else ANY

    def attribute(self, name: str, default: Any) -> Any:
        """Value of an attribute, or what it is by default."""
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def dtype(self, value: ir.Value | None) -> ir.DataType | None:
        """Element type of an input or output."""
        return None if value is None else self._known[value].dtype or value.dtype

    def dims(self, place: int = 0) -> tuple[int | None, ...] | None:
        """Sizes of an input, as far as they are known."""
        value = self.input(place)
        return None if value is None else self._known[value].dims

    def content(self, place: int) -> np.ndarray | None:
        """The elements of an input that is known to be constant."""
        value = self.input(place)
        return None if value is None else content(value, self._known)

    def number(self, place: int) -> float | None:
        """The one value all elements of a constant input have; None if unknown or several."""
        found = self.content(place)
        if found is None or found.size == 0 or found.dtype.kind in "OSU":
            return None
        first = found.ravel()[0]
        return float(first) if (found == first).all() else None

    def term(self, place: int, name: str = "constant") -> "Term":
        """An input as something that is added or compared; ``name``: what a constant is there."""
        degree, value = self.degree(place), self.input(place)
        if value is None or value in self._dependent:
            return as_term(degree)
        return Term(degree, f"a {name} (degree {spell(degree)})", constant=True)

    def terms(self, *places: int) -> list["Term"]:
        """The inputs at ``places``, by default all of them, as terms."""
        return [self.term(place) for place in places or range(len(self.node.inputs))]

    def unscaled(self, *places: int, data: int = 0) -> None:
        """Take offence if an input that decides sizes, places or the like scales.

        ``places``: by default all but the first. ``data``: the input whose degree is then assumed.
        """
        for place in places or range(1, len(self.node.inputs)):
            value, degree = self.input(place), self.degree(place)
            if value is not None and scales(degree):
                reason = f'its input {place} ("{value.name}") has degree {spell(degree)}, not 0'
                raise Offence(reason, self.degree(data))


class Term(NamedTuple):
    """One of several values that are added, compared or joined."""

    degree: Degree
    words: str
    constant: bool = False


def as_term(degree: Degree) -> Term:
    """A computed value as a term."""
    return Term(degree, f"a value of degree {spell(degree)}")


def agree(
    verb: str, preposition: str, terms: Sequence[Term], assumed: Degree | None = None
) -> Degree:
    """Return the degree all terms have; zero fits every degree, any other mixture is an offence.

    ``assumed``: by default as if constants were left out.
    """
    firm = [t for t in terms if t.degree is not ANY]
    if len({t.degree for t in firm}) <= 1:
        return firm[0].degree if firm else ANY
    firm.sort(key=lambda term: not term.constant)
    words = list(dict.fromkeys(t.words for t in firm))
    last = f" {preposition} " if len(words) == 2 else " and "
    reason = f"{verb} {', '.join(words[:-1])}{last}{words[-1]}"
    left = largest(t.degree for t in firm if not t.constant)
    raise Offence(reason, left if assumed is None else assumed)


def content(value: ir.Value, known: Mapping[ir.Value, Known]) -> np.ndarray | None:
    """The elements of a constant, where they are at hand; not copied."""
    found = known[value].value
    if found is None and value.const_value is not None and value.is_initializer():
        return value.const_value.numpy()
    return found


def degree_of_constant(array: np.ndarray | None) -> Degree:
    """Degree of what does not depend on the sources: any where it is all zeros, else 0."""
    if array is None or array.dtype.kind in "OSU":
        return CONSTANT
    flat = array.ravel()
    return CONSTANT if flat[:_GLANCE].any() or flat.any() else ANY
