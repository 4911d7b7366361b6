"""Names for tracks, on a scene of coloured boxes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.track import Tracks
from sparsight.track.classify import UNKNOWN, Calibration, Classifier, Machine
from sparsight.track.classify_tracks import TrackNamer
from sparsight.track.embed import unit
from sparsight.track.evidence import sharpness

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "grey": (128, 128, 128)}
CLASSIFIER = Classifier(
    ("red", "green", "blue"),
    "cosine",
    Machine(np.eye(3), np.zeros(3)),
    Calibration(threshold=0.8, far=0.01, steepness=20, slope=30, offset=-24),
    "colours",
    "colours-1",
)


class Colours:
    """The mean colour of each box; counts what it is asked."""

    name, dimension, max_distance = "colours-1", 3, 0.2

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        self.asked.append(len(xyxy))
        rows = [image[y1:y2, x1:x2].mean((0, 1)) for x1, y1, x2, y2 in xyxy.astype(int).tolist()]
        return unit(np.array(rows, np.float32).reshape(-1, 3))


def scene(**who: int) -> tuple[NDArray[np.uint8], Tracks]:
    """People in a row, each a noisy colour; colour (with a digit behind it) → track number."""
    rng = np.random.default_rng(sum(who.values()))
    image = np.zeros((150, 40 + 80 * len(who), 3), np.uint8)
    boxes = []
    for place, name in enumerate(who):
        x = 20 + 80 * place
        noise = rng.integers(-15, 15, (128, 56, 3))
        image[10:138, x : x + 56] = np.clip(np.array(COLOURS[name.rstrip("0123456789")]) + noise, 0, 255)
        boxes.append((x, 10, x + 56, 138))
    count = len(who)
    return image, Tracks(
        np.array(boxes, np.float32), np.array(list(who.values())), np.ones(count, np.float32)
    )


def test_names_and_strangers() -> None:
    namer = TrackNamer(CLASSIFIER, Colours())
    names = namer.update(*scene(blue=7, grey=3, red=12))
    assert names.person.tolist() == [2, UNKNOWN, 0]
    assert (names.probability[[0, 2]] > 0.9).all()
    assert names.probability[1] < 0.5


def test_nobody_is_two_tracks() -> None:
    names = TrackNamer(CLASSIFIER, Colours()).update(*scene(red=1, red2=2, green=3))
    assert sorted(names.person.tolist()) == [UNKNOWN, 0, 1]


def test_when_tracks_are_looked_at() -> None:
    embedder = Colours()
    namer = TrackNamer(CLASSIFIER, embedder, every=10)
    for _ in range(21):
        namer.update(*scene(red=1, grey=2))
    # Both at first; the uncertain one every second frame, the certain one every tenth.
    assert sum(embedder.asked) == 2 + 10 + 2
    assert embedder.asked[0] == 2


def test_the_budget_goes_to_new_tracks_first() -> None:
    embedder = Colours()
    namer = TrackNamer(CLASSIFIER, embedder, budget=2, every=1)
    assert namer.update(*scene(red=1, green=2)).person.tolist() == [0, 1]
    assert namer.update(*scene(red=1, green=2, blue=3)).person.tolist() == [0, 1, 2]
    assert embedder.asked == [2, 2]


def test_a_track_keeps_its_name_out_of_sight_and_loses_it_in_time() -> None:
    namer = TrackNamer(CLASSIFIER, Colours(), patience=3)
    namer.update(*scene(red=1))
    for _ in range(3):
        namer.update(*scene(green=2))
    tiny = np.array([[0, 0, 1, 1]], np.float32)
    image, _ = scene(red=1)
    assert namer.update(image, Tracks(tiny, np.array([1]), np.ones(1))).person.tolist() == [0]
    for _ in range(5):
        namer.update(*scene(green=2))
    found = namer.update(image, Tracks(tiny, np.array([1]), np.ones(1)))
    assert found.person.tolist() == [UNKNOWN]
    assert found.probability.tolist() == [0]


def test_one_bad_crop_does_not_change_a_name() -> None:
    namer = TrackNamer(CLASSIFIER, Colours(), every=1)
    for _ in range(4):
        namer.update(*scene(red=1))
    assert namer.update(*scene(green=1)).person.tolist() == [0]


def test_frames_without_anybody() -> None:
    namer = TrackNamer(CLASSIFIER, Colours())
    assert len(namer.update(np.zeros((9, 9, 3), np.uint8), Tracks.empty()).person) == 0


def test_another_embedder_is_refused() -> None:
    other = Colours()
    other.name = "colours-2"
    with pytest.raises(SparsightError, match="trained on vectors of colours-1, not colours-2"):
        TrackNamer(CLASSIFIER, other)
    with pytest.raises(SparsightError, match="1 or more"):
        TrackNamer(CLASSIFIER, Colours(), budget=0)


def test_blur_takes_sharpness() -> None:
    rng = np.random.default_rng(0)
    crop = cv2.resize(rng.integers(0, 255, (64, 32, 3), np.uint8), (64, 128))
    blurred = [crop, *(cv2.GaussianBlur(crop, (0, 0), sigma) for sigma in (1, 2, 4))]
    found = sharpness(np.stack(blurred))
    assert (np.diff(found) < 0).all()
    dim = (crop // 3 + 40).astype(np.uint8)
    np.testing.assert_allclose(sharpness(dim[None]), found[:1], rtol=0.1)
    assert sharpness(np.full((1, 128, 64, 3), 90, np.uint8))[0] == 0
