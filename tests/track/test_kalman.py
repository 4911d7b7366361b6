from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsight.track import kalman

MOTIONS = {"xysr": kalman.XYSR, "xyah": kalman.XYAH, "xywh": kalman.XYWH}


class TextbookFilter:
    """One track, an 8-vector and an 8×8 matrix, exactly as the papers write it."""

    def __init__(self, name: str, z: np.ndarray) -> None:
        self.name = name
        self.x = np.concatenate((z, np.zeros(4)))
        value, velocity, _, first, first_velocity = self.deviations()
        del value, velocity
        self.P = np.diag(np.square(np.concatenate((first, first_velocity))))

    def deviations(self) -> tuple[np.ndarray, ...]:
        """Added to value, to velocity, measured, at first: the numbers of the three papers."""
        w, h = self.x[2], self.x[3]
        if self.name == "xysr":
            return (
                np.array([1, 1, 1, 1]),
                np.sqrt([1e-2, 1e-2, 1e-4, 0]),
                np.sqrt([1, 1, 10, 10]),
                np.sqrt([10, 10, 10, 10]),
                np.sqrt([1e4, 1e4, 1e4, 0]),
            )
        if self.name == "xyah":
            return (
                np.array([h / 20, h / 20, 1e-2, h / 20]),
                np.array([h / 160, h / 160, 1e-5, h / 160]),
                np.array([h / 20, h / 20, 1e-1, h / 20]),
                np.array([2 * h / 20, 2 * h / 20, 1e-2, 2 * h / 20]),
                np.array([10 * h / 160, 10 * h / 160, 1e-5, 10 * h / 160]),
            )
        size = np.array([w, h, w, h])
        return size / 20, size / 160, size / 20, 2 * size / 20, 10 * size / 160

    def predict(self, dt: float) -> None:
        value, velocity, *_ = self.deviations()
        F = np.eye(8)
        F[:4, 4:] = dt * np.eye(4)
        Q = np.diag(np.square(np.concatenate((value, velocity)))) * dt
        self.x = F @ self.x
        self.P = F @ self.P @ F.T + Q

    def update(self, z: np.ndarray) -> None:
        H = np.eye(4, 8)
        S = H @ self.P @ H.T + np.diag(np.square(self.deviations()[2]))
        K = self.P @ H.T @ np.linalg.inv(S)
        self.x = self.x + K @ (z - H @ self.x)
        self.P = (np.eye(8) - K @ H) @ self.P


def unfold(state: np.ndarray, track: int) -> tuple[np.ndarray, np.ndarray]:
    """The 8-vector and 8×8 matrix that the planes stand for."""
    value, velocity, p, c, v = state[:, track]
    return np.concatenate((value, velocity)), np.block([[np.diag(p), np.diag(c)], [np.diag(c), np.diag(v)]])


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(MOTIONS)),
    seed=st.integers(0, 2**32),
    steps=st.lists(st.tuples(st.sampled_from([1.0, 0.5, 2.25]), st.booleans()), min_size=1, max_size=8),
)
def test_equals_the_full_matrix_filter(name: str, seed: int, steps: list[tuple[float, bool]]) -> None:
    motion, rng = MOTIONS[name], np.random.default_rng(seed)
    start = rng.uniform(0, 500, (3, 2))
    drift = rng.normal(0, 4, (3, 2))
    size = rng.uniform(20, 100, (3, 2))

    def measured(time: float) -> np.ndarray:
        corner = start + drift * time + rng.normal(0, 1, (3, 2))
        return motion.measure(np.concatenate((corner, corner + size + rng.normal(0, 1, (3, 2))), axis=1))

    z = measured(0)
    state = kalman.initiate(motion, z)
    textbook = [TextbookFilter(name, row) for row in z]
    time = 0.0
    for dt, seen in steps:
        time += dt
        kalman.predict(motion, state, dt)
        for one in textbook:
            one.predict(dt)
        if seen:
            z = measured(time)
            # The middle track is missed every time: the others are corrected as a subset.
            subset = state[:, [0, 2]]
            kalman.update(motion, subset, z[[0, 2]])
            state[:, [0, 2]] = subset
            for track in (0, 2):
                textbook[track].update(z[track])
        for track, one in enumerate(textbook):
            x, P = unfold(state, track)
            np.testing.assert_allclose(x, one.x, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(P, one.P, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_measuring_a_box_can_be_undone(name: str) -> None:
    rng = np.random.default_rng(1)
    start = rng.uniform(-50, 500, (20, 2))
    xyxy = np.concatenate((start, start + rng.uniform(1, 200, (20, 2))), axis=1)
    motion = MOTIONS[name]
    np.testing.assert_allclose(motion.boxes(motion.measure(xyxy)), xyxy, rtol=1e-9)
    assert motion.measure(xyxy.astype(np.float32)).dtype == np.float64


def test_parametrisations_of_a_known_box() -> None:
    box = np.array([[10, 20, 40, 80]], np.float32)
    assert kalman.to_xywh(box).tolist() == [[25, 50, 30, 60]]
    assert kalman.to_xyah(box).tolist() == [[25, 50, 0.5, 60]]
    assert kalman.to_xysr(box).tolist() == [[25, 50, 1800, 0.5]]


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_boxes_without_a_size_stay_finite(name: str) -> None:
    motion = MOTIONS[name]
    flat = motion.measure(np.array([[5, 5, 5, 9], [5, 5, 9, 5], [5, 5, 5, 5]], np.float32))
    state = kalman.initiate(motion, flat)
    kalman.predict(motion, state)
    assert np.isfinite(state).all()
    assert np.isfinite(motion.boxes(state[0])).all()


def test_velocity_is_learnt_and_carries_a_track_that_is_not_seen() -> None:
    boxes = [np.array([[t * 3.0, 0, t * 3.0 + 20, 50]]) for t in range(30)]
    state = kalman.initiate(kalman.XYWH, kalman.to_xywh(boxes[0]))
    for box in boxes[1:]:
        kalman.predict(kalman.XYWH, state)
        kalman.update(kalman.XYWH, state, kalman.to_xywh(box))
    for _ in range(10):
        kalman.predict(kalman.XYWH, state)
    assert state[0, 0, 0] == pytest.approx(39 * 3 + 10, abs=1)
    assert state[1, 0, 0] == pytest.approx(3, abs=0.05)
