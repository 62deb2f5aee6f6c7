import time

import pytest
from onnx import TensorProto, helper

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.preflight import preflight
from tests.helpers import hostile, seeds


@pytest.mark.parametrize("seed", seeds.SEEDS.values(), ids=seeds.SEEDS)
def test_good_models_pass_unchanged(seed):
    proto = seed()
    before = proto.SerializeToString()
    preflight(proto, None)
    assert proto.SerializeToString() == before


@pytest.mark.parametrize(
    "build",
    [
        lambda: hostile.nested(16),
        lambda: hostile.calling(19, 2),
        lambda: hostile.calling(100, 1),
        lambda: seeds.model(
            [seeds.node("Gelu", "x", "y", domain="com.microsoft")],
            opsets=[helper.make_opsetid("com.microsoft", 1)],
        ),
        lambda: seeds.model(
            [seeds.node("Relu", "x", "y", domain="ai.onnx")],
            opsets=[helper.make_opsetid("", 20)],
        ),
        lambda: seeds.holding(TensorProto(name="empty", data_type=1, dims=[2**40, 0])),
        lambda: seeds.holding(TensorProto(name="scalar", data_type=1, float_data=[1.0])),
    ],
    ids=[
        *("16 subgraphs", "2^19 nodes by calls", "100 functions", "custom domain"),
        *("standard domain by its other name", "empty tensor", "scalar"),
    ],
)
def test_models_at_the_limits_pass(build):
    preflight(build(), None)


@pytest.mark.parametrize(("build", "message"), hostile.HOSTILE.values(), ids=hostile.HOSTILE)
def test_hostile_models_are_refused_at_once(build, message):
    proto = build()
    start = time.perf_counter()
    with pytest.raises(ModelFileError, match=message) as caught:
        preflight(proto, None)
    assert time.perf_counter() - start < 1.0
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("build", "message"), hostile.CHECKED.values(), ids=hostile.CHECKED)
def test_what_is_left_to_the_checker_passes(build, message):
    preflight(build(), None)
