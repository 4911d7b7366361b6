"""Scenes made by hand for what each paper added, against what its rules say."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight.track import Detections, Tracks, build_tracker, kalman
from sparsight.track.associate import cosine, near
from sparsight.track.trackers.deepsort import GATE
from sparsight.track.trackers.ocsort import angle
from sparsight.track.trackers.stages import Stages


def found(*people: tuple[float, float, float], looks: Any = None) -> Detections:
    """Boxes of 40×100 at x, y, with a score."""
    xyxy = np.array([(x, y, x + 40, y + 100) for x, y, _ in people], np.float32).reshape(-1, 4)
    return Detections(xyxy, [score for *_, score in people], embedding=looks)


def ids(tracks: Tracks) -> dict[int, int]:
    """Detection → number."""
    return dict(zip(tracks.detection.tolist(), tracks.id.tolist(), strict=True))


class TestByteTrack:
    def test_unsure_detections_continue_but_never_begin(self) -> None:
        tracker = build_tracker("bytetrack", min_hits=1)
        assert ids(tracker.update(found((0, 0, 0.9), (500, 0, 0.4)))) == {0: 1}
        assert ids(tracker.update(found((2, 0, 0.3), (500, 0, 0.4)))) == {0: 1}
        assert ids(tracker.update(found((4, 0, 0.05)))) == {}

    def test_sure_detections_choose_first(self) -> None:
        """The unsure one fits better, but takes what is left, and nothing is."""
        tracker = build_tracker("bytetrack", min_hits=1, new_score=0.95)
        tracker.update(found((0, 0, 0.99)))
        assert ids(tracker.update(found((0, 0, 0.5), (15, 0, 0.9)))) == {1: 1}

    def test_unsure_detections_need_more_overlap(self) -> None:
        tracker = build_tracker("bytetrack", min_hits=1, low_iou=0.5)
        tracker.update(found((0, 0, 0.9), (500, 0, 0.9)))
        # 20 of 40 pixels apart is an overlap of a third.
        assert ids(tracker.update(found((20, 0, 0.9), (520, 0, 0.5)))) == {0: 1}

    def test_lost_tracks_are_found_by_sure_detections_only(self) -> None:
        for score, kept in ((0.9, {0: 1}), (0.5, {})):
            tracker = build_tracker("bytetrack", min_hits=1)
            tracker.update(found((0, 0, 0.9)))
            tracker.update(found())
            assert ids(tracker.update(found((0, 0, score)))) == kept

    def test_confirmed_tracks_choose_before_tentative_ones(self) -> None:
        tracker = build_tracker("bytetrack", min_hits=2)
        for _ in range(3):
            tracker.update(found((0, 0, 0.9)))
        tracker.update(found((0, 0, 0.9), (24, 0, 0.9)))
        # The one detection fits the tentative track better, yet the confirmed one takes it.
        assert ids(tracker.update(found((18, 0, 0.9)))) == {0: 1}


class TestOCSort:
    def test_recovery_where_the_prediction_has_run_away(self) -> None:
        """A walker stops behind a pillar: his prediction goes on, he does not."""
        for momentum in (0, 0.2):
            tracker = build_tracker("ocsort", momentum=momentum, min_hits=1)
            for t in range(15):
                tracker.update(found((t * 12.0, 0, 0.9)))
            for _ in range(6):
                tracker.update(found())
            assert ids(tracker.update(found((14 * 12.0, 0, 0.9)))) == {0: 1}

    def test_momentum_decides_between_equal_overlaps(self) -> None:
        """Two boxes overlap about as much with where he should be: one straight ahead, one aside."""
        chosen = {}
        for momentum in (0.0, 0.5):
            tracker = build_tracker("ocsort", momentum=momentum, min_hits=1, iou=0.1)
            for t in range(12):
                tracker.update(found((t * 6.0, 0, 0.9)))
            got = ids(tracker.update(found((72, -14, 0.9), (72 + 7, 0, 0.9))))
            chosen[momentum] = next(row for row, number in got.items() if number == 1)
        assert chosen == {0.0: 0, 0.5: 1}

    def test_velocity_after_a_gap_is_that_of_the_way_between(self) -> None:
        """In the gap he turned: after the re-update the filter goes his new way (by itself it keeps on)."""
        tracker: Any = build_tracker("ocsort", min_hits=1, iou=0.05)
        for t in range(20):
            tracker.update(found((t * 4.0, 0, 0.9)))
        for _ in range(9):
            tracker.update(found())
        tracker.update(found((19 * 4.0, 60, 0.9)))
        state = tracker.state_dict()["state"]
        assert state.shape == (5, 1, 4)
        # He came 60 pixels down in 10 frames, and had come 4 pixels to the right in each before.
        right, down = state[1, 0, :2]
        assert down > 3.5
        assert right < 2

    def test_direction_is_taken_over_the_span(self) -> None:
        """Δt = 3: the direction is from the sighting three frames back, or the oldest since, or the last."""
        tracker: Any = build_tracker("ocsort", min_hits=1, span=3)
        xs = [0.0, 1, 2, 12, 13]
        ys = [0.0, 3, 0, 3, 0]
        headings = []
        for x, y in zip(xs, ys, strict=True):
            tracker.update(found((x, y, 0.9)))
            headings.append(tracker.state_dict()["heading"][0])
        wanted = [(0, 0), (1, 3), (2, 0), (12, 3), (12, -3)]
        for got, want in zip(headings, wanted, strict=True):
            np.testing.assert_allclose(got, np.array(want) / max(np.hypot(*want), 1), atol=1e-6)


class TestBotSort:
    def test_looks_outweigh_a_little_more_overlap(self) -> None:
        red, blue = [1.0, 0.0], [0.0, 1.0]
        swapped = {}
        for looks in (False, True):
            tracker = build_tracker("botsort", min_hits=1, near=0.5)
            for _ in range(5):
                tracker.update(found((0, 0, 0.9), (16, 0, 0.9), looks=[red, blue] if looks else None))
            # They crossed between two frames.
            got = tracker.update(found((0, 0, 0.9), (16, 0, 0.9), looks=[blue, red] if looks else None))
            swapped[looks] = ids(got)
        assert swapped[False] == {0: 1, 1: 2}
        # 16 of 40 pixels: an overlap of 0.43, below `near`, where looks do not count.
        assert swapped[True] == {0: 1, 1: 2}
        tracker = build_tracker("botsort", min_hits=1, near=0.3)
        for _ in range(5):
            tracker.update(found((0, 0, 0.9), (16, 0, 0.9), looks=[red, blue]))
        got = tracker.update(found((4, 0, 0.9), (12, 0, 0.9), looks=[blue, red]))
        assert ids(got) == {0: 2, 1: 1}

    def test_looks_follow_by_an_exponential_mean(self) -> None:
        tracker: Any = build_tracker("botsort", min_hits=1, memory=0.75)
        mean = np.array([1.0, 0.0])
        for t in range(5):
            new = np.array([np.cos(t / 9), np.sin(t / 9)])
            tracker.update(found((0, 0, 0.9), looks=[3 * new]))
            mean = 0.75 * mean + 0.25 * new if t else new
            mean /= np.linalg.norm(mean)
            np.testing.assert_allclose(tracker.state_dict()["looks"][0], mean, atol=1e-6)

    @pytest.mark.parametrize("method", ["flow", "ecc"])
    def test_a_camera_that_jumps_loses_nobody(self, method: str) -> None:
        """The camera moves by half a person's width; without compensation he is lost."""
        import cv2

        rng = np.random.default_rng(0)
        noise = rng.integers(0, 255, (30, 60, 3)).astype(np.uint8)
        wall = cv2.resize(noise, (1200, 600), interpolation=cv2.INTER_CUBIC)
        numbers = {}
        for camera in (method, "none"):
            tracker = build_tracker("botsort", min_hits=1, iou=0.4, camera=camera)
            for t in range(6):
                shift = 0 if t < 5 else 24
                view = np.ascontiguousarray(wall[100:400, 300 + shift : 800 + shift])
                tracks = tracker.update(found((200 - shift, 60, 0.9)), frame=view)
            numbers[camera] = ids(tracks)
        assert numbers[method] == {0: 1}
        assert numbers["none"] == {0: 2}


