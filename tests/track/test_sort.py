from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from sparsight import SparsightError
from sparsight.track import Detections, Tracker, Tracks, build_tracker
from sparsight.track.trackers import TRACKERS

NOW = {"min_hits": 1}


def found(*boxes: tuple[float, ...], score: float = 0.9, class_id: list[int] | None = None) -> Detections:
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(xyxy, np.full(len(xyxy), score), class_id)


def person(x: float, y: float = 0) -> tuple[float, ...]:
    return (x, y, x + 40, y + 100)


def ids(tracks: Tracks) -> list[int]:
    return tracks.id.tolist()


def test_registry_and_protocol() -> None:
    for name in TRACKERS:
        assert isinstance(build_tracker(name), Tracker)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("srot", {}, "'sort'"),
        ("sort", {"max_ages": 3}, "'max_age'"),
        ("sort", {"iou": 1.0}, "iou is 1.0"),
        ("sort", {"iou": float("nan")}, "iou"),
        ("sort", {"max_age": -1}, "max_age is -1"),
        ("sort", {"min_hits": 0}, "min_hits is 0"),
    ],
)
def test_bad_parameters(name: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        build_tracker(name, **params)


def test_follows_two_people_who_swap_places() -> None:
    tracker = build_tracker("sort")
    for t in range(30):
        tracks = tracker.update(found(person(t * 10), person(300 - t * 10, 20)))
        if t >= 1:
            assert ids(tracks) == [1, 2]
            assert tracks.detection.tolist() == [0, 1]


def test_reports_the_detections_as_they_came() -> None:
    tracker = build_tracker("sort", **NOW)
    detections = Detections([person(500), person(0), person(200)], [0.9, 0.8, 0.2], [0, 0, 0])
    tracks = tracker.update(detections)
    assert tracks.detection.tolist() == [0, 1]
    assert np.array_equal(tracks.xyxy, detections.xyxy[:2])
    assert tracks.score.tolist() == pytest.approx([0.9, 0.8])
    assert tracks.class_id.tolist() == [0, 0]


def test_boxes_tremble_less_than_the_detections() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([person(t * 4.0) for t in range(200)], np.float32)
    seen = truth + rng.normal(0, 3, truth.shape)
    tracker = build_tracker("sort", **NOW)
    followed = np.concatenate([tracker.update(found(tuple(box))).xyxy for box in seen])
    assert np.abs(followed - truth).mean() < 0.8 * np.abs(seen - truth).mean()


def test_tentative_until_seen_in_a_row() -> None:
    tracker = build_tracker("sort", min_hits=3)
    seen = [False, True, True, False, True, True, True]
    reported = [len(tracker.update(found(person(0)) if flag else found())) for flag in seen]
    assert reported == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("name", TRACKERS)
def test_those_of_the_first_frame_need_not_wait(name: str) -> None:
    """Nobody can have been seen before it. They are confirmed for good: missed once, they are only lost."""
    tracker = build_tracker(name, min_hits=3)
    assert ids(tracker.update(found(person(0)))) == [1]
    tracker.update(found())
    assert ids(tracker.update(found(person(0), person(200)))) == [1]
    again = build_tracker(name, min_hits=3)
    again.load_state_dict(tracker.state_dict())
    assert ids(again.update(found(person(0), person(400)))) == [1]


@pytest.mark.parametrize(("missed", "kept"), [(0, True), (1, True), (3, True), (4, False)])
def test_lost_and_found_within_max_age(missed: int, kept: bool) -> None:
    tracker = build_tracker("sort", max_age=3, **NOW)
    for _ in range(5):
        tracker.update(found(person(0)))
    for _ in range(missed):
        assert len(tracker.update(Detections.empty())) == 0
    assert ids(tracker.update(found(person(0)))) == [1 if kept else 2]


def test_no_tolerance_at_all() -> None:
    tracker = build_tracker("sort", max_age=0, **NOW)
    for t in (0.0, 0.1, 0.21, 0.3):
        assert ids(tracker.update(found(person(0)), timestamp=t)) == [1]
    tracker.update(found(), timestamp=0.4)
    assert ids(tracker.update(found(person(0)), timestamp=0.5)) == [2]


def test_motion_goes_on_while_unseen() -> None:
    """After a gap the walker is a width and a half from where he was last seen."""
    tracker = build_tracker("sort", **NOW)
    for t in range(20):
        tracker.update(found(person(t * 10)))
    for _ in range(6):
        tracker.update(Detections.empty())
    assert ids(tracker.update(found(person(260)))) == [1]


def test_unsure_detections_continue_but_do_not_begin() -> None:
    tracker = build_tracker("sort", score=0.3, new_score=0.6, **NOW)
    assert ids(tracker.update(found(person(0), score=0.5))) == []
    assert ids(tracker.update(found(person(0), score=0.7))) == [1]
    assert ids(tracker.update(found(person(0), score=0.4))) == [1]
    assert ids(tracker.update(found(person(0), score=0.2))) == []


def test_classes_are_kept_apart() -> None:
    tracker = build_tracker("sort", **NOW)
    assert ids(tracker.update(found(person(0), class_id=[0]))) == [1]
    assert ids(tracker.update(found(person(0), class_id=[2]))) == [2]
    assert ids(tracker.update(found(person(0), class_id=[0]))) == [1]


def test_numbers_are_never_used_twice_until_reset() -> None:
    tracker = build_tracker("sort", max_age=1, **NOW)
    used: list[int] = []
    for t in range(20):
        used += ids(tracker.update(found(person(t * 500))))
    assert used == list(range(1, 21))
    tracker.reset()
    assert ids(tracker.update(found(person(0)))) == [1]


def test_irregular_time_stamps_stretch_the_motion() -> None:
    """100 pixels a second; a pause of half a second is five frames' way."""
    moments = [*np.arange(0, 2, 0.1), 2.4, 2.5, 2.9, 3.0]
    by_time, by_call = build_tracker("sort", **NOW), build_tracker("sort", **NOW)
    for moment in moments:
        detections = found(person(moment * 100))
        assert ids(by_time.update(detections, timestamp=moment)) == [1]
        last = ids(by_call.update(detections))
    assert last != [1]


def test_even_time_stamps_change_nothing() -> None:
    plain, stamped = build_tracker("sort"), build_tracker("sort")
    rng = np.random.default_rng(0)
    for t in range(60):
        detections = found(
            *(person(x + t * 5 + rng.normal(0, 3), y) for x, y in ((0, 0), (90, 30), (200, 5)))
        )
        detections = detections[rng.random(3) < 0.7]
        assert ids(plain.update(detections)) == ids(stamped.update(detections, timestamp=7 + t / 16))


def test_a_long_pause_removes_tracks() -> None:
    tracker = build_tracker("sort", **NOW)
    for t in range(5):
        tracker.update(found(person(0)), timestamp=t * 0.1)
    assert ids(tracker.update(found(person(0)), timestamp=60)) == [2]


@pytest.mark.parametrize(
    ("stamps", "said"),
    [
        ([1.0, 0.5], "lies before the last one"),
        ([1.0, None], "every frame or with none"),
        ([None, 1.0], "every frame or with none"),
        ([float("nan")], "not a number"),
    ],
)
def test_bad_time_stamps(stamps: list[float | None], said: str) -> None:
    tracker = build_tracker("sort")
    for stamp in stamps[:-1]:
        tracker.update(found(person(0)), timestamp=stamp)
    with pytest.raises(SparsightError, match=said):
        tracker.update(found(person(0)), timestamp=stamps[-1])


@pytest.mark.parametrize(
    "bad",
    [
        Detections([[0, 0, np.nan, 1]], [0.9]),
        Detections([[0, 0, np.inf, 1]], [0.9]),
        Detections([[0, 0, -1, 1]], [0.9]),
        Detections([[0, 0, 1, 1]], [np.nan]),
    ],
)
def test_bad_detections_are_refused_and_change_nothing(bad: Detections) -> None:
    tracker = build_tracker("sort", max_age=0, **NOW)
    tracker.update(found(person(0)))
    with pytest.raises(SparsightError, match="detection 0"):
        tracker.update(bad)
    assert ids(tracker.update(found(person(0)))) == [1]


def test_boxes_without_a_size_do_no_harm() -> None:
    tracker = build_tracker("sort", **NOW)
    for _ in range(3):
        tracks = tracker.update(found((5, 5, 5, 5), person(100)))
        assert np.isfinite(tracks.xyxy).all()
    assert 1 not in ids(tracks)
    assert 2 in ids(tracks)


def test_empty_frames_from_the_start() -> None:
    tracker = build_tracker("sort")
    for _ in range(3):
        tracks = tracker.update(Detections.empty())
        assert len(tracks) == 0
        assert tracks.xyxy.shape == (0, 4)


def test_thousands_of_boxes() -> None:
    grid = np.stack(np.meshgrid(np.arange(80), np.arange(50)), axis=-1).reshape(-1, 2) * [60.0, 130.0]
    order = np.random.default_rng(0)
    tracker = build_tracker("sort")
    first: dict[int, int] = {}
    for t in range(6):
        people = order.permutation(len(grid))
        corner = grid[people] + [t * 5.0, 0]
        boxes = np.concatenate((corner, corner + np.array([40, 100])), axis=1)
        tracks = tracker.update(Detections(boxes, np.full(len(boxes), 0.9)))
        if t:
            assert len(tracks) == 4000
            now = dict(zip(people[tracks.detection].tolist(), ids(tracks), strict=True))
            assert now == (first or now)
            first = now


class OneByOne:
    """The same rules, told track by track: 8×8 matrices, a dense assignment, lists."""

    def __init__(self, iou: float, max_age: int, min_hits: int, score: float, new_score: float) -> None:
        self.iou, self.max_age, self.min_hits = iou, max_age, min_hits
        self.score, self.new_score = score, new_score
        self.tracks: list[dict[str, Any]] = []
        self.frames = 0
        self.given = 0

    @staticmethod
    def overlap(a: np.ndarray, b: np.ndarray) -> float:
        size = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
        shared = size[0] * size[1]
        areas = np.maximum(a[2:] - a[:2], 0).prod() + (b[2:] - b[:2]).prod()
        return float(shared / (areas - shared)) if shared else 0.0

    def update(self, boxes: np.ndarray, scores: np.ndarray) -> dict[int, int]:
        boxes = boxes.astype(float)
        self.frames += 1
        z = np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1)
        F = np.eye(8)
        F[:4, 4:] = np.eye(4)
        for track in self.tracks:
            size = np.tile(track["x"][2:4], 2)
            track["x"] = F @ track["x"]
            track["P"] = F @ track["P"] @ F.T + np.diag(np.concatenate((size / 20, size / 80)) ** 2)
        gain = np.zeros((len(self.tracks), len(boxes)))
        for i, track in enumerate(self.tracks):
            x = track["x"]
            box = np.concatenate((x[:2] - x[2:4] / 2, x[:2] + x[2:4] / 2))
            for j in range(len(boxes)):
                if scores[j] >= self.score:
                    gain[i, j] = max(self.overlap(box, boxes[j]) - self.iou, 0)
        pairs = [(i, j) for i, j in zip(*linear_sum_assignment(-gain), strict=True) if gain[i, j] > 0]
        result, born = {}, set(range(len(boxes))) - {j for _, j in pairs}
        for track in self.tracks:
            track["missed"] += 1
        for i, j in pairs:
            track = self.tracks[i]
            R = np.diag((np.tile(track["x"][2:4], 2) / 20) ** 2)
            K = track["P"][:, :4] @ np.linalg.inv(track["P"][:4, :4] + R)
            track["x"] = track["x"] + K @ (z[j] - track["x"][:4])
            track["P"] = track["P"] - K @ track["P"][:4]
            track["missed"], track["hits"] = 0, track["hits"] + 1
            self.confirm(track)
            if track["id"]:
                result[int(j)] = track["id"]
        self.tracks = [t for t in self.tracks if t["missed"] <= (self.max_age if t["id"] else 0)]
        for j in sorted(born):
            if scores[j] >= self.new_score:
                size = np.tile(z[j, 2:], 2)
                P = np.diag(np.concatenate((size / 10, size / 4)) ** 2)
                track = {"x": np.concatenate((z[j], np.zeros(4))), "P": P, "missed": 0, "hits": 1, "id": 0}
                self.confirm(track)
                self.tracks.append(track)
                if track["id"]:
                    result[j] = track["id"]
        return result

    def confirm(self, track: dict[str, Any]) -> None:
        if not track["id"] and (track["hits"] >= self.min_hits or self.frames == 1):
            self.given += 1
            track["id"] = self.given


