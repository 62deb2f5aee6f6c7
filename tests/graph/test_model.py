import os

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from onnxshap.graph.model import load
from tests.helpers import seeds


def test_a_model_with_external_data_can_be_saved_elsewhere(tmp_path):
    source, target = tmp_path / "from", tmp_path / "to"
    source.mkdir()
    target.mkdir()
    model = load(seeds.external(source))
    files = model.save(target / "copy.onnx")
    assert files == [target / "copy.onnx", target / "copy.onnx.data"]
    (want,) = onnx.load(source / "model.onnx").graph.initializer
    (got,) = onnx.load(files[0]).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(got), numpy_helper.to_array(want))
    assert model.proto.graph.initializer[0].data_location == TensorProto.EXTERNAL


def test_a_model_with_external_data_can_be_saved_over_itself(tmp_path):
    path = seeds.external(tmp_path)
    want = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    for _ in range(2):  # the second time, from the side file onto itself
        load(path).save(path)
        got = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
        np.testing.assert_array_equal(got, want)
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "model.onnx.data", "w.bin"]


def test_a_model_from_memory_is_saved_as_one_file(tmp_path):
    model = load(seeds.cnn())
    assert model.save(tmp_path / "cnn.onnx") == [tmp_path / "cnn.onnx"]
    assert load(tmp_path / "cnn.onnx").hash == model.hash
