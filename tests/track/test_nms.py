"""Suppression against the plain loop that defines it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from sparsight.track.detect.nms import nms


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    areas = [max(c[2] - c[0], 0) * max(c[3] - c[1], 0) for c in (a, b)]
    union = sum(areas) - shared
    return float(shared / union) if union > 0 else 0.0


def brute_force(
    xyxy: NDArray[np.float32], score: NDArray[np.float32], classes: NDArray[np.int64], threshold: float
) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(score)), key=lambda i: -score[i]):  # sorted is stable
        if all(
            classes[i] != classes[k] or overlap(xyxy[i].astype(float), xyxy[k].astype(float)) <= threshold
            for k in kept
        ):
            kept.append(i)
    return kept


def grid_boxes(random: np.random.Generator, count: int, side: int) -> NDArray[np.float32]:
    """Boxes at whole pixels, so that float32 and float64 agree on every overlap."""
    corner = random.integers(0, side, (count, 2))
    return np.concatenate([corner, corner + random.integers(0, 12, (count, 2))], axis=1).astype(np.float32)


@given(
    hnp.arrays(np.int64, st.tuples(st.integers(0, 30), st.just(4)), elements=st.integers(0, 9)),
    st.sampled_from([0.0, 0.31, 0.47, 0.73, 1.0]),
    st.integers(1, 3),
    st.data(),
)
def test_it_is_the_greedy_loop(
    corners: NDArray[np.int64], threshold: float, classes: int, data: st.DataObject
) -> None:
    count = len(corners)
    xyxy = corners.astype(np.float32)
    xyxy[:, 2:] += xyxy[:, :2]
    score = data.draw(hnp.arrays(np.float32, count, elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])))
    class_id = data.draw(hnp.arrays(np.int64, count, elements=st.integers(0, classes - 1)))
    assert nms(xyxy, score, class_id, threshold=threshold).tolist() == brute_force(
        xyxy, score, class_id, threshold
    )


@pytest.mark.parametrize(("count", "side"), [(600, 60), (1100, 30), (700, 400)])
def test_many_boxes(count: int, side: int) -> None:
    """More than one block, from crowded to sparse."""
    random = np.random.default_rng(count)
    xyxy, score = grid_boxes(random, count, side), random.random(count, np.float32)
    class_id = random.integers(0, 2, count)
    assert nms(xyxy, score, class_id, threshold=0.43).tolist() == brute_force(xyxy, score, class_id, 0.43)


def test_a_chain_of_boxes_each_of_which_suppresses_the_next() -> None:
    """The longest way to the fixed point: every other box stays."""
    start = np.arange(700, dtype=np.float32)
    xyxy = np.stack([start, start * 0, start + 2, start * 0 + 10], axis=1)
    kept = nms(xyxy, 1 - start / 1000, threshold=0.3)
    assert kept.tolist() == list(range(0, 700, 2))


def test_without_classes_all_boxes_compete() -> None:
    xyxy = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32)
    score = np.array([0.5, 0.6], np.float32)
    assert nms(xyxy, score, threshold=0.5).tolist() == [1]
    assert nms(xyxy, score, np.array([0, 1]), threshold=0.5).tolist() == [1, 0]


def test_nothing_in_nothing_out() -> None:
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), threshold=0.5).shape == (0,)
