"""``track compare`` on ground truth as PoseTReID, KITTI and CSV have it, and on its folders."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scene import ColourDetector, ColourEmbedder, film
from typer.testing import CliRunner

from sparsight import SparsightError
from sparsight.app import track_compare
from sparsight.app.track_cmd import track_app
from sparsight.track import detect as detecting
from sparsight.track import formats, sequences
from sparsight.track.metrics import evaluate, pyppbox

PATHS: dict[str, Any] = {
    "red": lambda t: (20, 10 + t),
    "green": lambda t: (60, 20 + t // 2) if not 20 <= t < 26 else None,
}
NAMES = {"red": "Rita", "green": "Greta"}
FRAMES = 60


def lines() -> list[str]:
    rows = []
    for t in range(FRAMES):
        for colour, path in PATHS.items():
            if (corner := path(t)) is not None:
                x, y = corner
                rows.append(
                    f"{t}\t({x}, {y})\t{NAMES[colour]}\t[{x} {y} 12 24]\t[{x} {y} {x + 12} {y + 24}]\n"
                )
    return rows


@pytest.fixture
def posetreid(tmp_path: Path) -> Path:
    """A folder as PoseTReID's: a map, the ground truth of two videos, and the videos."""
    folder = tmp_path / "posetreid"
    for name in ("hall.mp4", "yard.mp4"):
        film(folder / name, PATHS, FRAMES)
        (folder / f"{name}.txt").write_text("".join(lines()))
    (folder / "gt_map.txt").write_text("hall.mp4:hall.mp4.txt\nyard.mp4:yard.mp4.txt\n")
    return folder


def compare(folder: Path, **more: Any) -> list[track_compare.Compared]:
    chosen: dict[str, Any] = {"detectors": ["groundtruth"], "trackers": ["sort"], "reids": ["none"], **more}
    return track_compare.compare(folder, **chosen)


@pytest.mark.parametrize("format", ["pyppbox", "csv", "kitti", "mot"])
def test_ground_truth_in_any_format_gives_the_same_figures(tmp_path: Path, format: str) -> None:
    (tmp_path / "truth.txt").write_text("".join(lines()))
    place = tmp_path / "set" / "a" / "gt"
    place.mkdir(parents=True)
    formats.convert(tmp_path / "truth.txt", tmp_path / "table.csv", "csv")
    formats.convert(tmp_path / "table.csv", place / "gt.txt", format)
    if format == "kitti":
        text = (place / "gt.txt").read_text().replace("Unknown", "Pedestrian")
        (place / "gt.txt").write_text(text)
    (sequence,) = sequences.find(tmp_path / "set")
    assert (sequence.name, sequence.length) == ("a", FRAMES)
    assert sequence.names == (format in ("pyppbox", "csv"))
    *_, together = compare(tmp_path / "set")
    # An independent way: the tracks in a file, and the file evaluated.
    found, _ = sequences.detected(sequence, "groundtruth")
    tracks, _ = sequences.followed(sequence, found, track_compare.built("sort"))
    rows = sequences.rows_of(tracks)
    np.savetxt(tmp_path / "tracks.txt", rows, delimiter=",", fmt="%.6f")
    values = evaluate(place / "gt.txt", tmp_path / "tracks.txt")
    assert together.hota == pytest.approx(values["hota"]["HOTA"].mean())
    assert together.idf1 == pytest.approx(values["identity"]["IDF1"])
    assert together.hota > 0.6
    assert (together.score is None) == (format in ("kitti", "mot"))


def test_a_map_names_the_videos(posetreid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detecting, "build_detector", lambda name, device: ColourDetector())
    found = compare(posetreid, detectors=["groundtruth", "colours"])
    assert [(one.detector, one.sequence) for one in found] == [
        (detector, name) for detector in ("groundtruth", "colours") for name in ("hall.mp4", "yard.mp4", None)
    ]
    # The score, counted by hand on the same tracks: green's first number is hers, her second somebody else's.
    sequence = sequences.find(posetreid)[0]
    tracks, _ = sequences.followed(
        sequence, sequences.detected(sequence, "groundtruth")[0], track_compare.built("sort(max_age=2)")
    )
    ((_, entry, _),) = [compare(posetreid, trackers=["sort(max_age=2)"])]
    said = {1: "Rita", 2: "Greta", 3: "3"}
    assert {int(number) for one in tracks for number in one.id} == set(said)
    rows = [
        f"{frame}\t(0, 0)\t{said[number]}\t[{x} {y} {r - x} {b - y}]\t[{x} {y} {r} {b}]\n"
        for frame, one in enumerate(tracks)
        for number, (x, y, r, b) in zip(one.id.tolist(), one.xyxy.round().astype(int).tolist(), strict=True)
    ]
    (posetreid / "by_hand.txt").write_text("".join(rows))
    expected = pyppbox.evaluate(posetreid / "hall.mp4.txt", posetreid / "by_hand.txt", spread=16)
    assert expected["wrong"] > 20
    assert entry.score == expected["score"]


def test_the_column_is_there_where_names_are(posetreid: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["compare", str(posetreid), "--detector", "groundtruth", "--out", str(out)]
    said = CliRunner(env={"COLUMNS": "120"}).invoke(track_app, arguments, catch_exceptions=False).output
    assert "score" in said.splitlines()[0]
    assert (
        "<th" in (out / "comparison.html").read_text() and ">score<" in (out / "comparison.html").read_text()
    )
    numbers = tmp_path / "numbers" / "a" / "gt"
    numbers.mkdir(parents=True)
    formats.convert(posetreid / "hall.mp4.txt", numbers / "gt.txt", "mot")
    arguments[1] = str(tmp_path / "numbers")
    said = CliRunner(env={"COLUMNS": "120"}).invoke(track_app, arguments, catch_exceptions=False).output
    assert "score" not in said
    assert ">score<" not in (out / "comparison.html").read_text()


def test_a_name_twice_in_a_frame_is_told_and_is_two_people(
    posetreid: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = lines()
    (posetreid / "hall.mp4.txt").write_text(
        "".join([*text, f"{FRAMES - 1}\t(9, 9)\tRita\t[9 9 5 5]\t[9 9 14 14]\n"])
    )
    with caplog.at_level(logging.WARNING):
        first, *_ = compare(posetreid)
    assert "hall.mp4.txt has 1 rows of somebody who stands in the frame already" in caplog.text
    assert first.hota > 0.6
    with pytest.raises(SparsightError, match="stands in this frame already"):
        evaluate(posetreid / "hall.mp4.txt", posetreid / "yard.mp4.txt")


def test_nothing_is_embedded_twice(posetreid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = 0

    class Counting(ColourEmbedder):
        def __call__(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal boxes
            boxes += len(xyxy)
            return super().__call__(image, xyxy)

    monkeypatch.setattr(track_compare, "build_embedder", lambda name, device: Counting())
    compare(posetreid, trackers=["deepsort"], reids=["colours"])
    assert boxes == 2 * len(lines())
