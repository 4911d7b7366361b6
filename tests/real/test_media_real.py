"""Real films and pictures through the media room."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sparsight.media import VideoWriter, open_video, read_image

pytestmark = pytest.mark.real


def test_vtest_against_opencv(assets: Path) -> None:
    """Every frame is there, in place, at its time, and shows what OpenCV's reader shows."""
    film = assets / "mot" / "vtest.avi"
    capture = cv2.VideoCapture(str(film))
    with open_video(film) as reader:
        assert (reader.name, reader.fps, reader.frame_count, reader.size) == ("vtest", 10.0, 795, (768, 576))
        count = 0
        for frame in reader:
            good, bgr = capture.read()
            assert good
            if count % 53 == 0:
                difference = np.abs(frame.image.astype(int) - bgr[:, :, ::-1])
                assert difference.mean() < 1.5 and np.percentile(difference, 99) < 12
            assert frame.index == count and frame.time == pytest.approx(count / 10)
            count += 1
        assert count == 795 and not capture.read()[0]
        assert reader.complete


def test_motchallenge_folder(assets: Path) -> None:
    with open_video(assets / "mot" / "TUD-Stadtmitte") as reader:
        assert (reader.name, reader.fps, reader.frame_count, reader.size) == (
            "TUD-Stadtmitte",
            25.0,
            179,
            (640, 480),
        )
        frames = list(reader)
    assert len(frames) == 179 and reader.complete
    first = read_image(assets / "mot" / "TUD-Stadtmitte" / "img1" / "000001.jpg")
    np.testing.assert_array_equal(frames[0].image, first)


def test_a_truncated_vtest(assets: Path, tmp_path: Path) -> None:
    content = (assets / "mot" / "vtest.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 3])
    reader = open_video(tmp_path / "cut.avi")
    count = sum(1 for _ in reader)
    assert 200 < count < 330
    assert f"{count} of about 795 frames" in str(reader.warning)


def test_writing_vtest(assets: Path, tmp_path: Path) -> None:
    source = list(open_video(assets / "mot" / "vtest.avi", max_frames=120))
    with VideoWriter(tmp_path / "a.mp4", 10, (768, 576)) as writer:
        for frame in source:
            writer.write(frame.image, frame.time)
    copy = list(open_video(tmp_path / "a.mp4"))
    assert len(copy) == 120
    np.testing.assert_allclose([frame.time for frame in copy], [frame.time for frame in source], atol=1e-4)
    errors = [np.square(a.image.astype(float) - b.image).mean() for a, b in zip(source, copy, strict=True)]
    assert 10 * np.log10(255**2 / np.mean(errors)) > 34  # decibels
    assert (tmp_path / "a.mp4").stat().st_size < 1_500_000