class TestDeepSort:
    RED, BLUE = (1.0, 0.0), (0.0, 1.0)

    def test_looks_decide_within_the_gate(self) -> None:
        tracker = build_tracker("deepsort", min_hits=1)
        for _ in range(4):
            tracker.update(found((0, 0, 0.9), (8, 0, 0.9), looks=[self.RED, self.BLUE]))
        got = tracker.update(found((1, 0, 0.9), (7, 0, 0.9), looks=[self.BLUE, self.RED]))
        assert ids(got) == {0: 2, 1: 1}

    def test_those_seen_last_choose_first(self) -> None:
        """Two tracks of one look: the one that was seen a frame ago takes what both could have."""
        tracker = build_tracker("deepsort", min_hits=1)
        for _ in range(4):
            tracker.update(found((0, 0, 0.9), (12, 0, 0.9), looks=[self.RED, self.RED]))
        tracker.update(found((0, 0, 0.9), looks=[self.RED]))
        assert ids(tracker.update(found((9, 0, 0.9), looks=[self.RED]))) == {0: 1}

    def test_the_budget_forgets_the_oldest_look(self) -> None:
        tracker: Any = build_tracker("deepsort", min_hits=1, budget=3)
        vectors = np.eye(5, dtype=np.float32)
        for vector in vectors:
            tracker.update(found((0, 0, 0.9), looks=[vector]))
        state = tracker.state_dict()
        kept = state["memory"][state["slot"][0]]
        assert sorted(kept.argmax(axis=1).tolist()) == [2, 3, 4]

    def test_slots_are_used_again(self) -> None:
        tracker: Any = build_tracker("deepsort", min_hits=1, max_age=0)
        for t in range(50):
            tracker.update(found((t * 500.0, 0, 0.9), looks=[self.RED]))
        assert len(tracker.state_dict()["memory"]) <= 2

    def test_the_gate_is_that_of_the_full_matrices(self) -> None:
        rng = np.random.default_rng(0)
        start = rng.uniform(0, 90, (6, 2))
        xyxy = np.concatenate((start, start + rng.uniform(20, 60, (6, 2))), axis=1)
        motion = kalman.XYAH
        state = kalman.initiate(motion, motion.measure(xyxy))
        kalman.predict(motion, state)
        z = motion.measure(xyxy + rng.normal(0, 6, (6, 4)))
        spread = kalman.spread(motion, state)
        for i, j in itertools.product(range(6), range(6)):
            h = state[0, i, 3]
            R = np.diag(np.square([h / 20, h / 20, 0.1, h / 20]))
            S = np.diag(state[2, i]) + R
            y = z[j] - state[0, i]
            want = y @ np.linalg.inv(S) @ y
            assert np.square(z[j] - state[0, i]) @ (1 / spread[i]) == pytest.approx(want)
        assert pytest.approx(9.4877, abs=1e-4) == GATE


