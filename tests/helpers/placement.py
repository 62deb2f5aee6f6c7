"""Where nodes ran and how long, read out of the runtime's own profile."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import onnxruntime as ort

from onnxshap.runtime.providers import CPU


class Ran(NamedTuple):
    """A run of a node."""

    node: tuple[int, str]
    """The session, by number, and the node's own number in it."""
    op: str
    provider: str
    outputs: tuple[tuple[str, int], ...]
    """Type and number of elements of each."""
    microseconds: int

    @property
    def copies(self) -> bool:
        """Whether it moves a value to the device or back."""
        return self.op.startswith("Memcpy")

    @property
    def off_the_device(self) -> bool:
        return self.provider == CPU or self.copies

    @property
    def is_shape_arithmetic(self) -> bool:
        """Sizes and counts: a few whole numbers, or one number made of them."""
        return all(
            count <= (1 if "float" in dtype or "double" in dtype else 32)
            for dtype, count in self.outputs
        )


@contextmanager
def profiled(folder: Path) -> Iterator[Callable[[], list[Ran]]]:
    """Give what lists the nodes that ran in the sessions made inside, and ends their profiles."""
    make, made = ort.InferenceSession, []

    def session(model: Any, options: Any = None, *rest: Any, **named: Any) -> Any:
        options = options or ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / f"session{len(made)}")
        made.append(make(model, options, *rest, **named))
        return made[-1]

    def nodes() -> list[Ran]:
        return [node for number, one in enumerate(made) for node in ran(one, number)]

    with mock.patch.object(ort, "InferenceSession", session):
        yield nodes


def ran(session: ort.InferenceSession, number: int = 0) -> Iterator[Ran]:
    """End the profile of a session and read which nodes ran, each as often as it did."""
    for event in json.loads(Path(session.end_profiling()).read_text()):
        told = event.get("args", {})
        if event.get("cat") == "Node" and "provider" in told:
            shapes = [next(iter(o.items())) for o in told.get("output_type_shape", [])]
            sizes = tuple((dtype, int(np.prod(dims))) for dtype, dims in shapes)
            node = number, told["node_index"]
            yield Ran(node, told["op_name"], told["provider"], sizes, event["dur"])
