from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsight import SparsightError
from sparsight.app import outputs
from sparsight.app.outputs import camera_folders, check, check_folder, claimed, clear, folder_names
from sparsight.files import replacing


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "a", "a-2", "a"], ["a", "b", "a-2", "a-2-2", "a-3"]),
        (["Hall", "hall"], ["Hall", "hall-2"]),
        (["..", ".", "", " "], ["camera", "camera-2", "camera-3", "camera-4"]),
        (["gallery.sqlite", "Report.html"], ["gallery.sqlite-2", "Report.html-2"]),
        (["\udcff\udcfex", "日本"], ["??x", "日本"]),
    ],
)
def test_names_of_cameras_are_fit_for_folders(names: list[str], expected: list[str]) -> None:
    assert folder_names(names) == expected


def test_folders(tmp_path: Path) -> None:
    assert camera_folders(tmp_path, ["a"]) == [tmp_path]
    assert camera_folders(tmp_path, ["a", "b"]) == [tmp_path / "a", tmp_path / "b"]


def test_a_folder_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert not tree(tmp_path)


@pytest.mark.parametrize("below", [".", "x", "x/y"])
def test_a_file_where_the_folder_should_be(tmp_path: Path, below: str) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(SparsightError, match="out is a file, not a folder: choose another --gallery"):
        check_folder(tmp_path / "out" / below, "--gallery")


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(SparsightError, match="cannot be used: file name too long"):
        check_folder(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SparsightError, match="must not be written to"):
        check_folder(tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["video.mp4", "video.partial.mp4", "tracks.txt", "report.html", "identities.json", "thumbnails"]
)
def test_results_never_overwrite_what_is_read(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(SparsightError, match="would be overwritten by the results"):
        check(out, [out], [tmp_path / "link" / name])
    check(out, [out], [out / "other.mp4", tmp_path / name])


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        claimed(tmp_path, [tmp_path]),
        pytest.raises(SparsightError, match="another run"),
        claimed(tmp_path, [tmp_path]),
    ):
        pass
    with claimed(tmp_path, [tmp_path]):
        pass


def test_a_failure_leaves_no_empty_folder(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    folders = [out / "a", out / "b"]
    with pytest.raises(ZeroDivisionError), claimed(out, folders):
        (out / "a" / outputs.TRACKS).touch()
        _ = 1 / 0
    assert not tree(tmp_path)


def test_a_failure_keeps_what_has_content_and_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    folders = [tmp_path / "mine", tmp_path / "b"]
    with pytest.raises(ZeroDivisionError), claimed(tmp_path, folders):
        (tmp_path / "b" / outputs.TRACKS).write_text("1,1,1,1,1,1,1,-1,-1,-1\n")
        _ = 1 / 0
    assert tree(tmp_path) == {"mine", "b", "b/tracks.txt"}


def test_clearing_removes_results_and_nothing_else(tmp_path: Path) -> None:
    kept = [
        "notes.txt",
        "thumbnails/mine.jpg",
        ".video.mp4",
        "gallery.sqlite",
        "a/photo.jpg",
        ".report-x.html",
    ]
    gone = ["report.html", "identities.json", "thumbnails/12.jpg", "a/video.mp4", "a/tracks.txt"]
    gone += ["a/video.partial.mp4"]
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for target in (tmp_path / "report.html", tmp_path / "a" / "video.mp4"):
        with pytest.raises(KeyboardInterrupt), replacing(target) as temporary:
            half = temporary.read_bytes()
            raise KeyboardInterrupt
        temporary.write_bytes(half)  # as if the process had been killed in the block
    clear(tmp_path, [tmp_path / "a"])
    assert tree(tmp_path) == {*kept, "thumbnails", "a"}
