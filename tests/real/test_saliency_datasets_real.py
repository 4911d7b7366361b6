"""The readers on the real files of OSIE and SOD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from sparsight.saliency.datasets import load, read_pysaliency, write_pysaliency
from sparsight.saliency.datasets.matlab import read_variable

pytestmark = pytest.mark.real


def test_osie(assets: Path) -> None:
    root = assets / "saliency" / "osie"
    dataset = load("osie", root)
    assert len(dataset) == 700
    assert dataset.names[:2] == ("1001", "1002") and dataset.names[-1] == "1700"
    fixations = dataset.fixations
    assert fixations is not None and len(fixations) == 98_321
    assert set(fixations.subject.tolist()) == set(range(15))
    # SciPy reads the same, record by record.
    records = loadmat(root / "eye" / "fixations.mat", squeeze_me=True, struct_as_record=False)["fixations"]
    for index in range(0, 700, 37):
        assert f"{dataset.names[index]}.jpg" == records[index].img
        here = fixations.of(index)
        viewers = records[index].subjects
        for name, values, scale in (
            ("fix_x", fixations.x, 1.0),
            ("fix_y", fixations.y, 1.0),
            ("fix_duration", fixations.duration, 1e-3),
        ):
            theirs = np.concatenate([np.atleast_1d(getattr(viewer, name)) for viewer in viewers])
            np.testing.assert_allclose(values[here], theirs * scale)
    assert 0.05 < np.median(fixations.duration) < 0.5
    sizes = np.tile([600, 800], (700, 1))
    assert fixations.inside(sizes).all()
    assert {dataset.size(index) for index in range(0, 700, 50)} == {(600, 800)}
    assert dataset.image(699).shape == (600, 800, 3)


def test_osie_through_the_files_of_pysaliency(assets: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    dataset = load("osie", assets / "saliency" / "osie")
    stimuli, fixations = write_pysaliency(dataset, tmp_path)
    again = read_pysaliency(stimuli, fixations)
    assert again.names == dataset.names
    assert again.fixations is not None and dataset.fixations is not None
    for name in ("x", "y", "duration", "subject", "image"):
        np.testing.assert_array_equal(getattr(again.fixations, name), getattr(dataset.fixations, name))
    np.testing.assert_array_equal(again.image(5), dataset.image(5))


def test_a_real_matlab_file_reads_as_scipy_reads_it(assets: Path) -> None:
    path = assets / "saliency" / "osie" / "eye" / "fixations.mat"
    ours, theirs = read_variable(path, "fixations"), loadmat(path)["fixations"]
    assert ours.shape == theirs.shape
    for index in (0, 350, 699):
        own, their = ours[index, 0][0, 0], theirs[index, 0][0, 0]
        assert own["img"] == their["img"]
        for viewer in range(15):
            one, other = own["subjects"][viewer, 0][0, 0], their["subjects"][viewer, 0][0, 0]
            for name in ("fix_x", "fix_y", "fix_duration"):
                np.testing.assert_array_equal(one[name], other[name])


def test_sod(assets: Path) -> None:
    dataset = load("sod", assets / "saliency" / "sod")
    assert len(dataset) == 300
    for index in range(0, 300, 7):
        mask = dataset.mask(index)
        assert mask is not None
        assert mask.shape == dataset.size(index) == dataset.image(index).shape[:2]
        assert 0 < mask.mean() < 1
