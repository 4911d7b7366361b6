"""The camera's motion, against maps by which pictures were really warped."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sparsight import SparsightError
from sparsight.track.motion import CameraMotion, _outside

NOBODY = np.zeros((0, 4), np.float32)


def wall(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (35, 45, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(noise, (900, 700), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize(
    ("method", "degrees", "scale"), [("flow", 1.5, 1.01), ("flow", 0, 1), ("ecc", 1.0, 1.0), ("ecc", 0, 1)]
)
def test_finds_the_map(method: str, degrees: float, scale: float) -> None:
    affine = cv2.getRotationMatrix2D((400, 300), degrees, scale)
    affine[:, 2] += (9, -6)
    picture = wall()
    moved = cv2.warpAffine(picture, affine, (900, 700))
    camera = CameraMotion(method)
    assert np.array_equal(camera(picture[50:600, 50:800], NOBODY), np.eye(2, 3))
    found = camera(moved[50:600, 50:800], NOBODY)
    corners = np.array([[0, 0, 1], [750, 0, 1], [0, 550, 1], [750, 550, 1]], float)
    # The view begins at (50, 50).
    inner = affine.copy()
    inner[:, 2] += affine[:, :2] @ (50, 50) - (50, 50)
    assert np.abs(corners @ found.T - corners @ inner.T).max() < 1.5


@pytest.mark.parametrize("method", ["flow", "ecc"])
def test_frames_that_say_nothing_mean_no_motion(method: str) -> None:
    camera = CameraMotion(method)
    for grey in (0, 0, 200):
        assert np.array_equal(camera(np.full((90, 120, 3), grey, np.uint8), NOBODY), np.eye(2, 3))
    assert np.array_equal(camera(wall()[:200, :300], NOBODY), np.eye(2, 3))  # another size


def test_a_camera_at_rest_is_not_moved_by_people() -> None:
    """A third of the picture, not detected as anybody, moves; the rest does not."""
    picture = wall()[:540, :800].copy()
    camera = CameraMotion("flow")
    camera(picture, NOBODY)
    later = picture.copy()
    later[:, 260:520] = picture[:, 245:505]
    assert np.array_equal(camera(later, NOBODY), np.eye(2, 3))


def test_people_are_left_out() -> None:
    mask = _outside((10, 12), np.array([[2, 3, 5, 6], [4, 4, 30, 8], [-9, -9, 1, 1]], np.float32))
    wanted = np.full((10, 12), 255)
    wanted[3:6, 2:5] = wanted[4:8, 4:12] = wanted[0:1, 0:1] = 0
    assert np.array_equal(mask, wanted)


def test_unknown_method() -> None:
    with pytest.raises(SparsightError, match="'flow'"):
        CameraMotion("flwo")
