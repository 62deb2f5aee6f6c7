"""A loaded model: the file's own bytes, and the normalised graph that gets differentiated."""

import os
from functools import cached_property
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxshap.graph.files.hash import model_hash
from onnxshap.graph.files.read import read_model
from onnxshap.graph.files.write import write_model
from onnxshap.graph.normalize import normalise

ModelSource = str | os.PathLike[str] | bytes | onnx.ModelProto


class Model:
    """An ONNX model that passed preflight. Never modified: every transformation makes a new one."""

    def __init__(self, proto: onnx.ModelProto, folder: Path | None = None) -> None:
        self._proto, self._folder = proto, folder

    @property
    def proto(self) -> onnx.ModelProto:
        """The model as protobuf; weights in external files stay there."""
        return self._proto

    @property
    def folder(self) -> Path | None:
        """Where the model's external weights lie; None for a model from memory."""
        return self._folder

    @property
    def metadata(self) -> dict[str, str]:
        """The file's metadata entries, e.g. ``onnxshap.references``, a hash of the references."""
        return {entry.key: entry.value for entry in self._proto.metadata_props}

    @cached_property
    def hash(self) -> str:
        """sha256 of the canonical model, external weights included."""
        return model_hash(self._proto, self._folder)

    @cached_property
    def normalised(self) -> ir.Model:
        """The model in the one dialect rules are written for. Clone before changing."""
        return normalise(self._proto, self._folder)

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the model atomically; near 2 GB the weights go to one file beside it.

        Returns
        -------
        list of Path
            The files written.
        """
        return write_model(self._proto, Path(path), folder=self._folder)

    def __repr__(self) -> str:
        graph = self._proto.graph
        names = ", ".join(i.name for i in graph.input), ", ".join(o.name for o in graph.output)
        return f"Model({names[0]} -> {names[1]}; {len(graph.node)} nodes)"


def load(model: ModelSource | Model, isolate: bool = False) -> Model:
    """Load a model from a path, bytes or a ModelProto.

    The file is looked at, decoded, and checked in pure Python before any native code sees it.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or Model
        A `Model` is returned as it is.
    isolate : bool
        Decode and check in a child process with a deadline and a memory limit first; for files
        from strangers. Running such a model still needs a sandbox of your own.

    Raises
    ------
    ModelFileError
        If it is not an ONNX model, or a damaged or malformed one; the message says which.
    """
    if isinstance(model, Model):
        return model
    return Model(*read_model(model, isolate=isolate))
