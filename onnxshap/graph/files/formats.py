"""What people load by mistake, told from the first bytes: one sentence for each format."""

import codecs

HEAD = 1024  # bytes that are enough to tell

_EXPORT = "export the model to ONNX and load the .onnx file"
_UNPACK = "unpack it and load the .onnx file inside"
_DOWNLOAD = "download the file itself, for instance by its 'raw' link"

_IN_CHECKPOINTS = (b"data.pkl", b"/version", b"/constants.pkl")

_SIGNATURES: tuple[tuple[int, bytes | tuple[bytes, ...], str], ...] = (
    (0, b"\x1f\x8b", f"is a gzip archive; {_UNPACK}"),
    (0, b"BZh", f"is a bzip2 archive; {_UNPACK}"),
    (0, b"\xfd7zXZ\x00", f"is an xz archive; {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"is a 7z archive; {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"is a zstd archive; {_UNPACK}"),
    (0, b"PK\x03\x04", f"is a zip archive; {_UNPACK}"),
    (257, b"ustar", f"is a tar archive; {_UNPACK}"),
    (4, b"TFL3", f"is a TFLite model; {_EXPORT}"),
    (4, b"ORTM", "is a model in onnxruntime's own .ort format; load the .onnx file it came from"),
    (0, b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, perhaps of Keras; {_EXPORT}"),
    (0, b"\x93NUMPY", "is a NumPy array, not a model; load an .onnx file"),
    (0, b"GGUF", f"is a GGUF model; {_EXPORT}"),
    (8, b'{"', f"is a safetensors file, which has weights but no graph; {_EXPORT}"),
    (
        0,
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        f"is a Python pickle, perhaps a PyTorch checkpoint; {_EXPORT}",
    ),
    (
        0,
        b"version https://git-lfs",
        "is a Git LFS pointer, not the model itself; run 'git lfs pull' and load it again",
    ),
)


def other_format(head: bytes) -> str | None:
    """Say what a file is, and what to do, if its first bytes show that it is not ONNX."""
    if head.startswith(b"PK\x03\x04") and any(name in head for name in _IN_CHECKPOINTS):
        return "is a PyTorch checkpoint; export the model with torch.onnx.export and load that"
    for offset, magic, sentence in _SIGNATURES:
        if head[offset:].startswith(magic):
            return sentence
    text = _as_text(head)
    if text is None:
        return None
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<head", "<body")) or "<html" in start:
        return f"is an HTML page, not a model; {_DOWNLOAD}"
    if start.startswith("<?xml"):
        return f"is XML, not a model; {_EXPORT}"
    if start.startswith(("{", "[")):
        return f"is JSON text, not a model; {_DOWNLOAD}"
    return f"is text, not a model; {_DOWNLOAD}"


def _as_text(head: bytes) -> str | None:
    encoding = (
        "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    )
    try:  # incrementally: the head may end within a character
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return None
    return text if all(c.isprintable() or c.isspace() for c in text) else None
