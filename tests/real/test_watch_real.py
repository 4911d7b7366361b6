"""The command ``watch`` end to end: real film, real networks, every file that it writes."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest

from sparsight.app.sights import UNIDENTIFIED_FROM
from sparsight.media import open_video
from sparsight.track import formats, motchallenge
from sparsight.track.metrics import pyppbox

pytestmark = pytest.mark.real

FRAMES = 60
MOT_LINE = re.compile(r"\d+,\d+(,-?\d+\.\d\d){4},\d\.\d{4},-1,-1,-1 *")


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sparsight", *map(str, arguments), "--device", "cpu"],
        env={**os.environ, "SPARSIGHT_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def watch(*arguments: str | Path) -> str:
    """Run ``watch`` to its end; what it printed."""
    process = command("watch", *arguments)
    output, errors = process.communicate(timeout=500)
    if process.returncode == 2 and "cannot get the asset" in errors:
        pytest.skip(f"the weights are not here: {errors}")
    assert process.returncode == 0, errors
    return output


def film(path: Path) -> tuple[Any, int]:
    """The video stream's description, and how many frames can be decoded."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shape = (stream.codec_context.name, stream.codec_context.pix_fmt, stream.width, stream.height)
        return shape, sum(1 for _ in container.decode(stream))


def people(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "identities.json").read_text())["identities"]
    return rows


