"""Names in ``watch``: by a classifier, in a result file, and scored the same online and offline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scene import COLOURS, ColourDetector, ColourEmbedder, film

from sparsight import SparsightError
from sparsight.app import watch as watch_module
from sparsight.app import watch_names
from sparsight.app.people import Identity, _told_apart
from sparsight.app.timeline import Span
from sparsight.app.watch import WatchOptions, watch
from sparsight.app.watch_looks import Once
from sparsight.app.watch_names import PeopleWriter, names_of
from sparsight.track import Gallery, formats
from sparsight.track.classify import Calibration, Classifier, Machine
from sparsight.track.classify_file import save_classifier
from sparsight.track.metrics import pyppbox
from sparsight.track.trackers import deepsort

NAMES = {"red": "Rita", "green": "Greta", "blue": "Bruno"}
PATHS: dict[str, Any] = {
    "red": lambda t: (20, 10 + 0.7 * t),
    "green": lambda t: (60, 20 + t / 3) if not 40 <= t < 75 else None,
    "blue": lambda t: (100 - t / 5, 60),
}


class Counting(ColourEmbedder):
    """Counts the boxes that it is shown."""

    def __init__(self) -> None:
        self.boxes = 0

    def __call__(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        self.boxes += len(xyxy)
        return super().__call__(image, xyxy)


@pytest.fixture(autouse=True)
def embedder(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Detector and embedder that see coloured squares; all the rest is real."""
    seeing = Counting()
    monkeypatch.setattr(watch_module, "build_detector", lambda name, device: ColourDetector())
    for module in (watch_module, watch_names):
        monkeypatch.setattr(module, "build_embedder", lambda name, device: seeing)
    return seeing


def classifier(path: Path, weights: str = "colour", **people: str) -> Path:
    """Knows people (name=colour) by their colours, and takes everybody else for a stranger."""
    rows = np.array([COLOURS[colour] for colour in people.values()], float)
    machine = Machine(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.zeros(len(people)))
    calibration = Calibration(threshold=0.9, far=0.01, steepness=20, slope=30, offset=-27)
    save_classifier(path, Classifier(tuple(people), "cosine", machine, calibration, "colour", weights))
    return path


def truth(path: Path, frames: int) -> Path:
    lines = []
    for t in range(frames):
        for colour, where in PATHS.items():
            if (corner := where(t)) is not None:
                x, y = map(round, corner)
                lines.append(
                    f"{t}\t({x}, {y})\t{NAMES[colour]}\t[{x} {y} 12 24]\t[{x} {y} {x + 12} {y + 24}]\n"
                )
    path.write_text("".join(lines))
    return path


def options(source: Path, out: Path, **more: Any) -> WatchOptions:
    return WatchOptions(sources=(str(source),), out=out, saliency=False, **more)


def identities(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((out / "identities.json").read_text())["identities"]
    return rows


@pytest.mark.parametrize("reid", ["auto", "none"])
def test_a_classifier_names_those_it_knows_and_nobody_else(tmp_path: Path, reid: str) -> None:
    out = tmp_path / "out"
    people = classifier(tmp_path / "people.npz", Rita="red", Greta="green")
    watch(options(film(tmp_path / "a.mp4", PATHS, 110), out, people=people, reid=reid))
    names = [one["name"] for one in identities(out)]
    # Green comes back: one person to the gallery, two tracks without one.
    assert sorted(names, key=str) == sorted(["Rita", "Greta", None] + ["Greta"] * (reid == "none"), key=str)
    table = formats.read(out / "people.txt")
    assert set(table.columns["name"]) == {"Rita", "Greta", "Unknown"}
    for name, left in (("Rita", 20), ("Greta", 60)):
        rows = table.columns["name"] == name
        assert rows.sum() > 60 and np.abs(table.xywh[rows, 0] - left).max() < 3
    assert "Rita" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("names", "preset", "spread"),
    [
        ("classifier", "pyppbox4", 16),
        ("classifier", "pyppbox3", 5),
        ("gallery", "pyppbox4", 3),
        ("none", "pyppbox4", 16),
    ],
)
def test_offline_on_its_own_output_is_the_online_score(
    tmp_path: Path, names: str, preset: str, spread: float
) -> None:
    gt, out = truth(tmp_path / "gt.txt", 110), tmp_path / "out"
    source, more = film(tmp_path / "a.mp4", PATHS, 110), {}
    if names == "classifier":
        more["people"] = classifier(tmp_path / "people.npz", Rita="red", Greta="green", Eve="blue")
    if names == "gallery":
        more["gallery"] = tmp_path / "g.sqlite"
        watch(options(source, tmp_path / "before", **more))
        with Gallery(tmp_path / "g.sqlite") as gallery:
            gallery.rename(1, "Gréta")
            gallery.rename(2, "RITA")
    watch(options(source, out, groundtruth=gt, preset=preset, spread=spread, **more))
    online = json.loads((out / "score.json").read_text())
    assert online == pyppbox.evaluate(gt, out / "people.txt", preset=preset, spread=spread)
    assert 0 < online["own_score"] < 1
    assert online["wrong"] > 0


