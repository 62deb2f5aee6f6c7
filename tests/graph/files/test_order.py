import itertools
import time

import pytest

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.preflight import preflight
from tests.helpers import seeds


def test_a_large_model_takes_little_time():
    names = ["x", *(f"h{number}" for number in range(20_000)), "y"]
    nodes = [seeds.node("Relu", a, b) for a, b in itertools.pairwise(names)]
    proto = seeds.model(nodes)
    start = time.perf_counter()
    preflight(proto, None)
    assert time.perf_counter() - start < 2.0  # 0.2 s here


def test_a_large_cycle_takes_little_time():
    names = [f"h{number}" for number in range(20_000)]
    nodes = [seeds.node("Relu", a, b) for a, b in itertools.pairwise([*names, names[0]])]
    proto = seeds.model([*nodes, seeds.node("Relu", "h0", "y")])
    start = time.perf_counter()
    with pytest.raises(ModelFileError, match="the graph has a cycle"):
        preflight(proto, None)
    assert time.perf_counter() - start < 2.0
