"""Hostile files: external data out of place, and bytes that are no model; what must be said."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx import ModelProto

from tests.helpers.seeds import cnn, external, weights

# Hostile external data ----------------------------------------------------------------------------


def _linked(folder: Path, link: Callable[[Path, Path], Any]) -> Path:
    path = external(folder)
    secret = folder / "secret"
    (folder / "w.bin").rename(secret)
    link(secret, folder / "w.bin")
    return path


def _parent_link(folder: Path) -> Path:
    path = external(folder, location="sub/w.bin")
    (folder / "real").mkdir()
    (folder / "w.bin").rename(folder / "real" / "w.bin")
    (folder / "sub").symlink_to(folder / "real")
    return path


def _removed(folder: Path) -> Path:
    path = external(folder)
    (folder / "w.bin").unlink()
    return path


def _pipe(folder: Path) -> Path:
    path = _removed(folder)
    os.mkfifo(folder / "w.bin")
    return path


EXTERNAL: dict[str, tuple[Callable[[Path], Path], str]] = {
    "parent folder": (
        lambda f: external(f, location="../w.bin"),
        r'initializer "w".*external file "\.\./w\.bin", outside the model\'s folder; move',
    ),
    "parent folder further in": (
        lambda f: external(f, location="a/../../w.bin"),
        r"outside the model's folder",
    ),
    "parent folder by backslash": (
        lambda f: external(f, location="..\\w.bin"),
        r"outside the model's folder",
    ),
    "absolute": (lambda f: external(f, location="/etc/passwd"), r"outside the model's folder"),
    "drive": (lambda f: external(f, location="C:\\w.bin"), r"outside the model's folder"),
    "memory address marker": (
        lambda f: external(f, location="*/_ORT_MEM_ADDR_/*"),
        r"which is not a file name",
    ),
    "NUL in the name": (lambda f: external(f, location="w.bin\0.txt"), r"not a file name"),
    "no location": (lambda f: external(f, location=""), r"which is not a file name"),
    "missing": (_removed, r'"w\.bin", which cannot be read \(No such file.*put it into'),
    "symlink": (
        lambda f: _linked(f, lambda old, new: new.symlink_to(old)),
        r"is or lies behind a symlink; copy",
    ),
    "symlinked parent": (_parent_link, r"is or lies behind a symlink; copy"),
    "hard link": (
        lambda f: _linked(f, lambda old, new: new.hardlink_to(old)),
        r"has 2 hard links and may be someone else's file; copy",
    ),
    "pipe": (_pipe, r"which is not a regular file"),
    "folder": (lambda f: external(f, location="."), r"which is not a file name"),
    "length of a petabyte": (
        lambda f: external(f, length=str(10**15)),
        r'initializer "w".*needs 64 bytes but its external length is 1,000,000,000,000,000',
    ),
    "length too short": (
        lambda f: external(f, length="60"),
        r"needs 64 bytes but its external length is 60",
    ),
    "offset past the end": (
        lambda f: external(f, offset="65"),
        r'needs bytes 65 to 129 of the external file "w\.bin", which has 128',
    ),
    "offset of 10,000 digits": (
        lambda f: external(f, offset="9" * 10_000),
        r'the external offset "9+\.\.\.", which is not a whole number',
    ),
    "negative offset": (lambda f: external(f, offset="-1"), r'external offset "-1"'),
    "offset that int() would take": (lambda f: external(f, offset="1_0"), r'offset "1_0"'),
    "unknown key": (
        lambda f: external(f, __class__="x"),
        r'has the unknown external data key "__class__"; allowed, once each: basepath, checksum',
    ),
}


# Hostile bytes ------------------------------------------------------------------------------------


def _too_deep() -> bytes:
    proto = ModelProto(ir_version=10)
    graph = proto.graph
    for _ in range(60):
        graph = graph.node.add(op_type="If").attribute.add(name="a").g
    return proto.SerializeToString()


BYTES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", r"is empty: copy or download the file again"),
    "HTML": (lambda: b"\n<!DOCTYPE html><html><body>404</body></html>", r"is an HTML page"),
    "HTML without doctype": (lambda: b"<HTML><p>Sign in</p>", r"is an HTML page.*raw"),
    "JSON": (lambda: b'{"message": "Not Found"}', r"is JSON text, not a model"),
    "XML": (lambda: b'<?xml version="1.0"?><net/>', r"is XML, not a model"),
    "text": (lambda: "Modèle à télécharger\n".encode() * 99, r"is text, not a model; download"),
    "text cut within a character": (lambda: ("a" + "é" * 999).encode(), r"is text, not a model"),
    "JSON with a byte order mark": (lambda: b"\xef\xbb\xbf{}", r"is JSON text, not a model"),
    "UTF-16 text": (lambda: "model".encode("utf-16"), r"is text, not a model"),
    "LFS pointer": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        r"is a Git LFS pointer.*git lfs pull",
    ),
    "pickle": (lambda: b"\x80\x04\x95\x10\0\0\0\0\0\0\0}.", r"is a Python pickle.*export"),
    "torch checkpoint": (
        lambda: b"PK\x03\x04" + b"\0" * 26 + b"archive/data.pkl",
        r"is a PyTorch checkpoint; export the model with torch\.onnx\.export",
    ),
    "zip": (lambda: b"PK\x03\x04" + b"\0" * 26 + b"model.onnx", r"is a zip archive; unpack"),
    "gzip": (lambda: b"\x1f\x8b\x08\0\0\0", r"is a gzip archive; unpack"),
    "tar": (lambda: b"m.onnx".ljust(257, b"\0") + b"ustar\0", r"is a tar archive; unpack"),
    "bzip2": (lambda: b"BZh91AY&SY\0", r"is a bzip2 archive; unpack"),
    "xz": (lambda: b"\xfd7zXZ\0\0\4", r"is an xz archive; unpack"),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c\0\4", r"is a 7z archive; unpack"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd\4\0", r"is a zstd archive; unpack"),
    "GGUF": (lambda: b"GGUF\3\0\0\0", r"is a GGUF model; export"),
    "ORT": (lambda: b"\x1c\0\0\0ORTM\x14\0", r"onnxruntime's own \.ort format; load the \.onnx"),
    "TFLite": (lambda: b"\x1c\0\0\0TFL3\x14\0", r"is a TFLite model; export"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n\0\0", r"is an HDF5 file.*Keras; export"),
    "NumPy": (lambda: b"\x93NUMPY\x01\0", r"is a NumPy array"),
    "safetensors": (lambda: b"\x10\0\0\0\0\0\0\0" + b'{"a":{}}', r"is a safetensors file"),
    "truncated": (
        lambda: cnn().SerializeToString()[:700],
        r"is truncated: at least [\d,]+ of its bytes are missing; copy it again",
    ),
    "cut within a length": (
        lambda: b"\x08\x0a\x3a\x80",
        r"is truncated: at least 1 of its bytes are missing",
    ),
    "garbage": (lambda: b"\xee\xdd\xcc" * 50, r"is not an ONNX model, or is damaged"),
    "nested beyond protobuf": (_too_deep, r"is nested deeper than protobuf reads.*flatten"),
    "saved tensor": (lambda: weights("t", 3).SerializeToString(), r"not an ONNX model|no ONNX"),
}