def crowd(seed: int, people: int, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    start, drift = rng.uniform(0, 300, (people, 2)), rng.normal(0, 6, (people, 2))
    size = rng.uniform(20, 80, (people, 2))
    for t in range(frames):
        corner = start + drift * t + rng.normal(0, 2, (people, 2))
        boxes = np.concatenate((corner, corner + size + rng.normal(0, 1, (people, 2))), axis=1)
        seen = rng.random(people) < 0.8
        scores = rng.uniform(0, 1, people)[seen]
        yield boxes[seen].astype(np.float32), scores.astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    people=st.integers(1, 15),
    max_age=st.integers(0, 5),
    min_hits=st.integers(1, 3),
    iou=st.floats(0, 0.6),
)
def test_equals_the_rules_told_one_by_one(
    seed: int, people: int, max_age: int, min_hits: int, iou: float
) -> None:
    params = {"iou": iou, "max_age": max_age, "min_hits": min_hits, "score": 0.2, "new_score": 0.4}
    ours, reference = build_tracker("sort", **params), OneByOne(**params)
    for boxes, scores in crowd(seed, people, 20):
        tracks = ours.update(Detections(boxes, scores))
        mine = dict(zip(tracks.detection.tolist(), ids(tracks), strict=True))
        assert mine == reference.update(boxes, scores)
