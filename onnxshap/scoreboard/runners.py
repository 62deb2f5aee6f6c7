"""Two implementations of ONNX: its reference evaluator, and onnxruntime."""

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
