"""Bytes to models and back, by the same bytes for the same model, below protobuf's 2 GiB."""

from collections.abc import Collection
from typing import Any

from onnx import ModelProto

from onnxshap.errors import ModelFileError

LARGE = 1_800_000_000  # bytes of a model; readers and checker need headroom below 2 GiB

_WIRE_TYPES = {
    field.number: 0 if field.type == field.TYPE_INT64 else 2
    for field in ModelProto.DESCRIPTOR.fields
}


def encode(message: Any) -> bytes:
    """Serialise a message deterministically."""
    try:
        return bytes(message.SerializeToString(deterministic=True))
    except Exception as error:  # protobuf's EncodeError, or ValueError, by its version
        raise ModelFileError(
            f"the {type(message).__name__} cannot be serialised; above 2 GiB, keep its weights in "
            "initializers and load it by path with external data"
        ) from error


def encode_unless_large(model: ModelProto) -> bytes | None:
    """Serialise a model; None if it is too large for one file."""
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights >= LARGE:  # serialising would take seconds, and then fail
        return None
    data = encode(model)
    return data if len(data) < LARGE else None


def decode(data: bytes, label: str) -> ModelProto:
    """Parse a model; ``label`` is what errors call the data."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except MemoryError:
        raise
    # DecodeError; by protobuf version also UnicodeDecodeError or SystemError.
    except Exception as error:
        if "depth" in str(error).lower():
            sentence = "is nested deeper than protobuf reads, some 30 subgraphs; flatten the model"
        elif missing := _missing_bytes(data):
            sentence = f"is truncated: at least {missing:,} of its bytes are missing; copy it again"
        else:
            sentence = "is not an ONNX model, or is damaged: it is not valid protobuf; export again"
        raise ModelFileError(f"{label} {sentence}") from error
    return model


def _missing_bytes(data: bytes) -> int:
    """How many bytes the last top-level field lacks; 0 if this is not a model cut short."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if _WIRE_TYPES.get(tag >> 3) != tag & 7:
            return 0
        value, position = _varint(data, position)
        if position > len(data):
            return 1
        if tag & 7 == 2:
            position += value
    return position - len(data)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Read a number; also return where it ends, past the data's end if it is cut short."""
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position + index + 1
    return value, position + 10


def copy_fields(source: Any, target: Any, *, skip: Collection[str]) -> None:
    """Copy the fields of a message but those named: its weights may be gigabytes."""
    for kind, value in source.ListFields():
        if kind.name in skip:
            continue
        if kind.is_repeated:
            getattr(target, kind.name).extend(value)
        elif kind.message_type is not None:
            getattr(target, kind.name).CopyFrom(value)
        else:
            setattr(target, kind.name, value)


def without_initializers(model: ModelProto) -> ModelProto:
    """Copy everything but the graph's initializers."""
    slim = ModelProto()
    copy_fields(model, slim, skip={"graph"})
    copy_fields(model.graph, slim.graph, skip={"initializer"})
    return slim
