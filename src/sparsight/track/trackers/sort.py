"""SORT: constant velocity, overlap, and the best assignment (Bewley et al., ICIP 2016)."""

from __future__ import annotations

from dataclasses import replace

from sparsight.errors import SparsightError
from sparsight.track import boxes, kalman
from sparsight.track.associate import assign
from sparsight.track.trackers.core import TrackSet, check
from sparsight.track.types import Detections, Image, Tracks

# The published noise is for 30 frames/s, where a person moves little between two of them. At 7 frames/s a
# walker covers a quarter of a body's width and more from one to the next, before any velocity is known.
_MOTION = replace(kalman.XYWH, first_velocity=(1 / 4,) * 4)


class Sort:
    """Follows boxes by motion and overlap alone; all tracks are predicted, compared and corrected at once.

    The defaults are for people at 7 to 30 frames/s. The 2016 paper lost a track at its first gap
    (``max_age`` 1) and let any detection begin one; here a track survives a passing occlusion, and a
    detection of which the detector is unsure may continue a track but not begin one.
    """

    def __init__(
        self,
        *,
        iou: float = 0.1,
        max_age: float = 30,
        min_hits: int = 2,
        score: float = 0.1,
        new_score: float = 0.6,
    ) -> None:
        """Start without tracks.

        Args:
            iou: overlap in [0, 1) above which a detection may belong to a track, where that should be.
            max_age: frames a track may go unseen before it is removed (mean intervals, with time stamps).
            min_hits: frames in a row that a track must be seen in before it is reported.
            score: detections below are passed over.
            new_score: detections below continue tracks but begin none.

        Raises:
            SparsightError: a parameter is out of its range.
        """
        if not 0 <= iou < 1:
            raise SparsightError(f"iou is {iou}, but the least overlap must lie in [0, 1).")
        if not max_age >= 0:
            raise SparsightError(
                f"max_age is {max_age}, but a track cannot go unseen for less than 0 frames."
            )
        if min_hits < 1:
            raise SparsightError(f"min_hits is {min_hits}, but a track must be seen in at least 1 frame.")
        self._iou = iou
        self._score = score
        self._new_score = max(score, new_score)
        self._max_age = max_age
        self._min_hits = min_hits
        self.reset()

    def reset(self) -> None:
        """Forget every track and start again from number 1."""
        self._tracks = TrackSet(_MOTION, max_age=self._max_age, min_hits=self._min_hits)

    def update(
        self, detections: Detections, frame: Image | None = None, timestamp: float | None = None
    ) -> Tracks:
        """As :meth:`sparsight.track.trackers.Tracker.update`; ``frame`` is not looked at."""
        check(detections)
        tracks = self._tracks
        expected = tracks.advance(timestamp)
        rows, taken = boxes.overlapping(expected, detections.xyxy)
        gain = boxes.iou(expected[rows], detections.xyxy[taken]) - self._iou
        allowed = gain > 0
        allowed &= (detections.score >= self._score)[taken]
        if detections.class_id is not None:
            allowed &= tracks.class_id[rows] == detections.class_id[taken]
        rows, taken = rows[allowed], taken[allowed]
        pairs = assign(rows, taken, gain[allowed], (len(tracks), len(detections)))
        rows, taken = rows[pairs], taken[pairs]
        free = detections.score >= self._new_score
        free[taken] = False
        return tracks.commit(detections, rows, taken, free.nonzero()[0])
