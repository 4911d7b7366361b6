from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene import COLOURS, SIZE, ColourDetector, ColourEmbedder, film

from sparsight import SparsightError
from sparsight.app import watch as watch_module
from sparsight.app.watch import WatchOptions, watch
from sparsight.media import open_video
from sparsight.track import Gallery, Tracks, motchallenge
from sparsight.track.identify import Identities


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detector and embedder that see coloured squares; all the rest is real."""
    monkeypatch.setattr(watch_module, "build_detector", lambda name, device: ColourDetector())
    monkeypatch.setattr(watch_module, "build_embedder", lambda name, device: ColourEmbedder())


PATHS: dict[str, Any] = {
    "red": lambda t: (20, 10 + t),
    "green": lambda t: (60, 20 + t / 2) if not 40 <= t < 75 else None,
}


def options(source: Path, out: Path, **more: Any) -> WatchOptions:
    return WatchOptions(sources=(str(source),), out=out, saliency=False, **more)


def identities(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "identities.json").read_text())["identities"]
    return rows


def test_somebody_who_leaves_and_returns_is_the_same_person(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = watch(options(film(tmp_path / "a.mp4", PATHS, 110), out))
    assert result.frames == 110
    people = identities(out)
    assert len(people) == len(result.people) == 2
    assert sorted(len(one["tracks"]) for one in people) == [1, 2]
    assert all((out / one["thumbnail"]).read_bytes().startswith(b"\xff\xd8") for one in people)

    rows = motchallenge.read(out / "tracks.txt")
    assert set(np.unique(rows.id).tolist()) == {one["id"] for one in people}
    returning = next(one["id"] for one in people if len(one["tracks"]) == 2)
    boxes = rows.xyxy[rows.id == returning]
    frames = rows.frame[rows.id == returning]
    expected = [[60, 20 + (t - 1) / 2, 72, 44 + (t - 1) / 2] for t in frames]
    assert np.abs(boxes - expected).max() < 4
    assert frames.min() < 5 and frames.max() == 110


def test_the_video_shows_every_frame_and_the_report_holds_everything(tmp_path: Path) -> None:
    out = tmp_path / "out"
    watch(options(film(tmp_path / "a.mp4", PATHS, 60), out))
    reader = open_video(out / "video.mp4")
    frames = list(reader)
    assert len(frames) == 60
    assert reader.size == SIZE
    assert frames[-1].time == pytest.approx(5.9, abs=0.01)
    page = (out / "report.html").read_text()
    assert "person 1" in page and "data:image/jpeg;base64," in page
    assert "http://" not in page and "https://" not in page and "<script" not in page


def test_a_second_run_on_the_same_gallery_knows_everybody_again(tmp_path: Path) -> None:
    gallery = tmp_path / "people.sqlite"
    first = tmp_path / "a.mp4", tmp_path / "one"
    second = tmp_path / "b.mp4", tmp_path / "two"
    watch(options(film(first[0], PATHS, 40), first[1], gallery=gallery))
    before = {one["id"] for one in identities(first[1])}
    other_way = {"green": lambda t: (100, 60), "red": lambda t: (130 - t, 40)}
    watch(options(film(second[0], other_way, 40), second[1], gallery=gallery))
    assert {one["id"] for one in identities(second[1])} == before
    assert not (second[1] / "gallery.sqlite").exists()


def test_rows_follow_a_decision_that_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fickle:
        """Takes red (on the left) for person 5, then green for 5 and red for nobody, then red for 6."""

        def __init__(self, *_: Any, **__: Any) -> None:
            self.frames = 0

        def update(self, frame: Any, tracks: Tracks, timestamp: float) -> Identities:
            self.frames += 1
            red, green = ((5, -1), (-1, 5), (6, 5))[(self.frames > 20) + (self.frames > 30)]
            person = np.where(tracks.xyxy[:, 0] < 40, red, green)
            return Identities(person, np.full(len(tracks), np.nan, np.float32), np.zeros(len(tracks)))

        def finish(self) -> dict[int, int]:
            return {}

        def matches(self) -> list[Any]:
            return []

        tracklets = corrected = matches

    monkeypatch.setattr(watch_module, "Identifier", Fickle)
    out = tmp_path / "out"
    paths: dict[str, Any] = {"red": lambda t: (20, 10 + t), "green": lambda t: (60, 20 + t)}
    watch(options(film(tmp_path / "a.mp4", paths, 40), out))
    rows = motchallenge.read(out / "tracks.txt")
    assert set(rows.id[rows.xyxy[:, 0] < 40].tolist()) == {6}
    assert set(rows.id[rows.xyxy[:, 0] > 40].tolist()) == {5}
    for one in identities(out):
        assert one["frames"] == np.count_nonzero(rows.id == one["id"])


def test_names_given_in_the_gallery_are_shown(tmp_path: Path) -> None:
    gallery = tmp_path / "people.sqlite"
    video = film(tmp_path / "a.mp4", PATHS, 40)
    watch(options(video, tmp_path / "one", gallery=gallery))
    with Gallery(gallery) as people:
        people.rename(1, "<b>Anna</b>")
    watch(options(video, tmp_path / "two", gallery=gallery))
    assert "<b>Anna</b>" in {one["name"] for one in identities(tmp_path / "two")}
    page = (tmp_path / "two" / "report.html").read_text()
    assert "&lt;b&gt;Anna&lt;/b&gt;" in page and "<b>Anna</b>" not in page


def two_films(tmp_path: Path) -> tuple[str, ...]:
    """Red walks before both cameras at once."""
    paths = (("a", lambda t: (20, 10 + t)), ("b", lambda t: (100 - t, 60)))
    return tuple(str(film(tmp_path / folder / "cam.mp4", {"red": path}, 40)) for folder, path in paths)


def test_two_cameras_of_one_place_share_the_people(tmp_path: Path) -> None:
    out = tmp_path / "out"
    places = (("cam", "cam-2"),)
    watch(WatchOptions(sources=two_films(tmp_path), out=out, saliency=False, same_place=places))
    (person,) = identities(out)
    assert person["cameras"] == ["cam", "cam-2"]
    assert (out / "cam" / "tracks.txt").exists() and (out / "cam-2" / "video.mp4").exists()


def test_nobody_is_at_two_places_at_once_and_films_give_the_same_every_time(tmp_path: Path) -> None:
    sources = two_films(tmp_path)
    told = []
    for turn in range(3):
        out = tmp_path / str(turn)
        watch(WatchOptions(sources=sources, out=out, saliency=False))
        told.append([(out / name / "tracks.txt").read_text() for name in ("cam", "cam-2")])
        assert [one["cameras"] for one in identities(out)] == [["cam"], ["cam-2"]]
    assert told[0] == told[1] == told[2]


def test_the_way_between_two_cameras(tmp_path: Path) -> None:
    """Green leaves one camera and is before the other two seconds later."""
    first = film(tmp_path / "a.mp4", {"green": lambda t: (60, 20 + t) if t < 40 else None}, 110)
    second = film(tmp_path / "b.mp4", {"green": lambda t: (60, 20 + t / 2) if t > 60 else None}, 110)
    for seconds, people in ((1.0, 1), (10.0, 2)):
        out = tmp_path / str(people)
        sources = str(first), str(second)
        watch(WatchOptions(sources, out, saliency=False, travel=(("b", "a", seconds),)))
        assert len(identities(out)) == people


def test_people_merged_while_a_run_goes_on_are_one_in_its_results(tmp_path: Path) -> None:
    out, gallery = tmp_path / "out", tmp_path / "people.sqlite"

    def correct(frames: int, total: int | None, in_view: int) -> None:
        if frames == 100:
            with Gallery(gallery) as people:
                green = next(one for one in people.people() if one.tracklets == 2)
                later = people.tracklets(green.id)[1]
                people.split(green.id, [later.id])

    watch(options(film(tmp_path / "a.mp4", PATHS, 110), out, gallery=gallery), correct)
    assert sorted(len(one["tracks"]) for one in identities(out)) == [1, 1, 1]
    rows = motchallenge.read(out / "tracks.txt")
    assert set(np.unique(rows.id).tolist()) == {one["id"] for one in identities(out)}
    for one in identities(out):
        assert one["frames"] == np.count_nonzero(rows.id == one["id"])


def test_without_re_identification_the_ids_are_the_tracks(tmp_path: Path) -> None:
    out = tmp_path / "out"
    watch(options(film(tmp_path / "a.mp4", PATHS, 110), out, reid="none"))
    assert len(identities(out)) == 3  # green has a track before and one after
    assert not (out / "gallery.sqlite").exists()


def test_every_and_max_frames_choose_the_frames(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = watch(options(film(tmp_path / "a.mp4", PATHS, 60), out, every=3, max_frames=10))
    assert result.frames == 10
    assert result.cameras[0].last_time == pytest.approx(2.7, abs=0.01)


def test_an_empty_street_gives_empty_results(tmp_path: Path) -> None:
    out = tmp_path / "out"
    watch(options(film(tmp_path / "a.mp4", {}, 10), out))
    assert (out / "tracks.txt").read_text() == ""
    assert identities(out) == []
    assert "Nobody was identified" in (out / "report.html").read_text()


def test_ctrl_c_finishes_the_files(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def interrupt(frames: int, total: int | None, in_view: int) -> None:
        if frames == 30:
            os.kill(os.getpid(), signal.SIGINT)

    result = watch(options(film(tmp_path / "a.mp4", PATHS, 60), out), interrupt)
    assert result.interrupted == signal.SIGINT
    assert result.frames == 30
    assert len(list(open_video(out / "video.mp4"))) == 30
    assert (out / "report.html").exists() and len(identities(out)) == 2


@pytest.mark.parametrize("what", ["source", "detector", "gallery"])
def test_nothing_is_written_when_the_run_cannot_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    video, gallery = film(tmp_path / "a.mp4", PATHS, 5), tmp_path / "gallery.sqlite"
    gallery.write_bytes(b"not a gallery" * 100 if what == "gallery" else b"")
    if what == "source":
        video.unlink()
    if what == "detector":
        monkeypatch.undo()
    if what != "gallery":
        gallery.unlink()
    out = tmp_path / "out"
    with pytest.raises(SparsightError):
        watch(options(video, out, gallery=gallery, detector="nosuch"))
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["a.mp4"] * (what != "source") + ["gallery.sqlite"] * (what == "gallery")
    )


def test_an_error_on_the_way_leaves_whole_rows_and_no_half_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    see = ColourDetector.__call__

    def fail(self: ColourDetector, image: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise SparsightError("the detector is gone.")
        return see(self, image)

    monkeypatch.setattr(ColourDetector, "__call__", fail)
    out = tmp_path / "out"
    with pytest.raises(SparsightError, match="gone"):
        watch(options(film(tmp_path / "a.mp4", PATHS, 60), out))
    rows = motchallenge.read(out / "tracks.txt")
    assert rows.frame.max() == 20
    assert not list(out.glob("video*"))


def test_the_scene_is_what_the_tests_say(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", PATHS, 3)
    first = next(iter(open_video(tmp_path / "a.mp4"))).image
    found = ColourDetector()(first)
    assert len(found) == 2 and len(COLOURS) == 3