def test_boxes_are_scored_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box 3.4 pixels off is 3 pixels off in a file of whole pixels."""

    class Off(ColourDetector):
        def __call__(self, image: NDArray[np.uint8]) -> Any:
            found = super().__call__(image)
            return replace(found, xyxy=found.xyxy.round() + np.float32(3.4))

    monkeypatch.setattr(watch_module, "build_detector", lambda name, device: Off())
    gt, out = truth(tmp_path / "gt.txt", 30), tmp_path / "out"
    people = classifier(tmp_path / "p.npz", Rita="red", Greta="green", Bruno="blue")
    source = film(tmp_path / "a.mp4", PATHS, 30)
    watch(options(source, out, people=people, groundtruth=gt, spread=4, tracker="centroid"))
    online = json.loads((out / "score.json").read_text())
    assert online == pyppbox.evaluate(gt, out / "people.txt", spread=4)
    assert (formats.read(out / "people.txt").xywh[:, 0] > 20).all()
    near = pyppbox.evaluate(gt, out / "people.txt", spread=2)["missed"]
    for spread in (2, 3, 3.2):
        watch(options(source, out, people=people, groundtruth=gt, spread=spread, tracker="centroid"))
        online = json.loads((out / "score.json").read_text())
        assert online == pyppbox.evaluate(gt, out / "people.txt", spread=spread)
    assert online["missed"] < near


def test_preset_and_spread_of_the_running_figures(tmp_path: Path) -> None:
    gt, source = truth(tmp_path / "gt.txt", 40), film(tmp_path / "a.mp4", PATHS, 40)
    people = classifier(tmp_path / "p.npz", Rita="red", Greta="green", Bruno="blue")
    scores = {}
    for spread in (0, 16):
        watch(options(source, tmp_path / "out", people=people, groundtruth=gt, spread=spread))
        scores[spread] = json.loads((tmp_path / "out" / "score.json").read_text())["score"]
    assert scores[0] < scores[16]
    for wrong, said in (({"preset": "x"}, "no preset called"), ({"spread": float("inf")}, "spread is inf")):
        with pytest.raises(SparsightError, match=said):
            watch(options(source, tmp_path / "no", groundtruth=gt, **wrong))
    assert not (tmp_path / "no").exists()


def test_files_that_name_nobody(tmp_path: Path) -> None:
    source, out = film(tmp_path / "a.mp4", PATHS, 3), tmp_path / "out"
    (tmp_path / "text.npz").write_text("nothing")
    other = classifier(tmp_path / "other.npz", weights="faces", Rita="red")
    for people, said in (
        (tmp_path / "none.npz", "there is no classifier"),
        (tmp_path / "text.npz", "is not a classifier of people"),
        (other, "trained on vectors of faces, not colour"),
    ):
        with pytest.raises(SparsightError, match=said):
            watch(options(source, out, people=people))
    assert not out.exists()


def test_deepsort_sees_everybody_and_nobody_is_embedded_twice(
    tmp_path: Path, embedder: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    update = deepsort.DeepSort.update

    def counting(self: Any, detections: Any, **more: Any) -> Any:
        nonlocal seen
        assert detections.embedding.shape == (len(detections), 3)
        seen += len(detections)
        return update(self, detections, **more)

    monkeypatch.setattr(deepsort.DeepSort, "update", counting)
    source = film(tmp_path / "a.mp4", PATHS, 60)
    people = classifier(tmp_path / "people.npz", Rita="red", Greta="green")
    result = watch(options(source, tmp_path / "out", people=people, tracker="deepsort(new_score=0.5)"))
    assert embedder.boxes == seen > 150
    assert {one["name"] for one in identities(tmp_path / "out")} == {"Rita", "Greta", None}
    assert "embed" in {stage.name for stage in result.stages.summary()}
    embedder.boxes = 0
    watch(options(source, tmp_path / "out"))
    assert 0 < embedder.boxes < seen / 2


def test_parameters_of_the_tracker(tmp_path: Path) -> None:
    source, out = film(tmp_path / "a.mp4", PATHS, 30), tmp_path / "out"
    for new_score, found in ((0.85, True), (0.95, False)):  # the squares score 0.9
        watch(options(source, out, tracker=f"sort(new_score={new_score})", reid="none"))
        assert bool((out / "tracks.txt").read_text()) == found
    for tracker, said in (
        ("sort(9)", "write sort\\(NAME=VALUE\\)"),
        ("sort(", "is no tracker: write a name"),
        ("sort(hits=3)", "no parameter of the tracker"),
    ):
        with pytest.raises(SparsightError, match=said):
            watch(options(source, tmp_path / "no", tracker=tracker))
    assert not (tmp_path / "no").exists()


def test_who_is_said_to_be_who() -> None:
    number = np.array([7, 8, 1_000_001, 9])
    given = {7: "A\tnn", 8: "Bo"}
    assert names_of(number, None, (), given) == ["A nn", "Bo", "Unknown", None]
    called = np.array([-1, -1, 0, -1])
    assert names_of(number, called, ("Bo",), given) == ["A nn", "Unknown", "Bo", "Unknown"]


def test_of_two_seen_together_one_has_the_name() -> None:
    def one(number: int, *spans: tuple[str, float, float], frames: int = 10, name: str = "Ann") -> Identity:
        return Identity(number, name, tuple(Span(number, *span) for span in spans), (1,) * len(spans), frames)

    people = [
        one(1, ("a", 0, 9)),
        one(2, ("a", 5, 20), frames=40),
        one(3, ("b", 5, 20)),
        one(4, ("a", 30, 31)),
        one(5, ("a", 3, 4), frames=90, name="Bo"),
    ]
    assert [who.name for who in _told_apart(people, {1, 2, 3, 4, 5})] == [None, "Ann", "Ann", "Ann", "Bo"]
    assert [who.name for who in _told_apart(people, {1})] == ["Ann", None, "Ann", "Ann", "Bo"]


def test_nothing_is_embedded_twice_in_a_frame() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    boxes = np.array([[0, 0, 9, 9], [10, 0, 19, 9], [20, 0, 29, 9], [30, 0, 39, 9]], np.float32)
    counting = Counting()
    image[:, :10] = 200, 0, 0
    image[:, 10:] = 0, 200, 0
    once = Once(counting)
    expected = ColourEmbedder()(image, boxes)
    told = np.full((1, 3), 9, np.float32)
    once.begin(boxes[3:], told)
    np.testing.assert_array_equal(once(image, boxes[[1, 0]]), expected[[1, 0]])
    np.testing.assert_array_equal(once(image, boxes), np.concatenate([expected[:3], told]))
    assert once(image, boxes[:0]).shape == (0, 3)
    assert counting.boxes == 3
    once.begin()
    np.testing.assert_array_equal(once(image, boxes[3:]), expected[3:])
    assert counting.boxes == 4


def test_lines_are_whole_wherever_a_kill_strikes(tmp_path: Path) -> None:
    """What the kernel may have of the file are its pages; each begins with a line, whatever the names."""
    rng = np.random.default_rng(0)
    writer = PeopleWriter(tmp_path / "people.txt")
    names = [rng.integers(1, 400) * letter for letter in ("x", "é", "w") * 100]
    for frame, name in enumerate(names):
        writer.write(frame, np.array([[1, 2, 30, 40]] * 2, float), [name, "y"])
    written = (tmp_path / "people.txt").read_bytes()
    pages = [written[:end] for end in range(4096, len(written), 4096)]
    assert len(pages) > 10 and all(page.endswith(b"\n") for page in pages)
    (tmp_path / "killed.txt").write_bytes(pages[5])
    said = formats.read(tmp_path / "killed.txt").columns["name"].tolist()
    expected = [one for name in names for one in (name, "y")]
    assert said == expected[: len(said)] and len(said) > 50
    writer.finish()
    lines = (tmp_path / "people.txt").read_text().splitlines()
    assert len(lines) == len(expected) and not any(line.endswith(" ") for line in lines)
    assert formats.read(tmp_path / "people.txt").columns["name"].tolist() == expected
