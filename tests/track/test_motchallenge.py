from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.track import Tracks
from sparsight.track.motchallenge import TrackWriter, format_rows, read, read_info

PAGE = 4096


def some_tracks(rng: np.random.Generator, count: int, extent: float = 2000) -> Tracks:
    corner = rng.uniform(-50, extent, (count, 2))
    return Tracks(
        xyxy=np.concatenate((corner, corner + rng.uniform(1, 300, (count, 2))), axis=1),
        id=rng.permutation(count * 3)[:count] + 1,
        score=rng.random(count),
    )


def test_reads_ten_columns(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("2,7,10.5,20,30,40,1,-1,-1,-1\n1,-1, 1,2,3,4 ,0.25,-1,-1,-1\r\n\n2,8,0,0,5,5,0,-1,-1,-1")
    rows = read(path)
    assert rows.frame.tolist() == [1, 2, 2]
    assert rows.id.tolist() == [-1, 7, 8]
    assert rows.score.tolist() == [0.25, 1, 0]
    assert rows.xywh[1].tolist() == [10.5, 20, 30, 40]
    assert rows.xyxy[1].tolist() == [10.5, 20, 40.5, 60]
    assert rows.class_id is None
    assert [len(d) for d in rows.detections()] == [1, 2]
    assert [len(d) for d in rows.detections(4)] == [1, 2, 0, 0]
    assert next(rows.detections()).xyxy.tolist() == [[1, 2, 4, 6]]


def test_reads_class_and_visibility_of_nine_columns(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text("1,1,912,484,97,109,0,7,1\n1,2,1338,418,167,379,1,1,0.86014\n")
    rows = read(path)
    assert rows.class_id is not None
    assert rows.visibility is not None
    assert rows.class_id.tolist() == [7, 1]
    assert rows.visibility.tolist() == [1, 0.86014]


def test_reads_files_without_scores_and_empty_ones(tmp_path: Path) -> None:
    path = tmp_path / "det.txt"
    path.write_text("3,1,0,0,5,5\n")
    assert read(path).score.tolist() == [1]
    path.write_text("\n \n")
    assert len(read(path)) == 0
    assert list(read(path).by_frame()) == []


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("1,1,0,0,5,5,1\n1,2,zero,0,5,5,1\n", 2, "expected numbers"),
        ("1,1,0,0,5,5,1\n\n1,2,0,0,5,5\n", 3, "expected 7 columns"),
        ("1,1,0,0,5\n", 1, "at least 6 columns"),
        ("1 1 0 0 5 5 1\n", 1, "expected numbers"),
        ("1,1,0,0,5,5,1\n0,1,0,0,5,5,1\n", 2, "frame number"),
        ("\n-3,1,0,0,5,5,1\n", 2, "frame number"),
        ("1.5,1,0,0,5,5,1\n", 1, "frame number"),
        ("1e300,1,0,0,5,5,1\n", 1, "frame number"),
        ("1,1.5,0,0,5,5,1\n", 1, "whole number"),
        ("1,1,0,0,-5,5,1\n", 1, "not negative"),
        ("1,1,0,0,5,5,1\n2,1,nan,0,5,5,1\n", 2, "finite"),
        ("1,1,0,0,inf,5,1\n", 1, "finite"),
        ("<html>\n", 1, "expected numbers"),
        ("1,1,0,0,5,5," + "9" * 500 + "x\n", 1, r"\.\.\.'"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(SparsightError, match=rf"bad\.txt, line {line}: .*{said}") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "video.txt"
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(SparsightError, match="cannot be read"):
        read(path)
    with pytest.raises(SparsightError, match="cannot be read"):
        read(tmp_path / "missing.txt")
    with pytest.raises(SparsightError, match="cannot be read"):
        read(tmp_path)


def test_reads_sequence_information(tmp_path: Path) -> None:
    text = "[Sequence]\nname=A%B\nimDir=img1\nframeRate=7.5\nseqLength=795\nimWidth=768\nimHeight=576\n"
    (tmp_path / "seqinfo.ini").write_text(text)
    for path in (tmp_path, tmp_path / "seqinfo.ini"):
        info = read_info(path)
        assert (info.name, info.length, info.frame_rate) == ("A%B", 795, 7.5)
        assert (info.width, info.height) == (768, 576)


@pytest.mark.parametrize(
    "text", ["", "[Sequence]\nname=A\n", "nonsense", "[Sequence]\nname=A\nseqLength=x\n"]
)
def test_bad_sequence_information(tmp_path: Path, text: str) -> None:
    (tmp_path / "seqinfo.ini").write_text(text)
    with pytest.raises(SparsightError, match=r"seqinfo\.ini") as caught:
        read_info(tmp_path)
    assert "\n" not in str(caught.value)


def test_rows_in_the_benchmark_layout() -> None:
    tracks = Tracks([[1.5, 2, 11.25, 22], [0, 0, 5, 5]], [3, 12], [0.87654, 1])
    assert format_rows(5, tracks) == (
        "5,3,1.50,2.00,9.75,20.00,0.8765,-1,-1,-1\n5,12,0.00,0.00,5.00,5.00,1.0000,-1,-1,-1\n"
    )
    assert format_rows(5, Tracks.empty()) == ""


def test_rows_that_cannot_be_written() -> None:
    tracks = Tracks([[0, 0, np.inf, 5]], [1], [1])
    with pytest.raises(SparsightError, match="frame 3 holds a box"):
        format_rows(3, tracks)
    with pytest.raises(SparsightError, match="from 1"):
        format_rows(0, Tracks.empty())


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), counts=st.lists(st.integers(0, 120), min_size=1, max_size=30))
def test_what_is_written_is_read_and_pages_end_with_lines(
    tmp_path_factory: pytest.TempPathFactory, seed: int, counts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path_factory.mktemp("tracks") / "tracks.txt"
    frames = [some_tracks(rng, count, extent=10 ** rng.integers(1, 9)) for count in counts]
    with TrackWriter(path) as writer:
        for index, tracks in enumerate(frames):
            writer.write(index + 1, tracks)
    data = path.read_bytes()
    assert all(data[end - 1 : end] == b"\n" for end in range(PAGE, len(data) + 1, PAGE))
    rows = read(path)
    for tracks, part in zip(frames, rows.by_frame(len(frames)), strict=True):
        assert rows.id[part].tolist() == tracks.id.tolist()
        # Two decimals; float32 itself is coarser for the largest numbers.
        np.testing.assert_allclose(rows.xyxy[part], tracks.xyxy, atol=0.011, rtol=1e-6)
        np.testing.assert_allclose(rows.score[part], tracks.score, atol=1e-4)


def test_each_write_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tracks.txt"
    writer = TrackWriter(path)
    writer.write(1, Tracks([[0, 0, 5, 5]], [1], [1]))
    assert path.read_text().startswith("1,1,")
    writer.close()
    writer.close()


def test_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SparsightError, match="cannot be written"):
        TrackWriter(tmp_path / "file" / "tracks.txt")
    with pytest.raises(SparsightError, match="cannot be written"):
        TrackWriter(tmp_path)


WRITE = """
import sys
import numpy as np
from sparsight.track import Tracks
from sparsight.track.motchallenge import TrackWriter
rng = np.random.default_rng(0)
with TrackWriter(sys.argv[1]) as writer:
    print("ready", flush=True)
    for frame in range(1, int(sys.argv[2])):
        count = int(rng.integers(0, 200))
        corner = rng.uniform(0, 2000, (count, 2))
        boxes = np.concatenate((corner, corner + 50), axis=1)
        writer.write(frame, Tracks(boxes, np.arange(1, count + 1), np.ones(count)))
"""


def assert_whole(path: Path) -> None:
    data = path.read_bytes()
    assert data == b"" or data.endswith(b"\n")
    rows = read(path)
    for part in rows.by_frame():
        assert rows.id[part].tolist() == list(range(1, part.stop - part.start + 1))


def test_killed_at_any_moment(tmp_path: Path) -> None:
    moment = random.Random(0)
    for attempt in range(6):
        path = tmp_path / f"{attempt}.txt"
        process = subprocess.Popen([sys.executable, "-c", WRITE, path, "1000000000"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(moment.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert_whole(path)


@pytest.mark.skipif(os.name != "posix", reason="limits the size of a file")
@pytest.mark.parametrize("limit", [10_000, PAGE * 3, PAGE * 3 + 1])
def test_no_room_left(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "tracks.txt"
    process = subprocess.run(
        [sys.executable, "-c", WRITE, path, "1000"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert f"SparsightError: {path} cannot be written to" in process.stderr
    assert 0 < path.stat().st_size <= limit
    assert_whole(path)
