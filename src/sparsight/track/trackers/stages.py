"""Association in stages: who is matched in one takes no part in those after it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.track.associate import assign
from sparsight.track.trackers.core import Rows


class Stages:
    """What has been matched so far in a frame.

    Args:
        tracks: how many there are.
        detections: how many there are.

    Attributes:
        waiting: (N,) tracks that have no detection yet.
        free: (M,) detections that no track has taken yet.
    """

    def __init__(self, tracks: int, detections: int) -> None:
        self.waiting = np.ones(tracks, bool)
        self.free = np.ones(detections, bool)
        self._rows: list[Rows] = []
        self._taken: list[Rows] = []

    def match(
        self, rows: Rows, taken: Rows, gain: NDArray[np.floating[Any]], allowed: NDArray[np.bool_]
    ) -> None:
        """One stage: the best assignment among those pairs that are allowed and still to be had.

        Args:
            rows: (P,) track of each pair.
            taken: (P,) its detection.
            gain: (P,) what the pair is worth; nothing at 0 and below.
            allowed: (P,) whether it may be taken in this stage.
        """
        allowed = allowed & (gain > 0)
        if self._rows:
            allowed &= self.waiting[rows]
            allowed &= self.free[taken]
        if not allowed.all():
            chosen = allowed.nonzero()[0]
            rows, taken, gain = rows[chosen], taken[chosen], gain[chosen]
        if not len(rows):
            return
        pairs = assign(rows, taken, gain, (len(self.waiting), len(self.free)))
        rows, taken = rows[pairs], taken[pairs]
        self.waiting[rows] = False
        self.free[taken] = False
        self._rows.append(rows)
        self._taken.append(taken)

    def pairs(self) -> tuple[Rows, Rows]:
        """All that was matched: tracks and their detections, both (K,)."""
        if len(self._rows) == 1:
            return self._rows[0], self._taken[0]
        none = np.zeros(0, np.intp)
        return np.concatenate([none, *self._rows]), np.concatenate([none, *self._taken])
