"""ONNX's own operator tests: whatever is proven of one must be true of its numbers."""

import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxshap.errors import ModelFileError
from onnxshap.graph.model import load
from onnxshap.homogeneity import prove

FACTORS = (0.25, 2.0, 3.0)


def cases() -> Iterator[tuple[str, onnx.ModelProto, dict[str, np.ndarray]]]:
    """Name, model and inputs of every case whose inputs are arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        collected = collect_testcases()
    for case in collected:
        arrays = {}
        for value, given in zip(case.model.graph.input, case.data_sets[0][0], strict=True):
            tensor = isinstance(given, onnx.TensorProto)
            arrays[value.name] = numpy_helper.to_array(given) if tensor else given
        if all(isinstance(a, np.ndarray | np.generic) for a in arrays.values()):
            yield case.name, case.model, {n: np.asarray(a) for n, a in arrays.items()}


@pytest.mark.full
def test_what_is_proven_is_true() -> None:
    proven: Counter[str] = Counter()
    wrong = []
    for name, proto, arrays in cases():
        try:
            graph = load(proto).normalised.graph
        except (ModelFileError, onnx.checker.ValidationError):
            continue  # of another domain, or newer than what is read
        floats = [v for v in graph.inputs if arrays[str(v.name)].dtype.kind == "f"]
        for sources in [floats, *([f] for f in floats if len(floats) > 1)]:
            for place, target in enumerate(graph.outputs):
                degree = prove(graph, sources, target).degree if sources else None
                if degree is None:
                    continue
                names = [str(v.name) for v in sources]
                if not scales(proto, arrays, names, place, float(degree)):
                    wrong.append((name, names, str(target.name), str(degree)))
                proven[proto.graph.node[-1].op_type] += 1
    assert not wrong
    assert sum(proven.values()) > 500
    assert len(proven) > 70


def scales(
    proto: onnx.ModelProto, arrays: dict[str, np.ndarray], names: list[str], place: int, k: float
) -> bool:
    """Whether an output follows f(a x) = a^k f(x), as far as its type's rounding lets one see."""
    try:
        engine = ReferenceEvaluator(proto)
        own = engine.run(None, arrays)[place]
    except Exception:  # no reference implementation, or a broken one
        return True
    for factor in FACTORS:
        scaled = {n: (a * factor).astype(a.dtype) if n in names else a for n, a in arrays.items()}
        found, expected = engine.run(None, scaled)[place], factor**k * own.astype(np.float64)
        finite = np.abs(expected[np.isfinite(expected)]).max(initial=1e-30)
        bound = (2e-2 if own.dtype.itemsize == 2 else 1e-3) * finite
        if not np.allclose(found.astype(np.float64), expected, 0, bound, equal_nan=True):
            return False
    return True
