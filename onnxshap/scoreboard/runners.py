"""Two implementations of ONNX: its reference evaluator, and onnxruntime."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from onnxshap.scoreboard.reference_ops import CORRECTED

Arrays = dict[str, np.ndarray]
Run = Callable[[Arrays], Arrays]


def evaluator(proto: onnx.ModelProto, ops: Sequence[type[OpRun]] = CORRECTED) -> Run:
    """Return a function that runs ``proto`` by the reference evaluator.

    ``ops``: what replaces its own operators; by default those whose faults are known.
    """
    engine = ReferenceEvaluator(proto, new_ops=list(ops))

    def run(feeds: Arrays) -> Arrays:
        with np.errstate(all="ignore"):
            found = engine.run(None, feeds)
        return dict(zip(engine.output_names, found, strict=True))

    return run


def session(proto: onnx.ModelProto) -> Run:
    """Return a function that runs ``proto`` on onnxruntime's CPU provider."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    engine = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in engine.get_outputs()]

    def run(feeds: Arrays) -> Arrays:
        return dict(zip(names, engine.run(None, feeds), strict=True))

    return run


_COMPLAINTS = (
    (r"(?:implementation|kernel) for (\w+)\((\d+)\)", r"no kernel for \1 of opset \2, these types"),
    (r"Unrecognized attribute: (\w+) for operator (\w+)", r"no attribute \1 of \2"),
    (r"Opset (\d+) is under development", r"opset \1 is newer than it reads"),
    (r"layout_ == 0 was false", "no recurrent operator with the batch in front"),
    (r" was false\. (.+)", r"\1"),
    (r"\[ONNXRuntimeError\] : \d+ : \w+ : (?:\S*/\S+:\d+ .*?\) )?(.+)", r"\1"),
)


def complaint(error: Exception) -> str:
    """Why onnxruntime refuses a model, in a line: without its source's paths and signatures."""
    line = (str(error).strip().split("\n") or [""])[0]
    for pattern, short in _COMPLAINTS:
        if found := re.search(pattern, line):
            return found.expand(short)[:240]
    return line[:240]
