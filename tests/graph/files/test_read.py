import os
import warnings

import onnx
import pytest
from onnx import TensorProto

from onnxshap.errors import ModelFileError, OnnxShapWarning
from onnxshap.graph.files import protobuf, read
from onnxshap.graph.files.read import read_model
from tests.helpers import hostile, seeds
from tests.helpers.hostile_files import BYTES, EXTERNAL


@pytest.mark.parametrize("isolate", [False, True], ids=["here", "isolated"])
@pytest.mark.parametrize("kind", ["str", "path", "bytes", "proto"])
def test_good_models_are_read_from_anything(kind, isolate, tmp_path):
    proto = seeds.controlled()
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    source = {"str": str(path), "path": path, "bytes": path.read_bytes(), "proto": proto}[kind]
    model, folder = read_model(source, isolate=isolate)
    assert model == proto
    assert model is not proto
    assert folder == (tmp_path if kind in ("str", "path") else None)


@pytest.mark.parametrize("isolate", [False, True], ids=["here", "isolated"])
def test_external_data_is_checked_but_not_loaded(isolate, tmp_path):
    model, folder = read_model(seeds.external(tmp_path), isolate=isolate)
    assert folder == tmp_path
    assert model.graph.initializer[0].data_location == TensorProto.EXTERNAL
    assert not model.graph.initializer[0].raw_data


def test_the_folder_does_not_follow_the_working_directory(tmp_path, monkeypatch):
    seeds.external(tmp_path)
    monkeypatch.chdir(tmp_path)
    _, folder = read_model("model.onnx")
    assert folder == tmp_path


def test_unknown_operators_of_an_imported_domain_are_accepted():
    opsets = [onnx.helper.make_opsetid("com.example", 3)]
    node = seeds.node("Magic", "x", "y", domain="com.example")
    read_model(seeds.model([node], opsets=opsets).SerializeToString())


def test_a_model_in_memory_is_not_modified():
    proto = seeds.model([seeds.node("Relu", "x", "y")], inputs={"x": [-1, 4]})
    before = proto.SerializeToString()
    with pytest.warns(OnnxShapWarning, match='size -1 to axis 0 of "x"'):
        model, _ = read_model(proto)
    assert proto.SerializeToString() == before
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "x_dim_0"


ALL = hostile.HOSTILE | hostile.CHECKED


@pytest.mark.parametrize(("build", "message"), ALL.values(), ids=ALL)
def test_hostile_models_are_refused(build, message):
    with pytest.raises(ModelFileError, match=message):
        read_model(build())


@pytest.mark.parametrize(("setup", "message"), EXTERNAL.values(), ids=EXTERNAL)
def test_hostile_external_data_is_refused(setup, message, tmp_path):
    with pytest.raises(ModelFileError, match=message):
        read_model(setup(tmp_path))


@pytest.mark.parametrize("by_path", [False, True], ids=["bytes", "file"])
@pytest.mark.parametrize(("build", "message"), BYTES.values(), ids=BYTES)
def test_hostile_bytes_are_refused(build, message, by_path, tmp_path):
    path = tmp_path / "some.onnx"
    path.write_bytes(build())
    subject = '"some.onnx"' if by_path else "the data"
    with pytest.raises(ModelFileError, match=f"^{subject} (is|holds)|no ONNX graph") as caught:
        read_model(path if by_path else path.read_bytes())
    assert caught.match(message)


def test_a_file_cut_anywhere_is_refused():
    data = seeds.cnn().SerializeToString()
    accepted = []
    for end in range(len(data)):
        try:
            read_model(data[:end])
        except ModelFileError:
            continue
        accepted.append(end)
    # Only the last opset_import can go missing unseen: it is whole fields, and nothing uses it.
    assert accepted == [len(data) - 2 - seeds.OPSETS[-1].ByteSize()]


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ModelFileError, match=r'there is no file ".*ghost\.onnx"; check the path'):
        read_model(tmp_path / "ghost.onnx")


def test_a_directory_says_so(tmp_path):
    with pytest.raises(ModelFileError, match=r"is a directory; give the \.onnx file inside it"):
        read_model(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelFileError, match="is not a regular file"):
        read_model(tmp_path / "pipe.onnx")


def test_a_file_below_a_file_says_so(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"cannot read .*Not a directory"):
        read_model(tmp_path / "file" / "model.onnx")


def test_a_path_that_no_system_takes_says_so():
    with pytest.raises(ModelFileError, match=r'cannot read ".*a\\x00b" \(embedded null byte\)'):
        read_model("a\0b")


def test_an_unreadable_file_says_so(tmp_path, monkeypatch):
    path = seeds.external(tmp_path)

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(ModelFileError, match=r"cannot read .*\(Permission denied\); check"):
        read_model(path)


@pytest.mark.parametrize("source", [None, 3, ["model.onnx"], bytearray(b"x")], ids=repr)
def test_other_sources_say_what_is_taken(source):
    with pytest.raises(ModelFileError, match=r"by its path, its bytes or a ModelProto, not \w+"):
        read_model(source)


def test_a_file_above_two_gib_is_refused_unread(tmp_path):
    path = tmp_path / "huge.onnx"
    path.write_bytes(b"\x08\x0a")
    os.truncate(path, 2**31)  # sparse: no disk is used
    with pytest.raises(ModelFileError, match=r"2,147,483,648 bytes, above the 2 GiB.*external"):
        read_model(path)


def test_large_models_are_checked_by_path(tmp_path, monkeypatch):
    wide = seeds.wide()
    seen = []
    monkeypatch.setattr(read, "LARGE", 100)
    monkeypatch.setattr(read, "_run_checker", seen.append)
    path = tmp_path / "wide.onnx"
    path.write_bytes(wide.SerializeToString())
    read_model(path)
    assert seen == [str(path)]


def test_large_models_in_memory_are_checked_too(monkeypatch):
    wide = seeds.wide()
    monkeypatch.setattr(protobuf, "LARGE", 100)
    read_model(wide)
    wide.graph.node[0].op_type = "MatMulll"
    with pytest.raises(ModelFileError, match="No Op registered for MatMulll"):
        read_model(wide)


@pytest.mark.parametrize("error", [SystemError, UnicodeDecodeError, RuntimeError, OSError])
def test_nothing_else_escapes_the_checker(error, monkeypatch):
    def fail(_):
        raise error(*(("utf-8", b"", 0, 1, "bad") if error is UnicodeDecodeError else ("bad",)))

    monkeypatch.setattr(onnx.checker, "check_model", fail)
    with pytest.raises(ModelFileError, match=r"refuses the model: .*bad") as caught:
        read_model(seeds.cnn())
    assert isinstance(caught.value.__cause__, error)


def test_no_warning_but_ours_leaves_the_reader():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in seeds.SEEDS.values():
            read_model(seed())
