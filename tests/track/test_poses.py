"""From maps drawn for people whose joints are known back to those people; boxes from key points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsight import SparsightError
from sparsight.track import build_detector
from sparsight.track.boxes import iou
from sparsight.track.detect import poses
from sparsight.track.detect.keeping import Keep
from sparsight.track.detect.openpose import PoseDetector
from sparsight.track.detect.poses import FIELDS, LIMBS, Floats, Peaks

STANDING = np.array([
    (0, 8), (0, 18), (-9, 18), (-13, 33), (-14, 47), (9, 18), (13, 33), (14, 47), (-6, 47), (-7, 71),
    (-7, 96), (6, 47), (7, 71), (7, 96), (-2, 6), (2, 6), (-5, 7), (5, 7),
], np.float32)  # fmt: skip
"""Somebody 100 high, the top of the head at the origin."""


def person(x: float, y: float, height: float) -> Floats:
    return STANDING * np.float32(height / 100) + np.array([x, y], np.float32)


def draw(crowd: Sequence[Floats], shape: tuple[int, int], width: float = 1.0) -> tuple[Floats, Floats]:
    """Maps as the paper defines the truth: peaks (equation 6), unit vectors along limbs (equation 8).

    Parts that are not a number are left out.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    parts, fields = np.zeros((19, *shape), np.float32), np.zeros((38, *shape), np.float32)
    for joints in crowd:
        for part, (px, py) in enumerate(joints):
            if np.isfinite(px):
                parts[part] = np.maximum(parts[part], np.exp(-((x - px) ** 2 + (y - py) ** 2) / 1.5))
        for (a, b), field in zip(LIMBS, FIELDS, strict=True):
            line = joints[b] - joints[a]
            length = np.linalg.norm(line)
            if not np.isfinite(length) or length == 0:
                continue
            v = line / length
            dx, dy = x - joints[a, 0], y - joints[a, 1]
            on = (dx * v[0] + dy * v[1] >= -1) & (dx * v[0] + dy * v[1] <= length + 1)
            on &= np.abs(dx * v[1] - dy * v[0]) <= width
            fields[field][on], fields[field + 1][on] = v
    return parts, fields


def closest(found: Floats, crowd: Sequence[Floats]) -> Floats:
    """The found people in the crowd's order, by their necks."""
    rows = [int(np.linalg.norm(found[:, 1, :2] - joints[1], axis=1).argmin()) for joints in crowd]
    assert sorted(rows) == list(range(len(crowd)))
    return found[rows]


# --- Grouping --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "crowd",
    [
        [person(30, 4, 40)],
        [person(14, 4, 40), person(40, 8, 32), person(64, 2, 48)],
        [person(30.3, 4.2, 44), person(43.1, 6.7, 44)],  # arm beside arm
        [],
    ],
)
def test_known_people_are_found(crowd: list[Floats]) -> None:
    found = poses.people(*draw(crowd, (56, 80)))
    assert len(found) == len(crowd)
    if crowd:
        for one, joints in zip(closest(found, crowd), crowd, strict=True):
            np.testing.assert_allclose(one[:, :2], joints, atol=0.25)
            assert (one[:, 2] > 0.6).all()


def test_parts_that_are_hidden_stay_zero() -> None:
    joints = person(30, 4, 44)
    joints[[4, 9, 10, 16]] = np.nan
    (found,) = poses.people(*draw([joints], (56, 80)))
    seen = np.isfinite(joints[:, 0])
    np.testing.assert_array_equal(found[~seen], 0)
    np.testing.assert_allclose(found[seen, :2], joints[seen], atol=0.25)


