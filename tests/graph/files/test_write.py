import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from onnxshap.errors import ModelFileError
from onnxshap.graph.files import protobuf, write
from onnxshap.graph.files.hash import model_hash
from onnxshap.graph.files.read import read_model
from onnxshap.graph.files.write import write_model
from tests.helpers import seeds


def outputs(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)})
    return y


@pytest.mark.parametrize("seed", seeds.SEEDS.values(), ids=seeds.SEEDS)
def test_what_is_written_is_read_back(seed, tmp_path):
    proto = seed()
    assert write_model(proto, tmp_path / "out.onnx") == [tmp_path / "out.onnx"]
    assert os.listdir(tmp_path) == ["out.onnx"]
    assert read_model(tmp_path / "out.onnx")[0] == proto


def test_writing_twice_gives_the_same_bytes(tmp_path):
    one, two = (write_model(seeds.cnn(), tmp_path / name)[0] for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_large_weights_go_to_a_side_file(tmp_path, monkeypatch):
    wide = seeds.wide()
    single = write_model(wide, tmp_path / "single.onnx")
    monkeypatch.setattr(protobuf, "LARGE", 10_000)
    before = wide.SerializeToString()
    files = write_model(wide, tmp_path / "wide.onnx")
    assert files == [tmp_path / "wide.onnx", tmp_path / "wide.onnx.data"]
    assert wide.SerializeToString() == before
    assert files[0].stat().st_size < 2_000
    model, folder = read_model(files[0])
    w, v, b = model.graph.initializer
    assert [t.data_location for t in (w, v, b)] == [1, 1, 0]
    assert onnx.load(files[0]).graph.node == wide.graph.node
    for got, want in zip(
        onnx.load(files[0]).graph.initializer, wide.graph.initializer, strict=True
    ):
        np.testing.assert_array_equal(numpy_helper.to_array(got), numpy_helper.to_array(want))
    np.testing.assert_array_equal(outputs(files[0]), outputs(single[0]))
    offsets = [int(entry.value) for t in (w, v) for entry in t.external_data if entry.key[0] == "o"]
    assert [offset % write.ALIGNMENT for offset in offsets] == [0, 0]
    assert model_hash(model, folder) == model_hash(model, folder)


def test_typed_weights_go_to_the_side_file_as_raw_bytes(tmp_path, monkeypatch):
    wide = seeds.wide()
    w = wide.graph.initializer[0]
    values = numpy_helper.to_array(w)
    w.ClearField("raw_data")
    w.float_data.extend(values.ravel())
    monkeypatch.setattr(protobuf, "LARGE", 10_000)
    files = write_model(wide, tmp_path / "wide.onnx")
    read_model(files[0])
    got = onnx.load(files[0]).graph.initializer[0]
    np.testing.assert_array_equal(numpy_helper.to_array(got), values)


def test_external_data_is_copied_along(tmp_path):
    source, target = tmp_path / "from", tmp_path / "to"
    source.mkdir()
    target.mkdir()
    model, folder = read_model(seeds.external(source))
    files = write_model(model, target / "copy.onnx", folder=folder)
    assert files == [target / "copy.onnx", target / "copy.onnx.data"]
    np.testing.assert_array_equal(outputs(files[0]), outputs(source / "model.onnx"))


def test_external_data_in_a_constant_is_copied_along(tmp_path):
    source = tmp_path / "from"
    source.mkdir()
    model, folder = read_model(seeds.external(source))
    constant = seeds.node("Constant", "", "w", value=model.graph.initializer[0])
    model.graph.node.insert(0, constant)
    del model.graph.initializer[:]
    before = model.SerializeToString()
    files = write_model(model, tmp_path / "copy.onnx", folder=folder)
    assert model.SerializeToString() == before
    read_model(files[0])
    want = numpy_helper.to_array(onnx.load(source / "model.onnx").graph.initializer[0])
    got = numpy_helper.to_array(onnx.load(files[0]).graph.node[0].attribute[0].t)
    np.testing.assert_array_equal(got, want)


def test_external_data_of_an_unknown_folder_is_not_guessed(tmp_path):
    model, _ = read_model(seeds.external(tmp_path))
    with pytest.raises(ModelFileError, match=r'tensor "w".*load the model by its path'):
        write_model(model, tmp_path / "copy.onnx")
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "w.bin"]


@pytest.mark.parametrize("limit", [protobuf.LARGE, 10_000], ids=["one file", "two files"])
def test_a_failed_write_leaves_the_old_files(limit, tmp_path, monkeypatch):
    wide = seeds.wide()
    monkeypatch.setattr(protobuf, "LARGE", limit)
    path = tmp_path / "model.onnx"
    before = {file: file.read_bytes() for file in write_model(wide, path)}

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    wide.doc_string = "changed"
    with pytest.raises(ModelFileError, match=r'cannot write ".*": No space left on device; choose'):
        write_model(wide, path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_name_that_no_system_takes_says_so(tmp_path):
    with pytest.raises(ModelFileError, match=r'cannot write ".*a\\x00b": embedded null byte'):
        write_model(seeds.cnn(), tmp_path / "a\0b")


def test_a_folder_that_does_not_exist_says_so(tmp_path):
    with pytest.raises(ModelFileError, match=r"No such file or directory; choose a folder"):
        write_model(seeds.cnn(), tmp_path / "ghost" / "model.onnx")
