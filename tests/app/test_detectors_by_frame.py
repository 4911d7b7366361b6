"""Detections from a file stay with their frames when frames are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scene import film

from sparsight.app.track_run import track_source
from sparsight.track.motchallenge import read

FRAMES = 24


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("name", ["mot", "groundtruth"])
def test_frames_keep_their_detections(tmp_path: Path, name: str, every: int) -> None:
    video = film(tmp_path / "film.mp4", {}, FRAMES)  # nothing is to be seen in it
    text = tmp_path / "det.txt"
    text.write_text("".join(f"{n},7,{10 + n},20,20,40,1\n" for n in range(1, FRAMES + 1)))
    track_source(str(video), tmp_path / "out", detector=f"{name}:{text}", every=every, device="cpu")
    rows = read(tmp_path / "out" / "tracks.txt")
    assert len(rows) > FRAMES / every / 2
    assert set(np.diff(rows.frame).tolist()) == {every}
    # Tracks smooth what they follow, but with each frame left out a wrong one is off by more.
    np.testing.assert_allclose(rows.xywh[:, 0], 10 + rows.frame, atol=0.9)
