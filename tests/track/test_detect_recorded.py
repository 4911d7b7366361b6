"""Detections and ground truth from text files as detectors; regions of interest; options behind names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.media import write_image
from sparsight.track import build_detector
from sparsight.track.detect import detect
from sparsight.track.detect.keeping import inside_polygon
from sparsight.track.detect.recorded import Recorded

IMAGE = np.zeros((100, 200, 3), np.uint8)
DETECTED = "3,-1,10,20,30,40,0.5\n1,-1,50,50,10,30,0.9\n1,-1,20,10,10,20,0.2\n1,-1,300,10,10,20,0.9\n"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "det.txt"
    path.write_text(DETECTED)
    return path


def recorded(name: str, **options: Any) -> Recorded:
    detector = build_detector(name, **options)
    assert isinstance(detector, Recorded)
    return detector


# --- Frames ----------------------------------------------------------------------------------------------


def test_each_frame_has_its_own(text: Path) -> None:
    detector = recorded(f"mot:{text}")
    first, second, third, fourth = (detector(IMAGE) for _ in range(4))
    np.testing.assert_array_equal(first.xyxy, [[50, 50, 60, 80], [20, 10, 30, 30]])  # one lies outside
    np.testing.assert_allclose(first.score, [0.9, 0.2])
    np.testing.assert_array_equal(third.xyxy, [[10, 20, 40, 60]])
    assert len(second) == len(fourth) == 0
    np.testing.assert_array_equal(first.class_id, [0, 0])
    detector.reset()
    assert len(detector(IMAGE)) == 2
    assert detector.device == "cpu"


def test_a_batch_goes_on_from_the_last(text: Path) -> None:
    detector = recorded(f"mot:{text}")
    assert [len(one) for one in detector.batch([IMAGE] * 2)] == [2, 0]
    assert [len(one) for one in detector.batch([IMAGE] * 2)] == [1, 0]


def test_frames_may_be_left_out(text: Path) -> None:
    detector = recorded(f"mot:{text}")
    assert [len(detect(detector, IMAGE, index)) for index in (2, 0, 4, 1, 10**9)] == [1, 2, 0, 0, 0]


def test_scores_are_the_files_own(tmp_path: Path) -> None:
    (tmp_path / "det.txt").write_text("1,-1,1,1,9,9,64.2\n1,-1,2,2,9,9,-3\n")
    np.testing.assert_allclose(recorded(f"mot:{tmp_path / 'det.txt'}")(IMAGE).score, [64.2, -3])
    assert len(recorded(f"mot:{tmp_path / 'det.txt'}", score=10)(IMAGE)) == 1
    with pytest.raises(SparsightError, match="score='high'"):
        build_detector(f"mot:{tmp_path / 'det.txt'}", score="high")


def test_ground_truth_leaves_out_what_does_not_count(tmp_path: Path) -> None:
    mot = tmp_path / "gt.txt"
    mot.write_text("1,1,10,10,20,40,1,1,0.5\n1,2,50,10,20,40,0,8,1\n")
    found = recorded(f"groundtruth:{mot}")(IMAGE)
    np.testing.assert_array_equal(found.xyxy, [[10, 10, 30, 50]])
    np.testing.assert_array_equal(found.score, [1])
    pose = tmp_path / "film.txt"
    pose.write_text(
        "0\t(20, 30)\tAnna\t[10 10 20 40]\t[10 10 30 50]\n2\t(60, 30)\tBo\t[50 10 20 40]\t[50 10 70 50]\n"
    )
    detector = recorded(f"groundtruth:{pose}")
    np.testing.assert_array_equal(
        [detect(detector, IMAGE, index).xyxy[:, 0].tolist() for index in (0, 2)], [[10], [50]]
    )


def test_files_that_are_missing_or_malformed(tmp_path: Path) -> None:
    for name in ("mot", "groundtruth"):
        with pytest.raises(SparsightError, match=f"detector {name} needs a file: write {name}:FILE"):
            build_detector(name)
        (tmp_path / "bad.txt").write_text("1,1,10,10\n")
        with pytest.raises(SparsightError, match=r"bad\.txt, line 1"):
            build_detector(f"{name}:{tmp_path / 'bad.txt'}")
        (tmp_path / "empty.txt").write_text("")
        assert len(build_detector(f"{name}:{tmp_path / 'empty.txt'}")(IMAGE)) == 0


# --- What is kept ----------------------------------------------------------------------------------------


def test_the_longer_side_decides(text: Path) -> None:
    assert [len(recorded(f"mot:{text}", min_size=size)(IMAGE)) for size in (0, 20, 20.5, 31)] == [2, 2, 1, 0]


def test_the_foot_must_stand_in_the_polygon(text: Path) -> None:
    right = ((40, 0), (200, 0), (200, 100), (40, 100))
    np.testing.assert_array_equal(recorded(f"mot:{text}", roi=right)(IMAGE).xyxy, [[50, 50, 60, 80]])
    np.testing.assert_array_equal(
        recorded(f"mot:{text}", roi=np.array([(0, 0), (200, 0), (0, 60)]))(IMAGE).xyxy, [[20, 10, 30, 30]]
    )


def test_masks(text: Path, tmp_path: Path) -> None:
    mask = np.zeros((100, 200), np.uint8)
    mask[79, 55] = 255  # the pixel under the first box's feet
    np.testing.assert_array_equal(recorded(f"mot:{text}", roi=mask > 0)(IMAGE).xyxy, [[50, 50, 60, 80]])
    write_image(tmp_path / "mask.png", np.repeat(mask[:, :, None], 3, axis=2))
    by_name = recorded(f"mot:{text}(roi={str(tmp_path / 'mask.png')!r}, min_size=5)")
    np.testing.assert_array_equal(by_name(IMAGE).xyxy, [[50, 50, 60, 80]])
    with pytest.raises(
        SparsightError, match="mask of the region of interest is 200x100, but the frame is 60x50"
    ):
        by_name(np.zeros((50, 60, 3), np.uint8))


def test_a_box_at_the_lower_border_stands_in_the_whole_image(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text("1,-1,10,60,20,40,1\n1,-1,10,80,20,40,1\n")
    whole = recorded(f"mot:{tmp_path / 'd.txt'}", roi=np.ones((100, 200), bool))
    np.testing.assert_array_equal(whole(IMAGE).xyxy, [[10, 60, 30, 100]])
    corners = recorded(f"mot:{tmp_path / 'd.txt'}", roi=((0, 0), (200, 0), (200, 100), (0, 100)))
    np.testing.assert_array_equal(corners(IMAGE).xyxy, [[10, 60, 30, 100]])


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=8),
    st.integers(0, 2**32 - 1),
)
def test_even_odd_rule(corners: list[tuple[int, int]], seed: int) -> None:
    """Against counting, corner by corner, with exact fractions of a pixel that no edge goes through."""
    points = np.random.default_rng(seed).integers(0, 20, (30, 2)) + np.array([0.5, 1 / np.pi])
    polygon = np.array(corners, float)
    expected = [sum(_crosses(x, y, *a, *b) for a, b in _edges(polygon)) % 2 == 1 for x, y in points.tolist()]
    np.testing.assert_array_equal(inside_polygon(points, polygon), expected)


def _edges(polygon: NDArray[np.float64]) -> list[tuple[list[float], list[float]]]:
    rows = polygon.tolist()
    return list(zip(rows, rows[1:] + rows[:1], strict=True))


def _crosses(x: float, y: float, x1: float, y1: float, x2: float, y2: float) -> bool:
    if min(y1, y2) > y or max(y1, y2) <= y:
        return False
    share = (y - y1) / (y2 - y1)
    return x < x1 * (1 - share) + x2 * share


@pytest.mark.parametrize(
    "roi", [(), ((0, 0), (1, 1)), ((0, 0), (1,), (2, 2)), 5, ((0, 0), (1, 1), (2, float("nan")))]
)
def test_regions_that_are_none(text: Path, roi: Any) -> None:
    with pytest.raises(SparsightError, match="is no region: give at least three corners"):
        build_detector(f"mot:{text}", roi=roi)


@pytest.mark.parametrize("size", [-1, float("nan"), float("inf"), "big"])
def test_sizes_that_are_none(text: Path, size: Any) -> None:
    with pytest.raises(SparsightError, match="min_size"):
        build_detector(f"mot:{text}", min_size=size)


# --- Options behind the name -----------------------------------------------------------------------------


def test_options_behind_the_name(tmp_path: Path) -> None:
    path = tmp_path / "det (2).txt"
    path.write_text(DETECTED)
    assert len(build_detector(f"mot:{path}(score=0.5)")(IMAGE)) == 1
    assert len(build_detector(f"mot:{path}(score=0.5)", score=0)(IMAGE)) == 2  # what is given apart counts
    closing = tmp_path / "det(score=1)"
    closing.write_text(DETECTED)
    assert len(build_detector(f"mot:{closing}")(IMAGE)) == 2
    for bad in (f"mot:{path}(0.5)", f"mot:{path}(score=)", f"mot:{path}(score=open('x'))"):
        with pytest.raises(SparsightError, match="is no detector with options"):
            build_detector(bad)
    with pytest.raises(
        SparsightError, match="no option of the detector mot called 'scor': did you mean 'score'"
    ):
        build_detector(f"mot:{path}(scor=1)")
    with pytest.raises(SparsightError, match="no option of the detector mot called 'device'"):
        build_detector(f"mot:{path}(device='cpu')")
