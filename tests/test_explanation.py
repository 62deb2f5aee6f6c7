import re
from dataclasses import fields

import numpy as np
import pytest

from onnxshap.errors import InputError
from onnxshap.explanation import Explanation


def single(**changes):
    values = {
        "attributions": np.array([[1.0, 2.0], [3.0, -4.0]], np.float32),
        "outputs": np.array([4.0, 0.5]),
        "targets": np.array([7, 1]),
        "base_values": np.array([1.0, 1.5]),
        "residual": np.array([0.0, 1e-9]),
        "standard_error": np.array([[0.5, 1.0], [3.0, 4.0]], np.float32),
        "data": np.ones((2, 2), np.float32),
        "references": 5,
        "method": "deepshap",
    }
    return Explanation(**(values | changes))


def several():
    rng = np.random.default_rng(0)
    arrays = {"gpu_0/data_0": (2, 3, 4), "age": (2, 3)}
    attributions = {k: rng.normal(size=s).astype(np.float32) for k, s in arrays.items()}
    return Explanation(
        attributions=attributions,
        outputs=rng.normal(size=(2, 3)),
        targets=np.arange(6).reshape(2, 3),
        base_values=rng.normal(size=(2, 3)),
        residual=np.zeros((2, 3)),
        standard_error={k: np.abs(v) for k, v in attributions.items()},
        references=2,
        method="deepshap",
        complete=False,
    )


def same(one, other):
    for field in fields(Explanation):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert type(a) is type(b), field.name
        if isinstance(a, dict):
            assert list(a) == list(b)
            assert all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)
        elif isinstance(a, np.ndarray):
            assert np.array_equal(a, b, equal_nan=True)
            assert a.dtype == b.dtype
        else:
            assert a == b, field.name


@pytest.mark.parametrize("make", [single, several])
def test_save_and_load(make, tmp_path):
    explanation = make()
    path = explanation.save(tmp_path / "e.npz")
    same(explanation, Explanation.load(path))
    assert [p.name for p in tmp_path.iterdir()] == ["e.npz"]


def test_what_was_none_stays_none(tmp_path):
    explanation = single(base_values=None, residual=None, standard_error=None, data=None)
    loaded = Explanation.load(explanation.save(str(tmp_path / "e.npz")))
    same(explanation, loaded)


def test_saved_arrays_go_by_their_attribute_names(tmp_path):
    with np.load(several().save(tmp_path / "e.npz")) as archive:
        assert {"attributions/gpu_0/data_0", "attributions/age", "outputs"} <= set(archive.files)


def test_only_fields_are_handed_to_numpy(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr("onnxshap.explanation.np.savez_compressed", lambda _, **k: seen.update(k))
    single().save(tmp_path / "e.npz")
    # numpy 2.0 and 2.1 save any other keyword, allow_pickle among them, as an array
    assert set(seen) <= {f.name for f in fields(Explanation)}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(
        InputError, match=r"cannot save 'e\.npz': .*no folder .*nowhere'; create it"
    ):
        single().save(tmp_path / "nowhere" / "e.npz")
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = single().save(tmp_path / "e.npz")
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("onnxshap.explanation.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        several().save(path)
    assert path.read_bytes() == before


WRONG = {
    "text": b"not an archive",
    "empty": b"",
    "html": b"<!DOCTYPE html><html>404</html>",
    "truncated": None,
    "zip": b"PK\x03\x04 and then nothing",
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_files_are_refused(kind, tmp_path):
    path = tmp_path / "e.npz"
    content = WRONG[kind]
    if content is None:
        content = single().save(path).read_bytes()[:200]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"e\.npz' is not a saved explanation"):
        Explanation.load(path)


def test_arrays_alone_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match="is not a saved explanation"):
        Explanation.load(tmp_path / "a.npy")


def test_archives_of_other_things_are_refused(tmp_path):
    path = tmp_path / "e.npz"
    np.savez(path, image=np.zeros(3))
    with pytest.raises(InputError, match="it holds 'image'"):
        Explanation.load(path)
    np.savez(path, outputs=np.zeros(3))
    with pytest.raises(InputError, match="no attributions"):
        Explanation.load(path)


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / "e.npz"
    trap = np.array([{"a": 1}], dtype=object)
    np.savez(path, attributions=trap, outputs=np.zeros(1), targets=np.zeros(1))
    with pytest.raises(InputError, match="is not a saved explanation"):
        Explanation.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.npz"):
        Explanation.load(tmp_path / "nowhere.npz")


def test_summary_has_a_line_an_explicand():
    assert single().summary().splitlines() == [
        "deepshap, 5 references",
        "  explicand 0, target 7, output +4, base value +1, sum of attributions +3, "
        "residual +0.00e+00",
        "  explicand 1, target 1, output +0.5, base value +1.5, sum of attributions -1, "
        "residual +1.00e-09",
    ]


def test_summary_of_several_targets_and_of_methods_without_references():
    assert len(several().summary().splitlines()) == 1 + 2 * 3
    bare = single(base_values=None, residual=None, references=0, method="gradient").summary()
    assert not re.search("base value|residual", bare)
    weighted = single(targets=np.array([0.25, 0.75, 0.0])).summary()
    assert "target" not in weighted
    as_many = single(targets=np.array([1.0, 0.0])).summary()  # as many classes as explicands
    assert "target" not in as_many


def test_sums_run_over_features_and_inputs():
    explanation = several()
    expected = explanation.attributions["gpu_0/data_0"].sum(-1) + explanation.attributions["age"]
    assert explanation.sums().shape == (2, 3)
    assert np.allclose(explanation.sums(), expected)
    assert explanation.sums().dtype == np.float64


def test_relative_standard_error_is_of_root_mean_squares():
    found = single().relative_standard_error()
    assert found == pytest.approx([0.5, 1.0])
    assert several().relative_standard_error() == pytest.approx(np.ones((2, 3)))
    assert single(standard_error=None).relative_standard_error() is None


def test_relative_standard_error_of_nothing_is_not_a_number():
    zero = single(attributions=np.zeros((2, 2), np.float32))
    assert np.isnan(zero.relative_standard_error()).all()
