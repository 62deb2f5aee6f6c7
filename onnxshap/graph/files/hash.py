"""Fingerprint a model."""

import hashlib
from pathlib import Path

from onnx import ModelProto
from onnx.external_data_helper import uses_external_data

from onnxshap.graph.files.external import content
from onnxshap.graph.files.protobuf import encode, without_initializers
from onnxshap.graph.files.walk import tensors


def model_hash(model: ModelProto, folder: Path | None) -> str:
    """SHA-256, in hexadecimal, of graph, doc strings, weights and external data.

    The same for equal models, on every machine. Raises ModelFileError if the external data, in
    ``folder``, is missing or no longer fits.
    """
    digest = hashlib.sha256()
    # Tensor by tensor: the whole may be above what protobuf can serialise.
    for message in (without_initializers(model), *model.graph.initializer):
        data = encode(message)
        digest.update(len(data).to_bytes(8, "little"))  # or "ab" + "c" would equal "a" + "bc"
        digest.update(data)
    for tensor in tensors(model):
        if uses_external_data(tensor):
            for chunk in content(tensor, folder):
                digest.update(chunk)
    return digest.hexdigest()
