import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxshap import Explainer, Explanation
from onnxshap.cli import main
from tests.helpers import models

ROOT = Path(__file__).parents[1]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a folder with a model and arrays; returns status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    model = models.cnn()
    onnx.save(model, "m.onnx")
    onnx.save(models.unsupported("first/odd", "second"), "odd.onnx")
    np.save("x.npy", models.samples(model, 2)["image"])
    np.save("b.npy", models.samples(model, 3, seed=1)["image"])
    two = models.two_inputs()
    onnx.save(two, "two.onnx")
    np.savez("x2.npz", **models.samples(two, 2))
    np.savez("b2.npz", **models.samples(two, 3, seed=1))
    Path("junk.npy").write_bytes(b"no array")

    def command(*arguments: str) -> tuple[int, str, str]:
        status = main(arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return command


EXPLAIN = ("explain", "m.onnx", "--input", "x.npy", "--background", "b.npy")


def test_check_prints_a_report(run: Run) -> None:
    status, out, err = run("check", "m.onnx")
    assert (status, err) == (0, "")
    assert "all supported" in out
    assert "ai.onnx@12::MaxPool 1" in out


def test_check_names_what_is_unsupported(run: Run) -> None:
    status, out, _ = run("check", "odd.onnx")
    assert status == 1
    assert "NOT all supported" in out
    for name in ("first/odd", "second"):
        assert f'unsupported: com.acme@0::Mystery, node "{name}"' in out


def test_explain_writes_the_arrays(run: Run) -> None:
    status, out, err = run(*EXPLAIN, "--target", "2", "--out", "e.npz")
    assert (status, err) == (0, "")
    assert "deepshap, 3 references" in out
    assert out.count("explicand ") == 2
    found = Explanation.load("e.npz")
    with np.load("e.npz") as archive:
        names = {"attributions", "base_values", "outputs", "targets", "residual", "standard_error"}
        assert names <= set(archive.files)
    expected = Explainer("m.onnx", np.load("b.npy"), target=2)(np.load("x.npy"))
    np.testing.assert_array_equal(found.attributions, expected.attributions)
    np.testing.assert_array_equal(found.targets, [2, 2])


def test_rules_of_shap(run: Run) -> None:
    status, out, err = run(*EXPLAIN, "--rules", "shap", "--out", "e.npz")
    assert (status, err) == (0, "")
    assert "multipliers as shap.DeepExplainer has them" in out
    status, _, err = run(*EXPLAIN, "--rules", "shap", "--method", "gradient", "--out", "e.npz")
    assert status == 2
    assert "rules for DeepLIFT multipliers, and method 'gradient' has none" in err


@pytest.mark.parametrize(
    ("target", "shape"),
    [("top1", (2,)), ("top2", (2, 2)), ("(3,)", (2,)), ("[0, 4]", (2, 2)), ("-1", (2,))],
)
def test_forms_of_targets(run: Run, target: str, shape: tuple[int, ...]) -> None:
    status, _, _ = run(*EXPLAIN, f"--target={target}", "--out", "e.npz")
    assert status == 0
    assert Explanation.load("e.npz").outputs.shape == shape


def test_several_inputs_come_as_npz(run: Run) -> None:
    arguments = ("explain", "two.onnx", "--input", "x2.npz", "--background", "b2.npz")
    status, _, _ = run(*arguments, "--out", "e.npz")
    assert status == 0
    found = Explanation.load("e.npz")
    assert {k: a.shape for k, a in found.attributions.items()} == {"a": (2, 4), "b": (2, 2, 3)}
    status, _, _ = run(*arguments, "--inputs", "sum,gate", "--output", "gated", "--out", "i.npz")
    assert status == 0
    assert set(Explanation.load("i.npz").attributions) == {"sum", "gate"}


def test_methods_without_references(run: Run) -> None:
    arguments = ("explain", "m.onnx", "--input", "x.npy", "--method", "gradient")
    status, out, _ = run(*arguments, "--out", "e.npz")
    assert status == 0
    assert out.startswith("gradient\n")


@pytest.mark.parametrize(("name", "start"), [("e.png", b"\x89PNG"), ("e.html", b"<!")])
def test_pictures_and_pages(run: Run, name: str, start: bytes) -> None:
    status, _, _ = run(*EXPLAIN, "--out", name)
    assert status == 0
    assert Path(name).read_bytes().lower().startswith(start.lower())


@pytest.mark.parametrize("form", ["embed", "input"])
def test_export_writes_a_file_that_runs(run: Run, form: str) -> None:
    arguments = ("export", "m.onnx", "--background", "b.npy", "--background-as", form)
    status, out, _ = run(*arguments, "--target", "top2", "--out", "o.onnx")
    assert status == 0
    assert "o.onnx" in out
    assert "MiB" in out
    extra = {"image/reference": np.load("b.npy")} if form == "input" else {}
    found = models.run("o.onnx", {"image": np.load("x.npy")} | extra)
    assert found["image/attribution"].shape == (2, 2, 3, 12, 12)


WRONG = [
    (("check", "nowhere.onnx"), "nowhere.onnx"),
    (("check", "junk.npy"), "junk.npy"),
    (("check", "m.onnx", "--output", "nope"), 'no value "nope" to take as output'),
    (("explain", "m.onnx", "--input", "x.npy", "--out", "e.npz"), "background: method 'deepshap'"),
    ((*EXPLAIN, "--out", "e.txt"), "--out e.txt: the ending must be .npz, .png or .html"),
    ((*EXPLAIN, "--out", "e.npz", "--target", "best"), "--target best: give an index such as 3"),
    ((*EXPLAIN, "--out", "e.npz", "--target", "7"), "target 7: the output has 5 elements"),
    ((*EXPLAIN, "--out", "e.npz", "--target", "{}"), "target {}: give an int"),
    ((*EXPLAIN, "--out", "e.npz", "--method", "lime"), "no method 'lime'; there are deepshap"),
    ((*EXPLAIN, "--out", "nowhere/e.npz"), "nowhere"),
    (
        (*EXPLAIN[:3], "junk.npy", *EXPLAIN[4:], "--out", "e.npz"),
        "--input junk.npy: not a readable",
    ),
    ((*EXPLAIN[:3], "no.npy", *EXPLAIN[4:], "--out", "e.npz"), "--input no.npy: not a readable"),
    ((*EXPLAIN[:5], "x2.npz", "--out", "e.npz"), 'background: the model has no input "a"'),
    (("export", "m.onnx", "--background", "b.npy", "--out", "nowhere/o.onnx"), "nowhere"),
    (
        ("explain", "odd.onnx", "--input", "x.npy", "--method", "gradient", "--out", "e.npz"),
        "second",
    ),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=lambda v: None)
def test_errors_are_one_message_and_a_status(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    status, out, err = run(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("onnxshap: ")
    assert words in err
    assert not list(Path().glob("e.*"))


@pytest.mark.parametrize("arguments", [(), ("fly",), ("explain", "m.onnx")])
def test_usage_errors_exit_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: onnxshap" in capsys.readouterr().err


def test_ctrl_c_is_a_status_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Explainer, "__call__", interrupted)
    status, _, err = run(*EXPLAIN, "--out", "e.npz")
    assert (status, err) == (130, "onnxshap: stopped\n")


def test_module_runs_as_a_program(run: Run, tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    for arguments, status in ((("check", "m.onnx"), 0), (("check", "nowhere.onnx"), 2)):
        command = [sys.executable, "-m", "onnxshap", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