def test_few_parts_are_nobody() -> None:
    joints = person(30, 4, 44)
    joints[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17]] = np.nan  # one leg is left
    assert len(poses.people(*draw([joints], (56, 80)))) == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_peaks_are_the_local_maxima(seed: int) -> None:
    """Against comparing each pixel of the enlarged maps with its eight neighbours."""
    import cv2

    random = np.random.default_rng(seed)
    maps = (random.integers(0, 5, (3, 5, 6)) / 5).astype(np.float32)
    found = poses.peaks(maps)
    expected = set()
    for part, small in enumerate(maps):
        large = cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        framed = np.pad(large, 1, constant_values=-np.inf)
        for row, column in np.ndindex(large.shape):
            around = framed[row : row + 3, column : column + 3]
            if (
                large[row, column] > 0.1
                and (around <= large[row, column]).all()
                and (around == large[row, column]).sum() == 1
            ):
                expected.add((part, (column + 0.5) / 4 - 0.5, (row + 0.5) / 4 - 0.5))
    got = {(int(p), float(x), float(y)) for p, (x, y) in zip(found.part, found.xy, strict=True)}
    assert got >= expected
    assert (np.diff(found.part) >= 0).all()
    # What is more than that are level tops, each of which counts once.
    for part, x, y in got - expected:
        large = cv2.resize(maps[part], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        framed = np.pad(large, 1, constant_values=-np.inf)
        row, column = round((y + 0.5) * 4 - 0.5), round((x + 0.5) * 4 - 0.5)
        assert framed[row : row + 3, column : column + 3].max() == large[row, column]


def test_level_maps_have_one_peak_at_most_and_a_crowd_of_peaks_is_cut() -> None:
    assert len(poses.peaks(np.full((1, 6, 6), 0.5, np.float32)).part) <= 1
    noise = np.random.default_rng(0).random((2, 60, 60)).astype(np.float32)
    found = poses.peaks(noise)
    assert np.bincount(found.part).tolist() == [poses.MOST_PEAKS] * 2
    assert found.score.min() > 0.8  # the best are kept
    assert len(poses.peaks(np.zeros((18, 6, 6), np.float32)).part) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_line_integrals(seed: int) -> None:
    """Against walking each limb point by point."""
    random = np.random.default_rng(seed)
    fields = (random.normal(0.3, 0.3, (38, 6, 7))).astype(np.float32)
    start, end = (random.uniform(-0.4, 6, (12, 2)).astype(np.float32) for _ in range(2))
    limb = random.integers(0, len(LIMBS), 12)
    expected = []
    for a, b, kind in zip(start, end, limb, strict=True):
        v = (b - a) / np.linalg.norm(b - a)
        dots = []
        for share in np.linspace(0, 1, poses.POINTS):
            x, y = np.clip(a + (b - a) * share, 0, [6, 5])
            i, j = min(int(y), 4), min(int(x), 5)
            weights = np.outer([1 - (y - i), y - i], [1 - (x - j), x - j])
            at = [(weights * fields[FIELDS[kind] + k, i : i + 2, j : j + 2]).sum() for k in (0, 1)]
            dots.append(float(at @ v))
        good = np.mean(np.array(dots) > poses.LEAST_ALONG) >= poses.LEAST_POINTS
        expected.append(np.mean(dots) if good else 0)
    np.testing.assert_allclose(poses.along(start, end, limb, fields), expected, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_ends_are_matched_best(seed: int, necks: int, shoulders: int) -> None:
    """One limb, neck to right shoulder, against every way of matching."""
    random = np.random.default_rng(seed)
    fields = np.zeros((38, 8, 8), np.float32)
    fields[FIELDS[0] : FIELDS[0] + 2] = random.normal(0.4, 0.3, (2, 8, 8))
    count = necks + shoulders
    found = Peaks(
        np.array([1] * necks + [2] * shoulders),
        random.uniform(0, 7, (count, 2)).astype(np.float32),
        np.ones(count, np.float32),
    )
    a, b = (m.ravel() for m in np.mgrid[:necks, necks:count])
    score = poses.along(found.xy[a], found.xy[b], np.zeros(len(a), np.int64), fields).reshape(
        necks, shoulders
    )
    wide = np.zeros((max(necks, shoulders),) * 2)
    wide[:necks, :shoulders] = score
    best = max(wide[range(len(wide)), list(p)].sum() for p in itertools.permutations(range(len(wide))))
    first, second = poses.limbs(found, fields)
    assert len(set(first.tolist())) == len(set(second.tolist())) == len(first)
    assert (score[first, second - necks] > 0).all()
    assert score[first, second - necks].sum() == pytest.approx(best, abs=1e-5)


def test_limbs_make_a_tree() -> None:
    """So that nobody has a part twice."""
    assert len(LIMBS) == len(poses.PARTS) - 1
    reached = {1}
    for _ in LIMBS:
        reached |= {int(end) for limb in LIMBS if set(limb.tolist()) & reached for end in limb}
    assert reached == set(range(len(poses.PARTS)))


# --- Boxes -----------------------------------------------------------------------------------------------

WHOLE = np.array([[-16, 0, 16, 100]], np.float32)


def seen(joints: Floats, *missing: int) -> Floats:
    out = np.concatenate([joints, np.full((len(joints), 1), 0.7, np.float32)], axis=1)
    out[list(missing)] = 0
    return out[None]


@pytest.mark.parametrize(
    "missing",
    [
        (),
        (10, 13),
        (9, 10, 12, 13),
        (0, 14, 15, 16, 17),
        (0, 9, 10, 12, 13, 14, 15, 16, 17),
        (2, 3, 4, 8, 9, 10, 14, 16),
        (3, 4, 6, 7, 13),
    ],
    ids=lambda missing: f"{len(missing)}-missing",
)
def test_boxes_hold_whole_people(missing: tuple[int, ...]) -> None:
    box = poses.boxes(seen(STANDING, *missing))
    assert iou(box, WHOLE)[0] > 0.6
    np.testing.assert_allclose(box[0, [1, 3]], [0, 100], atol=6)


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.integers(0, 17), max_size=14),
    st.floats(-500, 500),
    st.floats(-500, 500),
    st.floats(0.1, 10),
    st.integers(0, 2**32 - 1),
)
def test_boxes_hold_all_key_points_and_go_along(
    missing: set[int], x: float, y: float, scale: float, seed: int
) -> None:
    joints = STANDING + np.random.default_rng(seed).normal(0, 12, STANDING.shape).astype(np.float32)
    pose = seen(joints, *missing)
    (box,) = poses.boxes(pose)
    known = pose[0, pose[0, :, 2] > 0, :2]
    assert (known >= box[:2] - 1e-3).all()
    assert (known <= box[2:] + 1e-3).all()
    moved = pose.copy()
    moved[0, :, :2] = np.where(pose[0, :, 2:] > 0, pose[0, :, :2] * scale + [x, y], 0)
    (other,) = poses.boxes(moved)
    np.testing.assert_allclose(other, box * scale + np.array([x, y, x, y]), atol=0.05)


