from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sparsight import SparsightError
from sparsight.track import boxes


def random_boxes(rng: np.random.Generator, count: int, extent: float = 100, size: float = 30) -> np.ndarray:
    start = rng.uniform(0, extent, (count, 2))
    return np.concatenate((start, start + rng.uniform(0, size, (count, 2))), axis=1).astype(np.float32)


def iou_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = max(a[2] - a[0], 0) * max(a[3] - a[1], 0) + max(b[2] - b[0], 0) * max(b[3] - b[1], 0) - shared
    return shared / union if union > 0 else 0.0


cells = arrays(np.int64, st.tuples(st.integers(1, 6), st.just(4)), elements=st.integers(0, 12))


@given(cells, cells)
def test_iou_counts_pixels(first: np.ndarray, second: np.ndarray) -> None:
    """On whole pixels the IoU is a count of pixels in both over pixels in either."""

    def paint(box: np.ndarray) -> np.ndarray:
        image = np.zeros((12, 12), bool)
        image[box[1] : max(box[1], box[3]), box[0] : max(box[0], box[2])] = True
        return image

    matrix = boxes.iou(first[:, None].astype(np.float32), second.astype(np.float32))
    for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second)):
        both, either = paint(a) & paint(b), paint(a) | paint(b)
        assert matrix[i, j] == pytest.approx(both.sum() / max(either.sum(), 1), abs=1e-6)
        assert boxes.area(a) == paint(a).sum()


def test_iou_of_rows_is_the_diagonal_of_the_matrix() -> None:
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 50), random_boxes(rng, 50)
    assert np.array_equal(boxes.iou(a, b), np.diag(boxes.iou(a[:, None], b)))


def test_degenerate_boxes_overlap_nothing_and_give_no_nan() -> None:
    flat = np.array([[5, 5, 5, 9], [5, 5, 5, 5], [9, 9, 5, 5]], np.float32)
    others = np.concatenate((flat, np.array([[0, 0, 20, 20]], np.float32)))
    for measure in (boxes.iou, boxes.giou, boxes.diou):
        assert np.isfinite(measure(flat[:, None], others)).all()
    assert (boxes.iou(flat[:, None], others) == 0).all()
    assert (boxes.area(flat) == 0).all()


def test_giou_and_diou_known_values() -> None:
    a = np.array([[0, 0, 2, 2]], np.float64)
    b = np.array([[1, 1, 3, 3], [4, 0, 6, 2], [0, 0, 2, 2]], np.float64)
    # Hull 3×3, union 7; hull 6×2, union 8.
    assert boxes.giou(a, b) == pytest.approx([1 / 7 - 2 / 9, 0 - 4 / 12, 1])
    # Centres √2 apart in a hull of diagonal √18; 4 apart in one of diagonal √40.
    assert boxes.diou(a, b) == pytest.approx([1 / 7 - 2 / 18, 0 - 16 / 40, 1])


def test_clip_keeps_what_is_inside() -> None:
    xyxy = np.array([[-5, -5, 5, 5], [90, 40, 110, 60], [200, 200, 300, 300]], np.float32)
    inside = boxes.clip(xyxy, 100, 50)
    assert inside.dtype == np.float32
    assert inside[:2].tolist() == [[0, 0, 5, 5], [90, 40, 100, 50]]
    assert boxes.area(inside)[2] == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([(0, 3), (5, 0), (7, 9), (300, 400)]), st.floats(1, 200))
def test_overlapping_lists_each_pair_once(seed: int, counts: tuple[int, int], size: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = (random_boxes(rng, count, 1000, size) for count in counts)
    rows, columns = boxes.overlapping(a, b)
    found = set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(found) == len(rows)
    assert found == {(i, j) for i, j in np.ndindex(*counts) if iou_by_hand(a[i], b[j]) > 0}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([np.nan, 0, 1, 1], "not finite"),
        ([0, 0, np.inf, 1], "not finite"),
        ([-np.inf, 0, np.inf, 1], "not finite"),
        ([5, 0, 4, 1], "ends before"),
    ],
)
def test_check_names_the_bad_row(row: list[float], fault: str) -> None:
    good = [0, 0, 1, 1]
    boxes.check(np.array([good, [3, 3, 3, 3]], np.float32))
    with pytest.raises(SparsightError, match=rf"detection 2 .*{fault}"):
        boxes.check(np.array([good, good, row], np.float32))
