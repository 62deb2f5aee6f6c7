import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxshap.errors import ModelFileError, OnnxShapWarning
from onnxshap.graph.files import isolate
from onnxshap.graph.files.read import read_model
from tests.helpers import hostile, seeds


def test_isolated_refusals_say_the_same(tmp_path):
    build, message = hostile.HOSTILE["cycle"]
    path = tmp_path / "cycle.onnx"
    path.write_bytes(build().SerializeToString())
    for source in (path, path.read_bytes(), build()):
        with pytest.raises(ModelFileError, match=message):
            read_model(source, isolate=True)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", r"ended the child process .*exit status -6\); do not trust"),
        ("raise SystemError('planted')", r"exit status 1: SystemError: planted\); do not trust"),
        ("import time; time.sleep(60)", r"was not read within 0\.5 s.*do not trust this file"),
        ("", r"ended the child process"),
    ],
    ids=["abort", "error", "hang", "silence"],
)
def test_isolation_survives_the_child(code, message, monkeypatch):
    monkeypatch.setattr(isolate, "CHILD", code)
    monkeypatch.setattr(isolate, "DEADLINE", 0.5 if "sleep" in code else 60.0)
    with pytest.raises(ModelFileError, match=message):
        read_model(seeds.cnn().SerializeToString(), isolate=True)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems may lack the limit")
def test_isolation_limits_memory(monkeypatch):
    greedy = isolate.CHILD.replace("isolate.answer(", "bytes(6 * 2**30); isolate.answer(")
    assert greedy != isolate.CHILD
    monkeypatch.setattr(isolate, "CHILD", greedy)
    monkeypatch.setattr(isolate, "MEMORY", 5 * 2**30)
    with pytest.raises(ModelFileError, match="exit status 1: MemoryError"):
        read_model(seeds.cnn().SerializeToString(), isolate=True)


def test_a_shortage_of_memory_is_a_refusal(capsys):
    def exhausted(_):
        raise MemoryError

    isolate.answer(exhausted, "model.onnx")
    assert capsys.readouterr().out == '\n"reading the model needs more than 8 GiB of memory"\n'


def test_isolation_works_from_a_script_without_main_guard(tmp_path):
    path = seeds.external(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "print('once')\n"
        "from onnxshap.graph.files.read import read_model\n"
        "print(read_model(sys.argv[1], isolate=True)[0].graph.name)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, script, path], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == ["once", "main"]


def test_isolated_sizes_of_minus_one_warn_once():
    proto = seeds.model([seeds.node("Relu", "x", "y")], inputs={"x": [-1, 4]})
    with pytest.warns(OnnxShapWarning) as caught:
        read_model(proto.SerializeToString(), isolate=True)
    assert len(caught) == 1