class TestCentroid:
    def test_the_nearest_centre_within_reach(self) -> None:
        tracker = build_tracker("centroid", min_hits=1, distance=0.5)
        tracker.update(found((0, 0, 0.9), (300, 0, 0.9)))
        # Half a height is 50 pixels.
        assert ids(tracker.update(found((349, 0, 0.9), (51, 0, 0.9)))) == {0: 2, 1: 3}

    def test_stays_where_it_was_seen(self) -> None:
        tracker: Any = build_tracker("centroid", min_hits=1)
        for t in range(5):
            box = found((t * 20.0, 0, 0.9))
            tracks = tracker.update(box)
            np.testing.assert_allclose(tracks.xyxy, box.xyxy)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), times=st.lists(st.floats(0.3, 9), min_size=1, max_size=6))
def test_re_update_equals_the_paper_track_by_track(seed: int, times: list[float]) -> None:
    """Algorithm 1 of OC-SORT for one track after another: go back, follow virtual measurements, predict."""
    rng = np.random.default_rng(seed)
    motion, count = kalman.XYSR, len(times)
    start = rng.uniform(0, 300, (count, 2))
    first = np.concatenate((start, start + rng.uniform(20, 90, (count, 2))), axis=1)
    last = first + rng.normal(0, 30, (count, 1)) + rng.normal(0, 2, (count, 4))
    state = kalman.initiate(motion, motion.measure(first))
    for _ in range(4):
        kalman.predict(motion, state)
        kalman.update(motion, state, motion.measure(first + rng.normal(0, 1, first.shape)))
    got = state.copy()
    kalman.replay(motion, got, first, last, np.array(times))
    for track, time in enumerate(times):
        one = state[:, [track]].copy()
        steps = max(round(time), 1)
        for step in range(1, steps + 1):
            kalman.predict(motion, one, np.array([[time / steps]]))
            if step < steps:
                between = first[[track]] + (last - first)[[track]] * step / steps
                kalman.update(motion, one, motion.measure(between))
        np.testing.assert_allclose(got[:, [track]], one, rtol=1e-9, atol=1e-9)


