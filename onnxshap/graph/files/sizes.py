"""Sizes in the types of values: an unknown one gets a symbol, a negative one is refused."""

import warnings
from collections.abc import Iterable, Iterator

from onnx import GraphProto, TensorShapeProto, TypeProto

from onnxshap.errors import ModelFileError, OnnxShapWarning
from onnxshap.graph.files.names import quote
from onnxshap.graph.files.walk import MAX_DEPTH, Room, present


def negative_size(dims: Iterable[int]) -> str | None:
    """Say which size is negative; None if none is."""
    negative = next((size for size in dims if size < 0), None)
    if negative is None:
        return None
    return f"has a negative size, {negative}; export the model again with sizes of 0 or more"


def name_unknown_sizes(graph: GraphProto) -> None:
    """Replace sizes of -1 on the graph's ends by symbols, one for each place, and say so."""
    dims = [
        (value.name, axis, dim)
        for value in (*graph.input, *graph.output)
        for shape in _shapes(value.type, f"value {quote(value.name)}")
        for axis, dim in enumerate(shape.dim)
    ]
    taken = {dim.dim_param for _, _, dim in dims}
    found = []
    for name, axis, dim in dims:
        if dim.dim_value == -1:
            symbol = f"{name}_dim_{axis}"
            while symbol in taken:
                symbol += "_"
            dim.dim_param = symbol  # clears dim_value: they share a oneof
            found.append(f"axis {axis} of {quote(name)}")
    if found:
        places = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        warnings.warn(
            f"the model gives the size -1 to {places}: read as a symbolic size; "
            "name the axis in the exporter to silence this",
            OnnxShapWarning,
            stacklevel=3,
        )


def check_sizes(rooms: Iterable[Room]) -> None:
    """Refuse negative sizes in every type that is written down."""
    for room in rooms:
        for kind, label in _types(room):
            for shape in _shapes(kind, label):
                flaw = negative_size(dim.dim_value for dim in shape.dim)
                if flaw:
                    raise ModelFileError(f"{label} of {room.label} {flaw}")


def _types(room: Room) -> Iterator[tuple[TypeProto, str]]:
    body = room.body
    ends = (*body.input, *body.output) if isinstance(body, GraphProto) else ()
    for value in (*ends, *body.value_info):
        yield value.type, f"value {quote(value.name)}"
    for _, attribute in room.holders:
        for kind in present(attribute, "tp", "type_protos"):
            yield kind, f"type attribute {quote(attribute.name)}"


def _shapes(kind: TypeProto, label: str) -> Iterator[TensorShapeProto]:
    """Shapes inside a type: of a tensor, or of what sequences, maps and optionals hold."""
    for _ in range(MAX_DEPTH):
        which = kind.WhichOneof("value")
        if which in ("tensor_type", "sparse_tensor_type"):
            yield getattr(kind, which).shape
            return
        if which not in ("sequence_type", "optional_type", "map_type"):
            return
        inner = getattr(kind, which)
        kind = inner.value_type if which == "map_type" else inner.elem_type
    raise ModelFileError(
        f"{label} has a type nested more than {MAX_DEPTH} deep; use plain tensors as values"
    )
