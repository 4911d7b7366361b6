"""Classifiers in files: what comes back, and what is refused."""

from __future__ import annotations

import pickle
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsight import SparsightError
from sparsight.track import classify_file
from sparsight.track.classify import Calibration, Classifier, Machine
from sparsight.track.classify_file import load_classifier, save_classifier


def classifier(kind: str) -> Classifier:
    rng = np.random.default_rng(0)
    coef = rng.normal(size=(3, 7)) if kind == "rbf" else None
    machine = Machine(rng.normal(size=(7 if kind == "rbf" else 3, 5)), rng.normal(size=3), coef, 0.7)
    return Classifier(("Åsa", "b c", "d\te"), kind, machine, Calibration(0.5, 0.01, 3, 4, -2), "auto", "n-1")


@pytest.mark.parametrize("kind", ["cosine", "linear", "rbf"])
def test_what_is_saved_comes_back(kind: str, tmp_path: Path) -> None:
    made, path = classifier(kind), tmp_path / "new" / "people.npz"
    save_classifier(path, made)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    back = load_classifier(path)
    assert (back.people, back.kind, back.embedder, back.weights) == (made.people, kind, "auto", "n-1")
    assert back.calibration == made.calibration
    vectors = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    np.testing.assert_array_equal(back.machine(vectors), made.machine(vectors))
    assert [entry.name for entry in path.parent.iterdir()] == ["people.npz"]


def test_a_name_with_another_ending(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match=r"ends in \.npz"):
        save_classifier(tmp_path / "people.pkl", classifier("cosine"))


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_classifier(tmp_path / "a.npz", classifier("linear"))
    with np.load(tmp_path / "a.npz") as stored:
        arrays = dict(stored)
    hostile = np.empty(3, object)
    hostile[:] = _Bomb()
    np.savez(tmp_path / "object.npz", **(arrays | {"people": hostile}))
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(_Bomb()))
    for name in ("object.npz", "plain.npz"):
        with pytest.raises(SparsightError, match="is not a classifier of people"):
            load_classifier(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", np.zeros((2, 5))),
        ("rows", np.zeros(3)),
        ("rows", np.zeros((3, 5), np.float32)),
        ("bias", np.zeros(4)),
        ("bias", np.array([0, np.nan, 0])),
        ("kind", np.array("tree")),
        ("kind", np.array("rbf")),
        ("people", np.array([], np.str_)),
        ("people", np.arange(3)),
        ("threshold", np.float64("inf")),
        ("steepness", np.zeros(2)),
        ("version", np.array("x")),
    ],
)
def test_arrays_that_are_no_classifier(name: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_classifier(path, classifier("linear"))
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | {name: value}))
    with pytest.raises(SparsightError, match="is not a classifier of people"):
        load_classifier(path)


def test_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(SparsightError, match=r"there is no classifier .* identity train"):
        load_classifier(path)
    with pytest.raises(SparsightError, match="cannot be read: is a directory"):
        load_classifier(tmp_path)
    save_classifier(path, classifier("rbf"))
    whole = path.read_bytes()
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(SparsightError, match="is not a classifier of people"):
            load_classifier(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version.npy", b"no array")
    with pytest.raises(SparsightError, match="is not a classifier of people"):
        load_classifier(path)
    path.write_bytes(whole)
    monkeypatch.setattr(classify_file, "MAX_BYTES", 100)
    with pytest.raises(SparsightError, match="unpacks to more than"):
        load_classifier(path)


def test_a_later_version(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_classifier(path, classifier("linear"))
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | {"version": np.int64(2)}))
    with pytest.raises(SparsightError, match="is of version 2, and 1 can be read: train it again"):
        load_classifier(path)
