"""Write a model: one file, or two when its weights are large or external."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from onnx import ModelProto, TensorProto
from onnx.external_data_helper import uses_external_data

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.external import content
from onnxshap.graph.files.names import printable
from onnxshap.graph.files.protobuf import (
    copy_fields,
    encode,
    encode_unless_large,
    without_initializers,
)
from onnxshap.graph.files.storage import TYPED_FIELDS
from onnxshap.graph.files.walk import tensors

ALIGNMENT = 4096  # lets the runtime map the side file into memory

_MIN_SIDE_BYTES = 1024  # smaller tensors stay in the model: shapes and axes must be readable there
_DATA_FIELDS = {*TYPED_FIELDS, "raw_data", "external_data", "data_location"}


def write_model(
    proto: ModelProto, path: str | os.PathLike[str], *, folder: Path | None = None
) -> list[Path]:
    """Write a model so that a reader sees the old file or the new one, never half of one.

    Near 2 GB, or when the model has external data (in ``folder``; it is copied), weights go to
    ``<name>.data`` beside the model. Returns the files written; raises ModelFileError if they
    cannot be written or the external data cannot be read.
    """
    target = Path(path).absolute()
    try:
        if not any(uses_external_data(tensor) for tensor in tensors(proto)):
            data = encode_unless_large(proto)
            if data is not None:
                _write_all({target: lambda file: file.write(data)})
                return [target]
        return _write_two(proto, target, folder)
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        raise ModelFileError(
            f'cannot write "{printable(str(target))}": '
            f"{getattr(error, 'strerror', None) or error}; "
            "choose a folder that exists, has space and may be written to"
        ) from error


def _write_two(proto: ModelProto, target: Path, folder: Path | None) -> list[Path]:
    """Write the weights to one side file and the rest to the model's file."""
    side = target.with_name(target.name + ".data")
    slim = without_initializers(proto)

    def place(tensor: TensorProto, source: TensorProto, file: IO[bytes]) -> None:
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        offset = file.tell()
        for chunk in content(source, folder):
            file.write(chunk)
        entries = {"location": side.name, "offset": offset, "length": file.tell() - offset}
        del tensor.external_data[:]
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        tensor.data_location = TensorProto.EXTERNAL

    def fill_side(file: IO[bytes]) -> None:
        for tensor in tensors(slim):  # attributes and subgraphs: only what was external already
            if uses_external_data(tensor):
                place(tensor, tensor, file)
        for source in proto.graph.initializer:
            tensor = slim.graph.initializer.add()
            if uses_external_data(source) or _is_large(source):
                copy_fields(source, tensor, skip=_DATA_FIELDS)
                place(tensor, source, file)
            else:
                tensor.CopyFrom(source)

    # In this order: a reader that sees the new model must find the new data.
    _write_all({side: fill_side, target: lambda file: file.write(encode(slim))})
    return [target, side]


def _is_large(tensor: TensorProto) -> bool:
    size = len(tensor.raw_data) or tensor.ByteSize()
    return size >= _MIN_SIDE_BYTES and tensor.data_type != TensorProto.STRING


def _write_all(contents: dict[Path, Callable[[IO[bytes]], Any]]) -> None:
    """Write every file under a temporary name beside it, then rename them all."""
    done: list[tuple[Path, Path]] = []
    try:
        for target, fill in contents.items():
            temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
            done.append((temporary, target))
            with open(temporary, "xb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
        for temporary, target in done:
            os.replace(temporary, target)
    finally:
        for temporary, _ in done:
            temporary.unlink(missing_ok=True)
