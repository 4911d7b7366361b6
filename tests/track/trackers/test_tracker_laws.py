"""What holds for every tracker, whatever its association."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight import SparsightError
from sparsight.track import Detections, Tracker, Tracks, build_tracker
from sparsight.track.trackers import TRACKERS

NAMES = sorted(TRACKERS)
LOOKERS = ("botsort", "deepsort")


def scene(
    seed: int, *, people: int = 8, frames: int = 25, dimension: int = 0
) -> Iterator[tuple[Detections, np.ndarray]]:
    """People who walk, hide and are detected with changing scores; and who each detection is."""
    rng = np.random.default_rng(seed)
    start, drift = rng.uniform(0, 300, (people, 2)), rng.normal(0, 5, (people, 2))
    size = rng.uniform(20, 80, (people, 2))
    look = rng.normal(0, 1, (people, dimension))
    for t in range(frames):
        corner = start + drift * t + rng.normal(0, 1, (people, 2))
        xyxy = np.concatenate((corner, corner + size + rng.normal(0, 1, (people, 2))), axis=1)
        who = rng.permutation(people)[: 0 if rng.random() < 0.1 else rng.integers(0, people + 1)]
        vectors = (look + rng.normal(0, 0.2, look.shape))[who] if dimension else None
        yield Detections(xyxy[who], rng.uniform(0.05, 1, len(who)), embedding=vectors), who


def same(a: Tracks, b: Tracks) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("xyxy", "id", "score", "detection")
    )


def saved(tracker: Any) -> dict[str, np.ndarray]:
    """Through a file, without pickle."""
    file = io.BytesIO()
    np.savez(file, **tracker.state_dict())
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32))
def test_one_track_a_detection_and_numbers_never_come_back(name: str, seed: int) -> None:
    tracker = build_tracker(name, max_age=3)
    last, highest, ended = {}, 0, set()
    for time, (detections, _) in enumerate(scene(seed, dimension=4, frames=40)):
        tracks = tracker.update(detections)
        assert len(set(tracks.id.tolist())) == len(tracks)
        assert len(set(tracks.detection.tolist())) == len(tracks)
        assert (np.diff(tracks.detection) > 0).all()
        assert np.array_equal(tracks.score, detections.score[tracks.detection])
        assert np.isfinite(tracks.xyxy).all()
        for number in tracks.id.tolist():
            assert number not in ended
            if number not in last:
                assert number > highest
            last[number] = time
        highest = max([highest, *tracks.id.tolist()])
        ended |= {number for number, seen in last.items() if time - seen > 4}


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32))
def test_the_order_of_detections_does_not_matter(name: str, seed: int) -> None:
    """But for the numbers, which follow the order in which tracks are confirmed."""
    rng = np.random.default_rng(seed)
    plain, mixed = build_tracker(name), build_tracker(name)
    names: dict[int, int] = {}
    for detections, _ in scene(seed, dimension=4):
        order = rng.permutation(len(detections))
        one, other = plain.update(detections), mixed.update(detections[order])
        back = np.argsort(order[other.detection])
        assert np.array_equal(one.detection, order[other.detection][back])
        np.testing.assert_allclose(one.xyxy, other.xyxy[back], rtol=1e-5, atol=1e-4)
        for mine, his in zip(one.id.tolist(), other.id[back].tolist(), strict=True):
            assert names.setdefault(mine, his) == his
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 24), looks=st.booleans(), stamps=st.booleans())
def test_a_run_cut_in_two_gives_the_same(name: str, seed: int, cut: int, looks: bool, stamps: bool) -> None:
    whole, first, second = (build_tracker(name) for _ in range(3))
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (25, 40, 60, 3)).astype(np.uint8)
    going: Any = first
    for time, (detections, _) in enumerate(scene(seed, dimension=4 if looks else 0)):
        if time == cut:
            second.load_state_dict(saved(first))  # type: ignore[attr-defined]
            going = second
        stamp = time * 0.1 + rng.uniform(0, 0.05) if stamps else None
        assert same(
            whole.update(detections, frames[time], stamp), going.update(detections, frames[time], stamp)
        )


@pytest.mark.parametrize("name", NAMES)
def test_saving_copies(name: str) -> None:
    tracker: Any = build_tracker(name)
    frames = list(scene(0))
    for detections, _ in frames[:10]:
        tracker.update(detections)
    state = tracker.state_dict()
    before = {key: np.array(value) for key, value in state.items()}
    for detections, _ in frames[10:]:
        tracker.update(detections)
    assert all(
        np.array_equal(state[key], before[key], equal_nan=state[key].dtype.kind == "f") for key in before
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_its_state_is_refused(name: str) -> None:
    tracker: Any = build_tracker(name)
    for detections, _ in scene(0, frames=8):
        tracker.update(detections)
    state = tracker.state_dict()
    other: Any = build_tracker("sort" if name != "sort" else "centroid")
    for bad, said in (
        (other.state_dict(), "but this is|holds no looks"),
        ({key: value for key, value in state.items() if key != "hits"}, "has no hits"),
        ({**state, "hits": state["hits"][:-1]}, "hits as int64"),
        ({**state, "state": state["state"].astype(np.float32)}, "state as float32"),
        ({}, "nothing known|holds no looks"),
    ):
        with pytest.raises(SparsightError, match=said):
            build_tracker(name).load_state_dict(bad)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_bad_boxes_are_refused_or_dropped(name: str) -> None:
    strict, lenient, clean = (build_tracker(name, **more) for more in ({}, {"invalid": "drop"}, {}))
    bad = np.array([[0, 0, np.nan, 9], [5, 5, 1, 9], [0, 0, np.inf, 9], [0, 0, 9, 9]], np.float32)
    for detections, _ in scene(3):
        mixed = Detections(
            np.concatenate((bad, detections.xyxy)),
            np.concatenate(([0.9, 0.9, 0.9, np.nan], detections.score)),
        )
        with pytest.raises(SparsightError, match="detection 0"):
            strict.update(mixed)
        dropped, wanted = lenient.update(mixed), clean.update(detections)
        assert np.array_equal(dropped.detection, wanted.detection + len(bad))
        assert np.array_equal(dropped.id, wanted.id)
        assert np.array_equal(dropped.xyxy, wanted.xyxy)


@pytest.mark.parametrize("name", NAMES)
def test_empty_frames_age_tracks(name: str) -> None:
    def person() -> Detections:
        return Detections([[100, 100, 140, 200]], [0.9])

    for missed, kept in ((3, True), (4, False)):
        tracker = build_tracker(name, max_age=3, min_hits=1)
        assert len(tracker.update(Detections.empty())) == 0
        for _ in range(4):
            assert tracker.update(person()).id.tolist() == [1]
        for _ in range(missed):
            assert len(tracker.update(Detections.empty())) == 0
        assert tracker.update(person()).id.tolist() == [1 if kept else 2]


@pytest.mark.parametrize("name", NAMES)
def test_a_pause_between_time_stamps_ages_tracks(name: str) -> None:
    for pause, kept in ((0.35, True), (0.75, False)):
        tracker = build_tracker(name, max_age=5, min_hits=1)
        for time in (0.0, 0.1, 0.2, 0.3, 0.4):
            tracker.update(Detections([[100, 100, 140, 200]], [0.9]), timestamp=time)
        seen = tracker.update(Detections([[100, 100, 140, 200]], [0.9]), timestamp=0.4 + pause)
        assert seen.id.tolist() == [1 if kept else 2]


@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_people_keep_their_numbers(name: str) -> None:
    grid = np.stack(np.meshgrid(np.arange(50), np.arange(40)), axis=-1).reshape(-1, 2) * [60.0, 130.0]
    order = np.random.default_rng(0)
    tracker = build_tracker(name)
    first: dict[int, int] = {}
    for t in range(5):
        people = order.permutation(len(grid))
        corner = grid[people] + [t * 3.0, 0]
        xyxy = np.concatenate((corner, corner + np.array([40, 100])), axis=1)
        tracks = tracker.update(Detections(xyxy, np.full(len(xyxy), 0.9)))
        if t >= 2:
            assert len(tracks) == len(grid)
            now = dict(zip(people[tracks.detection].tolist(), tracks.id.tolist(), strict=True))
            assert now == (first or now)
            first = now


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", NAMES)
def test_boxes_without_a_size_do_no_harm(name: str) -> None:
    tracker = build_tracker(name, min_hits=1)
    for t in range(6):
        boxes = [[5, 5, 5, 5], [5, 5, 5, 80], [9, 30, 60, 30], [100 + t, 0, 140 + t, 100]]
        looks = np.zeros((4, 3)) if t % 2 else np.eye(4, 3)
        tracks = tracker.update(Detections(boxes, np.full(4, 0.9), embedding=looks))
        assert np.isfinite(tracks.xyxy).all()
        assert 4 in tracks.id[tracks.detection == 3]


@pytest.mark.parametrize("name", NAMES)
def test_classes_never_mix(name: str) -> None:
    tracker = build_tracker(name, min_hits=1)
    numbers = [
        tracker.update(Detections([[0, 0, 40, 100]], [0.9], [kind])).id.tolist() for kind in (0, 0, 2, 2, 0)
    ]
    assert numbers == [[1], [1], [2], [2], [1]]


def test_every_tracker_keeps_the_protocol() -> None:
    assert all(isinstance(build_tracker(name), Tracker) for name in TRACKERS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"max_age": -1}, "max_age is -1, but must be 0 or more"),
        ({"max_age": float("nan")}, "max_age is nan"),
        ({"min_hits": 0}, "min_hits is 0, but must be 1 or more"),
        ({"invalid": "ignore"}, "refuse, drop"),
        ({"max_age": "30"}, "max_age is '30'"),
    ],
)
def test_common_parameters_out_of_range(name: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(SparsightError, match=said):
        build_tracker(name, **params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("centroid", {"distance": -1}),
        ("bytetrack", {"low_iou": 1}),
        ("bytetrack", {"new_iou": -0.1}),
        ("ocsort", {"momentum": -0.5}),
        ("ocsort", {"span": 0}),
        ("botsort", {"appearance": 3}),
        ("botsort", {"near": 1}),
        ("botsort", {"memory": 1}),
        ("botsort", {"camera": "gyroscope"}),
        ("deepsort", {"appearance": 0}),
        ("deepsort", {"motion": 1.5}),
        ("deepsort", {"budget": 0}),
    ],
)
def test_own_parameters_out_of_range(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(SparsightError, match=str(next(iter(params.values())))):
        build_tracker(name, **params)


@pytest.mark.parametrize("name", LOOKERS)
def test_bad_embeddings_are_refused_and_change_nothing(name: str) -> None:
    tracker = build_tracker(name, min_hits=1, max_age=0)

    def seen(vector: list[float]) -> Detections:
        return Detections([[0, 0, 40, 100]], [0.9], embedding=np.array([vector]))

    assert tracker.update(seen([1, 0])).id.tolist() == [1]
    for bad, said in (([np.nan, 0], "embedding of detection 0 is not finite"), ([1, 0, 0], "3 numbers")):
        with pytest.raises(SparsightError, match=said):
            tracker.update(seen(bad))
    assert tracker.update(seen([1, 0])).id.tolist() == [1]
