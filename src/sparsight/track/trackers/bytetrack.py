"""ByteTrack: detections of low score continue tracks too (Zhang et al., ECCV 2022)."""

from __future__ import annotations

from sparsight.track import kalman
from sparsight.track.trackers.base import BaseTracker, candidates
from sparsight.track.trackers.core import check_range
from sparsight.track.trackers.stages import Stages
from sparsight.track.types import Detections, Image, Tracks


class ByteTrack(BaseTracker):
    """Follows boxes in stages: sure detections choose first, then unsure ones fill what is left.

    A person half hidden is detected with a low score. Such boxes are too many to begin tracks with, but those
    that lie where a track seen a moment ago should be are worth having.
    """

    def __init__(
        self,
        *,
        iou: float = 0.1,
        low_iou: float = 0.3,
        new_iou: float = 0.1,
        score: float = 0.1,
        high_score: float = 0.6,
        new_score: float = 0.7,
        max_age: float = 30,
        min_hits: int = 2,
        invalid: str = "refuse",
    ) -> None:
        """Start without tracks.

        Args:
            iou: overlap in [0, 1) above which a sure detection may belong to a confirmed track.
            low_iou: the same for an unsure detection and a track seen in the last frame.
            new_iou: the same for a sure detection and a tentative track.
            score: detections below are passed over.
            high_score: detections of this score and more are sure, others unsure.
            new_score: detections below begin no tracks.
            max_age: frames a track may go unseen before it is removed (mean intervals, with time stamps).
            min_hits: frames in a row that a track must be seen in before it is reported.
            invalid: "refuse" boxes and scores that are not finite by an error, or "drop" them.

        Raises:
            SparsightError: a parameter is out of its range.
        """
        for name, value in (("iou", iou), ("low_iou", low_iou), ("new_iou", new_iou)):
            check_range(name, value, 0, 1, below=True)
        super().__init__(kalman.WALKERS, max_age=max_age, min_hits=min_hits, invalid=invalid)
        self._iou, self._low_iou, self._new_iou = iou, low_iou, new_iou
        self._score = score
        self._high_score = max(score, high_score)
        self._new_score = max(self._high_score, new_score)

    def _follow(self, detections: Detections, frame: Image | None, timestamp: float | None) -> Tracks:
        tracks = self._tracks
        expected = tracks.advance(timestamp)
        rows, taken, overlap = candidates(
            tracks, expected, detections, min(self._iou, self._low_iou, self._new_iou)
        )
        confirmed = (tracks.id > 0)[rows]
        high = (detections.score >= self._high_score)[taken]
        found = Stages(len(tracks), len(detections))
        found.match(rows, taken, overlap - self._iou, confirmed & high)
        if not high.all():
            low = (detections.score >= self._score)[taken] & ~high
            found.match(rows, taken, overlap - self._low_iou, low & confirmed & tracks.recent()[rows])
        if not confirmed.all():
            found.match(rows, taken, overlap - self._new_iou, high & ~confirmed)
        born = found.free & (detections.score >= self._new_score)
        return tracks.commit(detections, *found.pairs(), born.nonzero()[0])