def test_no_boxes_for_nobody() -> None:
    assert poses.boxes(np.zeros((0, 18, 3), np.float32)).shape == (0, 4)


# --- The detector ----------------------------------------------------------------------------------------


class Drawn:
    """In place of a network's session: two people, wherever the input's size puts them."""

    device = "cpu"

    def __init__(self) -> None:
        self.runs: list[tuple[int, ...]] = []

    def run(self, x: Any) -> dict[str, Any]:
        self.runs.append(x.shape)
        shape = x.shape[2] // 8, x.shape[3] // 8
        tall = shape[0] * 0.8
        maps = draw([person(shape[1] * share, 2, tall) for share in (0.3, 0.7)], shape)
        return {name: np.stack([m] * len(x)) for name, m in zip(("parts", "fields"), maps, strict=True)}


def test_people_on_images_of_several_shapes() -> None:
    session = Drawn()
    detector = PoseDetector("openpose", session, 0.3, 0.7, 368)  # type: ignore[arg-type]
    images = [np.zeros(shape, np.uint8) for shape in ((480, 640, 3), (720, 960, 3), (480, 600, 3))]
    batch = detector.batch(images)
    assert sorted(session.runs) == [(1, 3, 368, 464), (2, 3, 368, 488)]  # shapes of one kind run together
    for found, image in zip(batch, images, strict=True):
        height, width = image.shape[:2]
        assert len(found) == 2
        assert found.keypoints is not None
        order = found.xyxy[:, 0].argsort()
        necks = found.keypoints[order, 1, 0]
        np.testing.assert_allclose(necks, [0.3 * width, 0.7 * width], atol=0.015 * width)
        assert (found.xyxy[:, 3] - found.xyxy[:, 1] > 0.7 * height).all()
        assert (found.xyxy >= 0).all()
    detector.keep = Keep(min_size=700)
    assert [len(one) for one in detector.batch(images)] == [0, 0, 0]


def test_weak_people_are_left_out() -> None:
    weak = PoseDetector("openpose", Drawn(), 0.99, 0.7, 368)  # type: ignore[arg-type]
    assert len(weak(np.zeros((480, 640, 3), np.uint8))) == 0


def test_scores_are_on_the_scale_of_trackers() -> None:
    """A mean over parts of 0.5 is where a track may begin: 0.7."""
    detector = PoseDetector("openpose", Drawn(), 0.3, 0.7, 368)  # type: ignore[arg-type]
    found = detector(np.zeros((480, 640, 3), np.uint8))
    assert found.keypoints is not None
    part = found.keypoints[:, :, 2]
    mean = part.sum(axis=1) / (part > 0).sum(axis=1)
    np.testing.assert_allclose(found.score, np.clip(0.7 + (mean - 0.5) * 0.6, 0, 1), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (300, 4, 3)])
def test_images_of_odd_shapes(shape: tuple[int, int, int]) -> None:
    found = PoseDetector("openpose", Drawn(), 0.3, 0.7, 64)(np.zeros(shape, np.uint8))  # type: ignore[arg-type]
    assert np.isfinite(found.xyxy).all()


@pytest.mark.parametrize("options", [{"score": 2}, {"iou": -1}, {"side": 0}, {"side": 1.5}, {"side": 10**6}])
def test_options_of_openpose_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(SparsightError, match=next(iter(options))):
        build_detector("openpose", **options)


def test_networks_that_are_no_openpose() -> None:
    with pytest.raises(SparsightError, match="network given to openpose has outputs of shape"):
        network = nn.Conv2d(3, 4, 3)
        network.input_shape = (3, 64, 64)  # type: ignore[assignment]
        build_detector("openpose", device="cpu", network=network)
