"""Read a model: look at its first bytes, decode, preflight, and only then run onnx's checker."""

import os
import stat
import tempfile
from pathlib import Path

import onnx
from onnx import ModelProto
from onnx.external_data_helper import uses_external_data

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.adopted import given_back, without_external_data
from onnxshap.graph.files.formats import HEAD, other_format
from onnxshap.graph.files.isolate import check_in_child
from onnxshap.graph.files.names import printable, quote, short
from onnxshap.graph.files.preflight import preflight
from onnxshap.graph.files.protobuf import LARGE, decode, encode, encode_unless_large
from onnxshap.graph.files.walk import tensors
from onnxshap.graph.files.write import write_model

_PROTOBUF_LIMIT = 2**31
_MEMORY_LABEL = "the data"


def read_model(
    source: str | os.PathLike[str] | bytes | ModelProto, *, isolate: bool = False
) -> tuple[ModelProto, Path | None]:
    """Read a model, check that it is well formed, and return it with its file's folder.

    A model in memory is copied, never modified, and has no folder. External data stays in its
    files. ``isolate`` does it all in a child process first, with a deadline and, on POSIX, a limit
    on memory: worth its 0.3 s for files from strangers. Raises ModelFileError.
    """
    if isinstance(source, ModelProto):
        return _copy(source, isolate), None
    path, label = None, _MEMORY_LABEL
    if isinstance(source, bytes):
        data = source
        _look(data[:HEAD], len(data), label)
    else:
        path = _absolute(source)
        label = quote(path.name)
        data = _read_file(path, label)
    if isolate:
        check_in_child(data, path, label)
    model, folder = decode(data, label), path and path.parent
    preflight(model, folder)
    if not isolate:
        known = given_back(model)
        by_path = len(data) > LARGE or any(uses_external_data(t) for t in tensors(model))
        if known is not model:
            _check_copy(without_external_data(known))
        else:
            _run_checker(str(path) if path and by_path else data)
    return model, folder


def _copy(source: ModelProto, isolate: bool) -> ModelProto:
    if isolate:
        check_in_child(encode(source), None, _MEMORY_LABEL)
    model = ModelProto()
    model.CopyFrom(source)
    preflight(model, None)
    if not isolate:
        _check_copy(given_back(model))
    return model


def _check_copy(model: ModelProto) -> None:
    data = encode_unless_large(model)
    if data is not None:
        _run_checker(data)
    else:  # the checker reads one as large only from a file
        with tempfile.TemporaryDirectory() as folder:
            _run_checker(str(write_model(model, Path(folder, "model.onnx"))[0]))


def _absolute(path: str | os.PathLike[str]) -> Path:
    """Absolute but not resolved: a model's folder is where its link lies, not what it points to."""
    try:
        return Path(path).absolute()
    except TypeError as error:
        raise ModelFileError(
            f"a model is given by its path, its bytes or a ModelProto, not {type(path).__name__}"
        ) from error


def _read_file(path: Path, label: str) -> bytes:
    shown = f'"{printable(str(path))}"'
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ModelFileError(f"{shown} is a directory; give the .onnx file inside it")
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{shown} is not a regular file; copy the model to one")
        with open(path, "rb") as file:
            _look(file.read(HEAD), status.st_size, label)  # before reading gigabytes of it
            file.seek(0)
            return file.read()
    except FileNotFoundError as error:
        raise ModelFileError(f"there is no file {shown}; check the path") from error
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(
            f"cannot read {shown} ({reason}); check its path and permissions"
        ) from error


def _look(head: bytes, size: int, label: str) -> None:
    """Refuse what cannot be an ONNX file by its size and first bytes."""
    if size == 0:
        raise ModelFileError(f"{label} is empty: copy or download the file again")
    sentence = other_format(head)
    if sentence:
        raise ModelFileError(f"{label} {sentence}")
    if size >= _PROTOBUF_LIMIT:
        raise ModelFileError(
            f"{label} has {size:,} bytes, above the 2 GiB that one ONNX file can have; "
            "export the model with external data"
        )


def _run_checker(model: str | bytes) -> None:
    try:
        onnx.checker.check_model(model)
    except MemoryError:
        raise
    # ValidationError, and whatever else the C++ library raises: none of it may reach the user.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelFileError(
            f"onnx's checker refuses the model: {short(reason, 500)} "
            "Export the model again, with a newer exporter if there is one."
        ) from error