def agree(out: Path, size: tuple[int, int]) -> None:
    """Tracks and identities tell of the same people, in boxes that lie in the picture."""
    rows = motchallenge.read(out / "tracks.txt")
    known = rows.id < UNIDENTIFIED_FROM
    assert set(rows.id[known].tolist()) == {one["id"] for one in people(out)}
    for one in people(out):
        assert one["frames"] == np.count_nonzero(rows.id == one["id"])
        assert one["first_seen"] <= one["last_seen"]
        assert (out / one["thumbnail"]).read_bytes().startswith(b"\xff\xd8")
    for frame in np.unique(rows.frame):
        here = rows.id[rows.frame == frame]
        assert len(here) == len(set(here.tolist()))  # nobody is in two places
    middle = (rows.xyxy[:, :2] + rows.xyxy[:, 2:]) / 2
    assert (middle > -20).all() and (middle < np.array(size) + 20).all()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run over the beginning of ``vtest.avi`` left."""
    out = tmp_path_factory.mktemp("watch") / "out"
    output = watch("vtest.avi", "--max-frames", str(FRAMES), "--out", out)
    assert all(f"{out / name}" in output for name in ("video.mp4", "tracks.txt", "identities.json"))
    assert output.rstrip().endswith(str(out / "report.html"))
    return out


def test_the_film_plays_in_a_browser(watched: Path) -> None:
    assert film(watched / "video.mp4") == (("h264", "yuv420p", 2 * 768, 576), FRAMES)


def test_tracks_and_identities(watched: Path, assets: Path) -> None:
    agree(watched, (768, 576))
    truth = motchallenge.read(assets / "mot" / "PETS09-S2L1" / "gt" / "gt.txt")
    present = len(np.unique(truth.id[(truth.frame <= FRAMES) & (truth.score > 0)]))
    assert abs(len(people(watched)) - present) <= 0.5 * present
    assert max(one["last_seen"] for one in people(watched)) <= FRAMES / 10


def test_the_report_holds_everything(watched: Path) -> None:
    page = (watched / "report.html").read_text()
    assert not re.search(r"https?://(?!www\.w3\.org/)|<script|<link|@import|url\((?!data:)", page)
    sources = re.findall(r'<img[^>]*\ssrc="([^"]*)"', page)
    assert len(sources) > len(people(watched))
    for source in sources:
        head, data = source.split(",", 1)
        assert head == "data:image/jpeg;base64"
        PIL.Image.open(io.BytesIO(base64.b64decode(data, validate=True))).load()
    for stage in ("read", "detect", "track", "re-identify", "saliency", "draw", "write"):
        assert stage in page


def test_the_next_run_knows_them_again(watched: Path) -> None:
    before = {one["id"] for one in people(watched)}
    out = watched.with_name("again")
    options = ["--gallery", watched / "gallery.sqlite", "--no-saliency", "--out", out]
    watch("vtest.avi", "--max-frames", str(FRAMES), *options)
    after = {one["id"] for one in people(out)}
    assert len(after & before) >= 0.8 * len(after)
    assert film(out / "video.mp4") == (("h264", "yuv420p", 768, 576), FRAMES)


def test_a_folder_of_pictures(assets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sequence = assets / "mot" / "TUD-Campus"
    watch(sequence, "--detector", "yolox_nano", "--no-saliency", "--out", out)
    assert film(out / "video.mp4") == (("h264", "yuv420p", 640, 480), 71)
    agree(out, (640, 480))
    assert all(one["cameras"] == ["TUD-Campus"] for one in people(out))


def crops_of(assets: Path, sequence: str, film: Path, frames: int, every: int, out: Path) -> None:
    """A folder of crops per person, cut by the ground truth from the beginning of a sequence."""
    truth = motchallenge.read(assets / "mot" / sequence / "gt" / "gt.txt")
    for frame in itertools.islice(open_video(str(film), max_frames=frames), 0, None, every):
        height, width = frame.image.shape[:2]
        here = truth.frame == frame.index + 1
        for who, box in zip(
            truth.id[here].tolist(), truth.xyxy[here].round().astype(int).tolist(), strict=True
        ):
            x0, y0, x1, y1 = (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))
            if (x1 - x0) * (y1 - y0) < 0.9 * (box[2] - box[0]) * (box[3] - box[1]):
                continue
            place = out / f"{sequence} {who}"
            place.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(frame.image[y0:y1, x0:x1]).save(place / f"{frame.index:04d}.png")


def test_from_crops_to_names_to_the_same_score_online_and_offline(assets: Path, tmp_path: Path) -> None:
    """PoseTReID's pipeline by commands alone: train on the beginning of a film, name people in all of it."""
    campus = assets / "mot" / "TUD-Campus"
    crops_of(assets, "TUD-Campus", campus / "img1", 40, 2, tmp_path / "crops")
    crops_of(assets, "PETS09-S2L1", assets / "mot" / "vtest.avi", 300, 15, tmp_path / "crops")
    for folder in list((tmp_path / "crops").iterdir()):
        if len(list(folder.iterdir())) < 5:
            shutil.rmtree(folder)
    rows = motchallenge.read(campus / "gt" / "gt.txt")
    named = tmp_path / "truth.csv"
    boxes = zip(rows.frame.tolist(), rows.id.tolist(), rows.xywh.tolist(), strict=True)
    lines = [f"{frame - 1},{who},{x},{y},{w},{h},TUD-Campus {who}\n" for frame, who, (x, y, w, h) in boxes]
    named.write_text("".join(["frame,id,x,y,w,h,name\n", *lines]))

    def sparsight(*arguments: str | Path) -> str:
        process = command(*arguments)
        output, errors = process.communicate(timeout=500)
        if process.returncode == 2 and "cannot get the asset" in errors:
            pytest.skip(f"the weights are not here: {errors}")
        assert process.returncode == 0, errors
        return output

    model, out = tmp_path / "people.npz", tmp_path / "out"
    sparsight("identity", "train", tmp_path / "crops", "--kind", "cosine", "--far", "0.2", "--out", model)
    detector = f"groundtruth:{campus / 'gt' / 'gt.txt'}"
    more = ("--detector", detector, "--groundtruth", named, "--no-saliency", "--out", out)
    sparsight("watch", campus, "--people", model, *more)
    online = json.loads((out / "score.json").read_text())
    assert online["total"] == len(rows)
    assert online["score"] > 0.8
    assert online == pyppbox.evaluate(named, out / "people.txt", spread=16)
    table = formats.read(out / "people.txt")
    assert np.mean(table.columns["name"] == "Unknown") < 0.2
    assert {one["name"] for one in people(out)} >= {f"TUD-Campus {who}" for who in (2, 3, 4)}


def test_a_kill_at_any_moment_loses_next_to_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    watch("vtest.avi", "--max-frames", "5", "--no-saliency", "--out", out)
    pick = random.Random(1)
    for _ in range(5):
        partial = out / "video.partial.mp4"
        partial.unlink(missing_ok=True)
        process = command("watch", "vtest.avi", "--no-saliency", "--out", out)
        deadline = time.monotonic() + 60
        while not partial.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(pick.uniform(0, 8))
        process.kill()
        process.communicate()
        assert all(MOT_LINE.fullmatch(line) for line in (out / "tracks.txt").read_text().splitlines())
        assert (out / "tracks.txt").read_text()[-1:] in ("", "\n")
        with sqlite3.connect(out / "gallery.sqlite") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        if (out / "identities.json").exists():
            people(out)
        if partial.stat().st_size > 2000:
            rows = motchallenge.read(out / "tracks.txt")
            # Fragments are of a second; the rest waits in the encoder.
            assert film(partial)[1] >= rows.frame.max(initial=0) - 25
    watch("vtest.avi", "--max-frames", "5", "--no-saliency", "--out", out)
    assert not list(out.glob("*partial*")) and not list(out.glob(".video*"))
    assert film(out / "video.mp4")[1] == 5
