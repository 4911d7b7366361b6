"""One scale of scores for all detectors, so that a tracker's thresholds mean the same with each.

Trackers begin a track where a detector is sure, and only continue one where it is not; their thresholds, 0.6
and 0.7, suit the YOLO family and Faster R-CNN. Other networks are as sure at lower numbers: the mean
confidence of somebody's body parts never comes near 1, say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SURE = 0.7
"""The common score from which on nine of ten detections and more are right, and a track may begin."""


def common(raw: NDArray[np.floating[Any]], sure: float) -> NDArray[np.float32]:
    """A network's own scores on the common scale: 0 stays 0, ``sure`` becomes ``SURE``, 1 stays 1.

    Between them straight lines, so that the order of detections stays.

    Args:
        raw: (...) in [0, 1].
        sure: the network's own score in (0, 1) from which on nine of ten of its detections are right,
            measured on TUD-Campus and TUD-Stadtmitte (``benchmarks/track/detectors.py --scale``).

    Returns:
        (...) float32 in [0, 1].
    """
    if sure == SURE:
        return np.asarray(raw, np.float32)
    scores: NDArray[np.float32] = np.interp(raw, (0, sure, 1), (0, SURE, 1)).astype(np.float32)
    return scores
