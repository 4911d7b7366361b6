from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sparsight import SparsightError
from sparsight.track import formats
from sparsight.track.formats.folders import convert_folder

LINE = "{}\t(25, 30)\t{}\t[10 20 30 40]\t[10 20 40 60]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "posetreid"
    place.mkdir()
    for video in ("hall.mp4", "yard.mp4"):
        (place / f"truth of {video}.txt").write_text(LINE.format(0, "Ann") + LINE.format(7, "Bo"))
    (place / "gt_map.txt").write_text("hall.mp4:truth of hall.mp4.txt\nyard.mp4:truth of yard.mp4.txt\n")
    return place


def test_to_the_other_layout_and_back(folder: Path, tmp_path: Path) -> None:
    done = convert_folder(folder, tmp_path / "csv", "csv")
    assert (done.rows, done.left_out, done.rounded) == (4, (), 0)
    assert {str(path.relative_to(tmp_path / "csv")) for path in (tmp_path / "csv").rglob("*.txt")} == {
        "hall.mp4/gt/gt.txt", "yard.mp4/gt/gt.txt",
    }  # fmt: skip
    convert_folder(tmp_path / "csv", tmp_path / "back", "pyppbox")
    assert (tmp_path / "back" / "gt_map.txt").read_text() == "hall.mp4:hall.mp4.txt\nyard.mp4:yard.mp4.txt\n"
    for video in ("hall.mp4", "yard.mp4"):
        before = (folder / f"truth of {video}.txt").read_bytes()
        assert (tmp_path / "back" / f"{video}.txt").read_bytes() == before
    assert convert_folder(folder, tmp_path / "mot", "mot").left_out == ("name", "point_x", "point_y")
    table = formats.read(tmp_path / "mot" / "yard.mp4" / "gt" / "gt.txt")
    np.testing.assert_array_equal(table.frame, [0, 7])


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    convert_folder(folder, tmp_path / "csv", "csv")
    back = convert_folder(tmp_path / "csv", tmp_path / "back", "pyppbox")
    assert back.rows == 4
    for source, to in ((tmp_path / "csv", "csv"), (tmp_path / "back", "pyppbox")):
        with pytest.raises(SparsightError, match="would be overwritten by the result"):
            convert_folder(source, source, to)
    with pytest.raises(SparsightError, match="holds no ground truth"):
        convert_folder(tmp_path / "csv" / "hall.mp4", tmp_path / "no", "csv")
    for name in ("../hall.mp4", "..", "a/b"):
        (folder / "gt_map.txt").write_text(f"{name}:truth of hall.mp4.txt\n")
        with pytest.raises(SparsightError, match="is no name of a file alone"):
            convert_folder(folder, tmp_path / "no" / "no", "csv")
    assert not (tmp_path / "no").exists()
