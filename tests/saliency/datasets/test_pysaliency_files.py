"""Converters to and from pysaliency's HDF5 files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saliency_layouts as make

from sparsight import SparsightError
from sparsight.saliency.datasets import load, read_pysaliency, write_pysaliency

h5py = pytest.importorskip("h5py")

A, B, C = make.points(5, 1), make.points(3, 2), make.points(7, 3)


def test_there_and_back(tmp_path: Path) -> None:
    make.osie(tmp_path / "osie", {"1001": [A, B], "1002": [C]})
    dataset = load("osie", tmp_path / "osie")
    stimuli, fixations = write_pysaliency(dataset, tmp_path / "out")
    again = read_pysaliency(stimuli, fixations)
    assert [path.resolve() for path in again.images] == [path.resolve() for path in dataset.images]
    assert again.names == dataset.names
    assert again.fixations is not None and dataset.fixations is not None
    for name in ("x", "y", "duration", "subject", "image"):
        np.testing.assert_array_equal(getattr(again.fixations, name), getattr(dataset.fixations, name))
    with h5py.File(fixations) as file:
        # Each viewer's fixations on an image are counted from nought.
        np.testing.assert_array_equal(file["t"][()], [*range(5), *range(3), *range(7)])


def test_pysaliency_reads_what_is_written(tmp_path: Path, pysaliency: Any) -> None:
    make.osie(tmp_path / "osie", {"1001": [A, B], "1002": [C]})
    dataset = load("osie", tmp_path / "osie")
    stimuli, fixations = write_pysaliency(dataset, tmp_path / "out")
    assert fixations is not None
    theirs = pysaliency.read_hdf5(str(stimuli))
    assert list(theirs.sizes) == [(make.HEIGHT, make.WIDTH)] * 2
    np.testing.assert_array_equal(theirs.stimuli[1], dataset.image(1))
    looked = pysaliency.read_hdf5(str(fixations))
    assert dataset.fixations is not None
    np.testing.assert_array_equal(looked.x, dataset.fixations.x)
    np.testing.assert_array_equal(looked.n, dataset.fixations.image)
    looked.to_hdf5(str(tmp_path / "again.hdf5"))
    theirs.to_hdf5(str(tmp_path / "stimuli_again.hdf5"))
    again = read_pysaliency(tmp_path / "stimuli_again.hdf5", tmp_path / "again.hdf5")
    assert again.fixations is not None
    np.testing.assert_array_equal(again.fixations.y, dataset.fixations.y)
    np.testing.assert_array_equal(again.fixations.subject, dataset.fixations.subject)
    rows = [[3.0, 4, 5], [1.0, 2]]
    trains = pysaliency.FixationTrains.from_fixation_trains(
        rows, [[y + 0.5 for y in row] for row in rows], rows, [0, 1], [8, 6]
    )
    trains.to_hdf5(str(tmp_path / "trains.hdf5"))
    check_rows(read_pysaliency(stimuli, tmp_path / "trains.hdf5"))


def marked(file: Any, kind: str, version: str, attributes: tuple[str, ...] = ()) -> None:
    file.attrs["type"], file.attrs["version"] = np.bytes_(kind), np.bytes_(version)
    file.attrs["__attributes__"] = np.bytes_(json.dumps(attributes))


@pytest.fixture
def pictures_inside(tmp_path: Path) -> Path:
    path = tmp_path / "stimuli.hdf5"
    with h5py.File(path, "w") as file:
        marked(file, "Stimuli", "1.1")
        file.attrs["size"] = 2
        file["0"] = np.zeros((6, 8, 3), np.uint8)
        file["1"] = np.full((6, 8), 200, np.uint8)
    return path


# One viewer looks twice at image 1, another three times at image 0.
ROWS_X = np.array([[1.0, 2, np.nan], [3, 4, 5]])
ROWS_Y = ROWS_X + 0.5


def check_rows(found: Any) -> None:
    assert found.fixations is not None
    np.testing.assert_array_equal(found.fixations.x, [3, 4, 5, 1, 2])
    np.testing.assert_array_equal(found.fixations.y, [3.5, 4.5, 5.5, 1.5, 2.5])
    np.testing.assert_array_equal(found.fixations.subject, [8, 8, 8, 6, 6])
    np.testing.assert_array_equal(found.fixations.image, [0, 0, 0, 1, 1])


def test_pictures_inside_the_file(pictures_inside: Path) -> None:
    dataset = read_pysaliency(pictures_inside)
    assert [dataset.image(index).shape for index in range(2)] == [(6, 8, 3)] * 2
    assert (dataset.image(1) == 200).all()


def test_fixation_trains(pictures_inside: Path, tmp_path: Path) -> None:
    path = tmp_path / "trains.hdf5"
    with h5py.File(path, "w") as file:
        marked(file, "FixationTrains", "1.2")
        file["train_xs"], file["train_ys"], file["train_ts"] = ROWS_X, ROWS_Y, ROWS_X
        file["train_ns"], file["train_subjects"] = [1, 0], [6, 8]
        file.create_group("scanpath_fixation_attributes")["durations"] = ROWS_X / 10
    found = read_pysaliency(pictures_inside, path)
    check_rows(found)
    assert found.fixations is not None
    np.testing.assert_allclose(found.fixations.duration, [0.3, 0.4, 0.5, 0.1, 0.2])


def test_scanpath_fixations(pictures_inside: Path, tmp_path: Path) -> None:
    path = tmp_path / "paths.hdf5"
    with h5py.File(path, "w") as file:
        marked(file, "ScanpathFixations", "1.0")
        paths = file.create_group("scanpaths")
        paths["xs"], paths["ys"], paths["n"], paths["lengths"] = ROWS_X, ROWS_Y, [1, 0], [2, 3]
        paths.create_group("scanpath_attributes")["subject"] = [6, 8]
        paths.create_group("fixation_attributes")["ts"] = ROWS_X
    check_rows(read_pysaliency(pictures_inside, path))


@pytest.mark.parametrize(("kind", "version"), [("Fixations", "9.0"), ("Scanpaths", "1.0")])
def test_another_format(pictures_inside: Path, tmp_path: Path, kind: str, version: str) -> None:
    path = tmp_path / "other.hdf5"
    with h5py.File(path, "w") as file:
        marked(file, kind, version)
    with pytest.raises(SparsightError, match=f"holds {kind} {version}, which is not read"):
        read_pysaliency(pictures_inside, path)


def test_fixations_on_images_that_are_not_there(pictures_inside: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.hdf5"
    with h5py.File(path, "w") as file:
        marked(file, "Fixations", "1.2", ("subject",))
        for name in ("x", "y", "t", "subject"):
            file[name] = [1.0, 2.0]
        file["n"] = [0, 2]
    with pytest.raises(SparsightError, match="it is about image 2 of 2"):
        read_pysaliency(pictures_inside, path)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.hdf5").write_bytes(b"nothing")
    with pytest.raises(SparsightError, match="not an HDF5 file"):
        read_pysaliency(tmp_path / "x.hdf5")
