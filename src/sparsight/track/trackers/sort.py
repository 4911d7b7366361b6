"""SORT: constant velocity, overlap, and the best assignment (Bewley et al., ICIP 2016)."""

from __future__ import annotations

from sparsight.track import kalman
from sparsight.track.associate import assign
from sparsight.track.trackers.base import BaseTracker, candidates
from sparsight.track.trackers.core import check_range
from sparsight.track.types import Detections, Image, Tracks


class Sort(BaseTracker):
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
        invalid: str = "refuse",
    ) -> None:
        """Start without tracks.

        Args:
            iou: overlap in [0, 1) above which a detection may belong to a track, where that should be.
            max_age: frames a track may go unseen before it is removed (mean intervals, with time stamps).
            min_hits: frames in a row that a track must be seen in before it is reported.
            score: detections below are passed over.
            new_score: detections below continue tracks but begin none.
            invalid: "refuse" boxes and scores that are not finite by an error, or "drop" them.

        Raises:
            SparsightError: a parameter is out of its range.
        """
        check_range("iou", iou, 0, 1, below=True)
        super().__init__(kalman.WALKERS, max_age=max_age, min_hits=min_hits, invalid=invalid)
        self._iou = iou
        self._score = score
        self._new_score = max(score, new_score)

    def _follow(self, detections: Detections, frame: Image | None, timestamp: float | None) -> Tracks:
        tracks = self._tracks
        expected = tracks.advance(timestamp)
        rows, taken, gain = candidates(tracks, expected, detections, self._iou)
        sure = detections.score >= self._score
        if not sure.all():
            allowed = sure[taken]
            rows, taken, gain = rows[allowed], taken[allowed], gain[allowed]
        pairs = assign(rows, taken, gain - self._iou, (len(tracks), len(detections)))
        rows, taken = rows[pairs], taken[pairs]
        free = detections.score >= self._new_score
        free[taken] = False
        return tracks.commit(detections, rows, taken, free.nonzero()[0])