def test_warp_carries_states_as_matrices_would() -> None:
    """Against R x and R P Rᵀ with full matrices; of P what the state has room for."""
    rng = np.random.default_rng(2)
    state = rng.uniform(1, 9, (5, 3, 4))
    turn = 1.1 * np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    affine = np.concatenate((turn, [[5.0], [-3.0]]), axis=1)
    warped = state.copy()
    kalman.warp(warped, affine)
    R = np.zeros((4, 4))
    R[:2, :2], R[2:, 2:] = turn, 1.1 * np.eye(2)
    for track in range(3):
        value, velocity, p, c, v = state[:, track]
        np.testing.assert_allclose(warped[0, track], R @ value + [5, -3, 0, 0])
        np.testing.assert_allclose(warped[1, track], R @ velocity)
        for plane, entry in ((2, p), (3, c), (4, v)):
            np.testing.assert_allclose(warped[plane, track], np.diag(R @ np.diag(entry) @ R.T))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 12), m=st.integers(0, 12))
def test_near_lists_what_is_near(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, reach = rng.uniform(0, 50, (n, 2)), rng.uniform(0, 50, (m, 2)), rng.uniform(0, 20, (n, 2))
    rows, columns = near(a, b, reach)
    wanted = {(i, j) for i in range(n) for j in range(m) if (np.abs(a[i] - b[j]) < reach[i]).all()}
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == wanted


def test_cosine_and_angle_by_hand() -> None:
    right, up = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)
    assert cosine(right, right).tolist() == [0]
    assert cosine(right, up).tolist() == [1]
    assert cosine(right, -right).tolist() == [2]
    heading = np.array([[1, 0], [1, 0], [1, 0], [0, 0], [1, 0]], np.float64)
    way = np.array([[5, 0], [0, 2], [-3, 0], [1, 1], [0, 0]], np.float64)
    np.testing.assert_allclose(angle(heading, way), [0, np.pi / 2, np.pi, np.pi / 2, np.pi / 2])


def test_stages_give_nobody_twice() -> None:
    found = Stages(2, 2)
    rows, columns = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    found.match(rows, columns, np.array([0.9, 0.1, 0.8, 0.0]), np.array([True, False, False, False]))
    found.match(rows, columns, np.array([0.9, 0.1, 0.8, 0.5]), np.ones(4, bool))
    pairs = set(zip(*(part.tolist() for part in found.pairs()), strict=True))
    assert pairs == {(0, 0), (1, 1)}
    assert not found.free.any()
    assert not found.waiting.any()


def test_botsort_is_stricter_with_unsure_detections_than_bytetrack() -> None:
    """Half of the box is enough for one and not for the other; neither finds lost tracks by them."""
    for name, kept in (("bytetrack", {0: 1}), ("botsort", {})):
        tracker = build_tracker(name)
        for _ in range(3):
            tracker.update(found((0, 0, 0.9)))
        # 14 of 40 pixels apart is an overlap of 0.48.
        assert ids(tracker.update(found((14, 0, 0.5)))) == kept
