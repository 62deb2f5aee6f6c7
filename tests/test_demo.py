import contextlib
import io
import re

import numpy as np
import pytest

import onnxshap
from onnxshap import demo
from onnxshap.errors import ExecutionError, InputError


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        demo.run(out)
    return out, printed.getvalue()


def test_it_writes_the_figure_and_the_file(ran):
    from PIL import Image

    out, _ = ran
    assert sorted(p.name for p in out.iterdir()) == ["demo.png", "explained.onnx"]
    with Image.open(out / "demo.png") as picture:
        width, height = picture.size
        assert 1600 <= width <= 2000
        assert 2000 <= height <= 3000
        assert np.asarray(picture.convert("L")).std() > 20


def test_it_reports_classes_and_reference_sets(ran):
    _, text = ran
    cat, coffee = text.split("chelsea.png\n")[1].split("\ncoffee.png\n")
    found = [int(c) for c in re.findall(r"class (\d+), ", cat)]
    assert sorted(found) == [281, 282, 285]
    assert re.search(r"class 967, espresso", coffee)
    assert int(re.findall(r"class (\d+), ", coffee)[0]) == 967
    for part in (cat, coffee):
        lines = [line for line in part.splitlines() if re.search(r"[+-]\d\.\de-\d\d ", line)]
        assert len(lines) == 9
        residuals = [float(re.findall(r"[+-]\d\.\de-\d\d", line)[0]) for line in lines]
        assert max(map(abs, residuals)) < 1e-4
        assert sum("one reference" in line for line in lines) == 3
        assert sum(" % " in line + " " for line in lines) == 6
    assert "9 blurred copies" in cat
    assert "9 crops of coffee.png" in cat
    assert "all supported" in text


def test_it_compares_the_one_shot_file(ran):
    _, text = ran
    difference = float(re.search(r"differs by (\d\.\de-\d\d) of the largest", text)[1])
    assert 0 < difference <= demo.TOLERANCE


def test_the_file_runs_without_onnxshap(ran):
    import onnxruntime

    out, _ = ran
    session = onnxruntime.InferenceSession(
        out / "explained.onnx", providers=["CPUExecutionProvider"]
    )
    photo = demo.centre(demo.load_photo(demo.assets() / "coffee.png"))
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"input": demo.preprocess([photo])}), strict=True))
    assert names[0] == "logits"
    assert found["target"][0, 0] == 967
    sums = found["input/attribution"].sum((2, 3, 4), dtype=np.float64)
    outputs = np.take_along_axis(found["logits"], found["target"], 1)
    assert np.allclose(sums, outputs - found["base_value"], atol=1e-3)


def test_a_file_that_disagrees_is_an_error(tmp_path):
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Tanh", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = np.linspace(-1, 1, 4, dtype=np.float32)[None]
    explainer = onnxshap.Explainer(model, np.zeros((2, 4), np.float32), target=[0, 1])
    expected = explainer(x)
    assert demo.one_shot(explainer, tmp_path / "right.onnx", x, expected) <= 1e-5
    expected.attributions[..., 0] += 1e-2
    with pytest.raises(ExecutionError, match=r"wrong\.onnx differs from the explainer by \d"):
        demo.one_shot(explainer, tmp_path / "wrong.onnx", x, expected)
    with pytest.raises(ExecutionError, match=r"other\.onnx explains other classes"):
        demo.one_shot(explainer.with_target([2, 3]), tmp_path / "other.onnx", x, expected)


def test_preprocessing_matches_the_models():
    photo = demo.load_photo(demo.assets() / "chelsea.png")
    assert min(photo.size) == 256
    x = demo.preprocess([demo.centre(photo)])
    assert x.shape == (1, 3, 224, 224)
    assert x.dtype == np.float32
    assert -1 <= x.min() < -0.5
    assert 0.5 < x.max() <= 1
    assert demo.blurred(demo.centre(photo)).shape == demo.crops(photo).shape == (9, 3, 224, 224)


def test_assets_are_complete_and_clean():
    import onnx

    folder = demo.assets()
    names = (folder / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    assert len(names) == 1000
    assert (names[282], names[967]) == ("tiger cat", "espresso")
    licences = (folder / "LICENSES.md").read_text(encoding="utf-8")
    for name in (demo.MODEL, *demo.PHOTOS, "imagenet_classes.txt"):
        assert f"`{name}`" in licences
    model = onnx.load(folder / demo.MODEL)
    assert not model.metadata_props
    assert not any(n.doc_string or n.metadata_props for n in model.graph.node)


def test_missing_assets_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "onnxshap" / "demo.py"))
    with pytest.raises(InputError, match=r"efficientnet_lite0\.onnx is missing"):
        demo.assets()


def test_installed_assets_come_first(monkeypatch, tmp_path):
    folder = tmp_path / "onnxshap" / "assets"
    folder.mkdir(parents=True)
    (folder / demo.MODEL).touch()
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "onnxshap" / "demo.py"))
    assert demo.assets() == folder


def test_a_file_in_the_way_is_an_error_of_ours(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="cannot write into"):
        demo.run(tmp_path / "taken")


def test_missing_pillow_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(InputError, match=r'the demo needs PIL.*pip install "onnxshap\[lab\]"'):
        demo.run(tmp_path)
