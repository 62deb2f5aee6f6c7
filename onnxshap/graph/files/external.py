"""External data: where a tensor's bytes lie in a file beside the model, and reading them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import onnx_ir as ir
from onnx import TensorProto
from onnx.external_data_helper import uses_external_data

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.names import quote
from onnxshap.graph.files.storage import raw_bytes

_KEYS = frozenset({"location", "offset", "length", "checksum", "basepath"})
_CHUNK = 2**20


class Span(NamedTuple):
    """Where a tensor's external data lies: file, first byte, and number of bytes."""

    path: Path
    offset: int
    length: int


def locate(tensor: TensorProto, folder: Path | None, label: str) -> Span:
    """Find an external tensor's bytes, refusing every file but a plain one inside the folder.

    ``label`` is what errors call the tensor, whose dtype and sizes must have been checked.
    """
    if folder is None:
        raise ModelFileError(
            f"{label} is in external data, which cannot be found for a model from memory; "
            "load the model by its path instead"
        )
    entries = _entries(tensor, label)
    location = entries.get("location", "")
    size = _plain_size(folder, location, label)
    if tensor.data_type == TensorProto.STRING:
        raise ModelFileError(f"{label} is of strings, which external data cannot hold")
    need = raw_bytes(tensor)
    offset = _whole(entries.get("offset", "0"), "offset", label)
    given = _whole(entries.get("length", str(need)), "length", label)
    if given != need:
        raise ModelFileError(
            f"{label} needs {need:,} bytes but its external length is {given:,}; "
            "save the model again"
        )
    if offset + need > size:
        raise ModelFileError(
            f"{label} needs bytes {offset:,} to {offset + need:,} of the external file "
            f"{quote(location)}, which has {size:,}; copy the file again, it may be truncated"
        )
    return Span(folder / location, offset, need)


def content(tensor: TensorProto, folder: Path | None) -> Iterator[bytes]:
    """Yield any tensor's bytes as raw_data has them, piece by piece."""
    if not uses_external_data(tensor):
        yield tensor.raw_data or ir.serde.TensorProtoTensor(tensor).tobytes()
        return
    path, offset, left = locate(tensor, folder, f"tensor {quote(tensor.name)}")
    with open(path, "rb") as file:
        file.seek(offset)
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise ModelFileError(f"{quote(path.name)} was cut short while it was being read")
            left -= len(chunk)
            yield chunk


def kept_outside(model: ir.Model) -> tuple[Path | None, int]:
    """Folder and number of bytes of the weights that a model has in external files."""
    tensors = [v.const_value for v in model.graph.initializers.values()]
    outside = [t for t in tensors if isinstance(t, ir.ExternalTensor)]
    folder = Path(outside[0].base_dir) if outside else None
    return folder, sum(t.nbytes for t in outside)


def _entries(tensor: TensorProto, label: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in _KEYS or entry.key in entries:
            problem = "repeats" if entry.key in entries else "has the unknown"
            raise ModelFileError(
                f"{label} {problem} external data key {quote(entry.key)}; "
                f"allowed, once each: {', '.join(sorted(_KEYS))}"
            )
        entries[entry.key] = entry.value
    return entries


def _whole(text: str, key: str, label: str) -> int:
    # int(text) alone takes "-1", "1_0" and digits of other scripts, and fails on long ones.
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ModelFileError(
            f"{label} has the external {key} {quote(text)}, which is not a whole number of bytes; "
            "save the model again"
        )
    return int(text)


def _plain_size(folder: Path, location: str, label: str) -> int:
    """Size of an external file, following no link on the way."""
    where = f"{label} points to the external file {quote(location)}"
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    # A "*" begins the runtime's marker for "this is a memory address".
    if not posix.parts or not location.isprintable() or "*" in location:
        raise ModelFileError(f"{where}, which is not a file name; save the model again")
    if posix.anchor or windows.anchor or ".." in (*posix.parts, *windows.parts):
        raise ModelFileError(
            f"{where}, outside the model's folder; move the data into that folder and save again"
        )
    path = folder
    for part in posix.parts:
        path = path / part
        try:
            status = os.lstat(path)
        except OSError as error:
            raise ModelFileError(
                f"{where}, which cannot be read ({error.strerror}); "
                "put it into the model's folder under that name"
            ) from error
        if stat.S_ISLNK(status.st_mode):
            raise ModelFileError(f"{where}, which is or lies behind a symlink; copy the data there")
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"{where}, which is not a regular file; copy the data there")
    if status.st_nlink > 1:
        raise ModelFileError(
            f"{where}, which has {status.st_nlink} hard links and may be someone else's file; "
            "copy the data instead"
        )
    return status.st_size
