import hashlib

import pytest
from onnx import ModelProto

from onnxshap.errors import ModelFileError
from onnxshap.graph.files.hash import model_hash
from onnxshap.graph.files.read import read_model
from tests.helpers import seeds


def test_equal_models_have_equal_hashes(tmp_path):
    proto = seeds.controlled()
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    assert len({model_hash(read_model(s)[0], None) for s in (proto, path)}) == 1


def test_the_hash_is_the_one_described():
    # Written out from the definition: length and bytes of the rest, then of each initializer.
    proto = seeds.cnn()
    digest = hashlib.sha256()
    weights = [tensor.SerializeToString(deterministic=True) for tensor in proto.graph.initializer]
    rest = ModelProto()
    rest.CopyFrom(proto)
    del rest.graph.initializer[:]
    for part in (rest.SerializeToString(deterministic=True), *weights):
        digest.update(len(part).to_bytes(8, "little") + part)
    assert model_hash(proto, None) == digest.hexdigest()


def test_every_part_changes_the_hash():
    edits = {
        "doc": lambda m: setattr(m, "doc_string", "new"),
        "node doc": lambda m: setattr(m.graph.node[0], "doc_string", "new"),
        "name": lambda m: setattr(m.graph, "name", "new"),
        "function": lambda m: setattr(m.functions[0].node[0], "op_type", "Sigmoid"),
        "opset": lambda m: setattr(m.opset_import[0], "version", 21),
        "weight": lambda m: setattr(m.graph.initializer[0], "raw_data", b"\4" + bytes(7)),
        "order": lambda m: m.graph.initializer.reverse(),
        "nothing": lambda m: None,
    }
    hashes = {}
    for name, edit in edits.items():
        proto = seeds.controlled()
        edit(proto)
        hashes[name] = model_hash(proto, None)
    assert len(set(hashes.values())) == len(edits)
    assert hashes["nothing"] == model_hash(seeds.controlled(), None)


def test_external_bytes_change_the_hash_and_unused_ones_do_not(tmp_path):
    model, folder = read_model(seeds.external(tmp_path))
    data = bytearray((tmp_path / "w.bin").read_bytes())
    first = model_hash(model, folder)
    data[0] ^= 1  # before the tensor's offset
    (tmp_path / "w.bin").write_bytes(data)
    assert model_hash(model, folder) == first
    data[-1] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert model_hash(model, folder) != first


def test_hashing_without_the_external_data_says_so(tmp_path):
    model, folder = read_model(seeds.external(tmp_path))
    with pytest.raises(ModelFileError, match=r'tensor "w".*load the model by its path'):
        model_hash(model, None)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelFileError, match=r'tensor "w".*cannot be read'):
        model_hash(model, folder)
