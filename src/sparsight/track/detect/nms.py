"""Greedy non-maximum suppression without a Python loop over boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.track.boxes import iou

_BLOCK = 512
"""Boxes compared with each other at once; bounds the memory, whatever the number of boxes."""


def nms(
    xyxy: NDArray[np.float32],
    score: NDArray[np.float32],
    class_id: NDArray[np.int64] | None = None,
    *,
    threshold: float,
) -> NDArray[np.intp]:
    """The boxes that greedy non-maximum suppression keeps.

    From the highest score down (the earlier row where scores tie), a box is kept unless its IoU with a kept
    box of the same class exceeds ``threshold``.

    Args:
        xyxy: (N, 4) boxes.
        score: (N,) scores.
        class_id: (N,) classes; None if all are of one.
        threshold: the IoU above which the lower of two boxes goes, in [0, 1].

    Returns:
        Rows of the kept boxes, (K,), in falling order of score.
    """
    order = np.argsort(-score, kind="stable")
    classes = np.zeros(len(xyxy), np.int64) if class_id is None else class_id
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        block = block[~_suppresses(xyxy, classes, kept, block, threshold).any(axis=0)]
        kept = np.concatenate([kept, block[_greedy(_suppresses(xyxy, classes, block, block, threshold))]])
    return kept


def _suppresses(
    xyxy: NDArray[np.float32],
    classes: NDArray[np.int64],
    above: NDArray[np.intp],
    below: NDArray[np.intp],
    threshold: float,
) -> NDArray[np.bool_]:
    """Which of the rows ``above`` would suppress which of the rows ``below``, scores aside."""
    overlap: NDArray[np.bool_] = iou(xyxy[above, None], xyxy[below]) > threshold
    overlap &= classes[above, None] == classes[below]
    return overlap


def _greedy(suppresses: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who is kept, given who would suppress whom among boxes in falling order of score.

    Being kept is "suppressed by nobody who is kept and stands before". Applying that rule to all boxes at
    once, over and over, settles at least one more box from the front each time, and in practice ends after as
    many rounds as the longest chain of boxes of which each suppresses the next: a handful.
    """
    before = np.triu(suppresses, k=1)
    keep: NDArray[np.bool_] = np.ones(len(before), np.bool_)
    while True:
        again: NDArray[np.bool_] = np.logical_not(before[keep].any(axis=0))
        if np.array_equal(again, keep):
            return keep
        keep = again
