from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.preflight import preflight
from tests.helpers import seeds
from tests.helpers.hostile_files import EXTERNAL


def decoded(path: Path) -> ModelProto:
    return onnx.load(path, load_external_data=False)


@pytest.mark.parametrize(("setup", "message"), EXTERNAL.values(), ids=EXTERNAL)
def test_hostile_external_data_is_refused(setup, message, tmp_path):
    path = setup(tmp_path)
    with pytest.raises(ModelFileError, match=message):
        preflight(decoded(path), tmp_path)


@pytest.mark.parametrize(
    "entries",
    [{}, {"length": ""}, {"checksum": "abc"}, {"location": "./w.bin"}, {"basepath": "/nowhere"}],
    ids=str,
)
def test_good_external_data_passes(entries, tmp_path):
    preflight(decoded(seeds.external(tmp_path, **entries)), tmp_path)


def test_external_data_in_a_subfolder_passes(tmp_path):
    path = seeds.external(tmp_path, location="sub/w.bin")
    (tmp_path / "sub").mkdir()
    (tmp_path / "w.bin").rename(tmp_path / "sub" / "w.bin")
    preflight(decoded(path), tmp_path)


def test_repeated_external_keys_are_refused(tmp_path):
    proto = decoded(seeds.external(tmp_path))
    proto.graph.initializer[0].external_data.add(key="offset", value="0")
    with pytest.raises(ModelFileError, match='repeats external data key "offset"'):
        preflight(proto, tmp_path)


def test_external_strings_are_refused(tmp_path):
    proto = decoded(seeds.external(tmp_path, length=""))
    proto.graph.initializer[0].data_type = TensorProto.STRING
    with pytest.raises(ModelFileError, match="is of strings, which external data cannot hold"):
        preflight(proto, tmp_path)


def test_total_of_external_data_counts_distinct_bytes(tmp_path, monkeypatch):
    proto = decoded(seeds.external(tmp_path))
    monkeypatch.setattr("onnxshap.graph.files.preflight.MAX_EXTERNAL_BYTES", 100)
    tied = proto.graph.initializer.add()
    tied.CopyFrom(proto.graph.initializer[0])
    tied.name = "tied"
    preflight(proto, tmp_path)
    tied.external_data[1].value = "0"
    with pytest.raises(ModelFileError, match="adds up to 128 bytes, above the limit of 100"):
        preflight(proto, tmp_path)
