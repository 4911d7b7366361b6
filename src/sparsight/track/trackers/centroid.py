"""Centroid: the nearest centre in the last frame (PoseTReID's simplest tracker).

Siv et al., "PoseTReID: skeleton-based person tracking, re-identification and evaluation": a person is whoever
was nearest a moment ago. There is no motion model; a track stays where it was seen last.
"""

from __future__ import annotations

import numpy as np

from sparsight.track import kalman
from sparsight.track.associate import assign, near
from sparsight.track.trackers.base import BaseTracker, same_class
from sparsight.track.trackers.core import check_range
from sparsight.track.types import Detections, Image, Tracks

# A filter that believes every measurement and expects no movement: its state is the last box.
_STILL = kalman.Motion(
    kalman.to_xywh,
    kalman.from_xywh,
    kalman.ones,
    value=(1,) * 4,
    velocity=(0,) * 4,
    measurement=(0,) * 4,
    first_value=(1,) * 4,
    first_velocity=(0,) * 4,
)


class Centroid(BaseTracker):
    """Follows boxes by the distance of their centres alone.

    PoseTReID gives every person the nearest earlier one, within a fixed number of pixels and only from the
    frame before. Here the assignment is the best of all one-to-one ones, the distance is counted in heights
    of the tracked box, so that it suits people near and far, and a track survives a few frames unseen.
    """

    def __init__(
        self,
        *,
        distance: float = 0.5,
        max_age: float = 10,
        min_hits: int = 2,
        score: float = 0.1,
        new_score: float = 0.6,
        invalid: str = "refuse",
    ) -> None:
        """Start without tracks.

        Args:
            distance: how far a centre may move between two sightings, > 0, in heights of the box.
            max_age: frames a track may go unseen before it is removed (mean intervals, with time stamps).
            min_hits: frames in a row that a track must be seen in before it is reported.
            score: detections below are passed over.
            new_score: detections below continue tracks but begin none.
            invalid: "refuse" boxes and scores that are not finite by an error, or "drop" them.

        Raises:
            SparsightError: a parameter is out of its range.
        """
        check_range("distance", distance, 0)
        super().__init__(_STILL, max_age=max_age, min_hits=min_hits, invalid=invalid)
        self._distance = distance
        self._score = score
        self._new_score = max(score, new_score)

    def _follow(self, detections: Detections, frame: Image | None, timestamp: float | None) -> Tracks:
        tracks = self._tracks
        tracks.advance(timestamp)
        before = tracks.state[0]
        now = kalman.to_xywh(detections.xyxy)[:, :2]
        reach = self._distance * before[:, 3]
        rows, taken = near(before[:, :2], now, reach[:, None])
        gain = reach[rows] - np.linalg.norm(before[rows, :2] - now[taken], axis=1)
        allowed = gain > 0
        allowed &= (detections.score >= self._score)[taken]
        allowed &= same_class(tracks, detections, rows, taken)
        rows, taken = rows[allowed], taken[allowed]
        pairs = assign(rows, taken, gain[allowed], (len(tracks), len(detections)))
        rows, taken = rows[pairs], taken[pairs]
        free = detections.score >= self._new_score
        free[taken] = False
        return tracks.commit(detections, rows, taken, free.nonzero()[0])
