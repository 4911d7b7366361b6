from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.saliency import SaliencyResult
from sparsight.saliency.moving import Moving, motion_map

SHAPE = (120, 160)


def bright(image: NDArray[np.uint8]) -> SaliencyResult:
    values = (image.mean(axis=2) / 255).astype(np.float32)
    return SaliencyResult(values, {"all": values})


def scene(shift: tuple[int, int], one: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """A smooth texture moved by ``shift`` (x, y), with a textured square at ``one``."""
    texture = cv2.GaussianBlur(np.random.default_rng(0).random((400, 400)), (0, 0), 2)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    x, y = 100 - shift[0], 100 - shift[1]
    grey = texture[y : y + SHAPE[0], x : x + SHAPE[1]].astype(np.uint8)
    if one is not None:
        patch = texture[300:330, 300:330].astype(np.uint8)
        grey[one[1] : one[1] + 30, one[0] : one[0] + 30] = patch
    return np.dstack([grey] * 3)


def grey(*arguments: object) -> NDArray[np.uint8]:
    return scene(*arguments)[..., 0].copy()  # type: ignore[arg-type]


def test_what_moves_alone_stands_out() -> None:
    values = motion_map(grey((0, 0), (40, 50)), grey((0, 0), (43, 50)))
    assert values.shape == (30, 40)
    y, x = np.unravel_index(values.argmax(), values.shape)
    assert 45 <= 4 * y < 85
    assert 35 <= 4 * x < 78
    assert values[:8].max() == 0


def test_what_stands_still_while_the_camera_pans_stands_out() -> None:
    values = motion_map(grey((0, 0), (80, 60)), grey((3, 0), (80, 60)))
    inside = values[16:22, 21:27].mean()
    assert inside > 3 * np.delete(values, slice(13, 25), axis=0)[2:-2, 3:-3].mean()


def test_noise_does_not_move() -> None:
    rng = np.random.default_rng(1)
    before = grey((0, 0))
    now = np.clip(before + rng.normal(0, 2, before.shape), 0, 255).astype(np.uint8)
    assert not motion_map(before, before).any()
    assert not motion_map(before, now).any()


def test_motion_is_a_level_of_the_result() -> None:
    moving = Moving(bright, motion=True)
    first = moving(scene((0, 0), (40, 50)), 0.0)
    second = moving(scene((0, 0), (43, 50)), 0.04)
    assert not first.levels["motion"].any()
    own = bright(scene((0, 0), (40, 50))).map
    np.testing.assert_allclose(first.map, (own - own.min()) / np.ptp(own), atol=1e-6)
    assert second.levels["motion"].max() == 1
    assert second.level_weights["all"] == 1
    assert second.level_weights["motion"] == pytest.approx(
        (1 - second.levels["motion"].mean()) ** 2, rel=1e-5
    )


def test_smoothing_follows_by_the_time_between_frames() -> None:
    moving = Moving(bright, smooth=0.5)
    dark, light = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
    assert moving(dark, 0.0).map.max() == 0
    first = moving(light, 0.5)
    np.testing.assert_allclose(first.map, 1 - math.exp(-1), rtol=1e-5)
    # Two half steps get as far as one whole step.
    moving(light, 0.75)
    np.testing.assert_allclose(moving(light, 1.0).map, 1 - math.exp(-2), rtol=1e-5)
    assert first.processing == ("smoothed over 0.5 s",)


def test_a_frame_of_another_size_begins_anew() -> None:
    moving = Moving(bright, smooth=0.5, motion=True)
    moving(np.zeros((40, 50, 3), np.uint8), 0.0)
    result = moving(scene((0, 0)), 0.1)
    own = bright(scene((0, 0))).map
    np.testing.assert_allclose(result.map, (own - own.min()) / np.ptp(own), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (3000, 5)])
def test_frames_of_odd_shapes(shape: tuple[int, int]) -> None:
    moving = Moving(bright, motion=True)
    for time in range(3):
        image = np.random.default_rng(time).integers(0, 256, (*shape, 3), np.uint8)
        assert moving(image, float(time)).map.shape == shape


@pytest.mark.parametrize("smooth", [-1.0, float("nan"), float("inf")])
def test_smoothing_over_no_time(smooth: float) -> None:
    with pytest.raises(SparsightError, match="0 \\(off\\) or more"):
        Moving(bright, smooth=smooth)
