"""OC-SORT: trust what was observed more than what was predicted (Cao et al., CVPR 2023)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.track import boxes, kalman
from sparsight.track.trackers.base import BaseTracker, candidates, same_class
from sparsight.track.trackers.core import Arrays, Rows, check_range
from sparsight.track.trackers.stages import Stages
from sparsight.track.types import Detections, Image, Tracks


class OCSort(BaseTracker):
    """Follows boxes by motion and overlap, and mends what the Kalman filter gets wrong while it is blind.

    Three things are added to SORT. *Momentum*: a detection that lies in the direction in which a track has
    been going is preferred. *Recovery*: tracks and detections that are left over are compared once more, by
    where the track was really seen last. *Re-update*: a track that is found again after a gap goes back to
    where it was lost and is led along a straight way to where it is now.
    """

    def __init__(
        self,
        *,
        iou: float = 0.3,
        momentum: float = 0.2,
        span: int = 3,
        score: float = 0.6,
        new_score: float = 0.6,
        max_age: float = 30,
        min_hits: int = 2,
        invalid: str = "refuse",
    ) -> None:
        """Start without tracks.

        Args:
            iou: overlap in [0, 1) above which a detection may belong to a track.
            momentum: weight of the direction beside the overlap, >= 0 (the paper's λ).
            span: frames over which directions are taken (the paper's Δt).
            score: detections below are passed over.
            new_score: detections below continue tracks but begin none.
            max_age: frames a track may go unseen before it is removed (mean intervals, with time stamps).
            min_hits: frames in a row that a track must be seen in before it is reported.
            invalid: "refuse" boxes and scores that are not finite by an error, or "drop" them.

        Raises:
            SparsightError: a parameter is out of its range.
        """
        check_range("iou", iou, 0, 1, below=True)
        check_range("momentum", momentum, 0)
        check_range("span", span, 1, 100)
        more: Arrays = {
            # As the filter was when the track was seen last, for the re-update.
            "seen_state": np.zeros((0, 5, 4)),
            "seen_xyxy": np.zeros((0, 4), np.float32),
            # Centres and moments of the last sightings, the newest first; before the first, its copies.
            "path": np.zeros((0, span, 3)),
            # The unit vector in which the track went when it was seen last; zero where it had not moved.
            "heading": np.zeros((0, 2)),
        }
        super().__init__(kalman.XYSR, max_age=max_age, min_hits=min_hits, invalid=invalid, more=more)
        self._iou = iou
        self._momentum = momentum
        self._span = span
        self._score = score
        self._new_score = max(score, new_score)

    def _follow(self, detections: Detections, frame: Image | None, timestamp: float | None) -> Tracks:
        tracks, more = self._tracks, self._tracks.more
        seen = tracks.last_seen >= tracks.clock.now
        np.copyto(more["seen_state"], tracks.state.transpose(1, 0, 2), where=seen[:, None, None])
        expected = tracks.advance(timestamp)
        sure = detections.score >= self._score
        centre = kalman.to_xywh(detections.xyxy)[:, :2]
        before = self._earlier()

        rows, taken, overlap = candidates(tracks, expected, detections, self._iou)
        found = Stages(len(tracks), len(detections))
        gain: NDArray[np.floating[Any]] = overlap.astype(np.float64)
        if self._momentum:
            turn = angle(more["heading"][rows], centre[taken] - before[rows])
            gain += self._momentum * (0.5 - turn / np.pi) * detections.score[taken]
        found.match(rows, taken, gain, sure[taken])

        left = (found.free & sure).nonzero()[0]
        lost = found.waiting.nonzero()[0]
        if len(left) and len(lost):
            row, column = boxes.overlapping(more["seen_xyxy"][lost], detections.xyxy[left])
            rows, taken = lost[row], left[column]
            gain = boxes.iou(more["seen_xyxy"][rows], detections.xyxy[taken]) - self._iou
            found.match(rows, taken, gain, same_class(tracks, detections, rows, taken))

        rows, taken = found.pairs()
        late = ~tracks.recent()[rows]
        if late.any():
            self._re_update(rows[late], detections.xyxy[taken[late]])
        born = (found.free & (detections.score >= self._new_score)).nonzero()[0]
        return self._commit(detections, rows, taken, born, centre, before)

    def _re_update(self, rows: Rows, xyxy: NDArray[np.float32]) -> None:
        """Take tracks that are found again from where they were lost to just before where they are now."""
        tracks = self._tracks
        state = np.ascontiguousarray(tracks.more["seen_state"][rows].transpose(1, 0, 2))
        kalman.replay(tracks.motion, state, tracks.more["seen_xyxy"][rows], xyxy, tracks.unseen()[rows])
        tracks.state[:, rows] = state

    def _earlier(self) -> NDArray[np.float64]:
        """(N, 2) centre of each track ``span`` frames ago, else the oldest since, else the last one."""
        path = self._tracks.more["path"]
        # Half a frame more, since time stamps never fall exactly.
        recent = path[:, :, 2] >= self._tracks.clock.now - self._span - 0.5
        oldest = np.maximum(recent.sum(axis=1) - 1, 0)
        centre: NDArray[np.float64] = path[np.arange(len(path)), oldest, :2]
        return centre

    def _commit(
        self,
        detections: Detections,
        rows: Rows,
        taken: Rows,
        born: Rows,
        centre: NDArray[np.float64],
        before: NDArray[np.float64],
    ) -> Tracks:
        """End the frame, and note what was observed in it."""
        more, now = self._tracks.more, self._tracks.clock.now
        more["seen_xyxy"][rows] = detections.xyxy[taken]
        way = centre[taken] - before[rows]
        more["heading"][rows] = way / np.maximum(_length(way), 1e-9)[:, None]
        path = more["path"]
        path[rows, 1:] = path[rows, :-1]
        path[rows, 0, :2], path[rows, 0, 2] = centre[taken], now
        first = np.full((len(born), self._span, 3), -np.inf)
        first[:, :, :2] = centre[born, None]
        first[:, 0, 2] = now
        new: Arrays = {
            "seen_state": np.zeros((len(born), 5, 4)),
            "seen_xyxy": detections.xyxy[born],
            "path": first,
            "heading": np.zeros((len(born), 2)),
        }
        return self._tracks.commit(detections, rows, taken, born, new)


def angle(heading: NDArray[np.float64], way: NDArray[np.float64]) -> NDArray[np.float64]:
    """The angle in [0, π] between unit vectors and vectors, row by row; π/2 where either is zero."""
    along = np.einsum("pi,pi->p", heading, way) / np.maximum(_length(way), 1e-9)
    turn: NDArray[np.float64] = np.arccos(np.clip(along, -1, 1))
    return turn


def _length(way: NDArray[np.float64]) -> NDArray[np.float64]:
    """The length of vectors: (P, 2) → (P,)."""
    length: NDArray[np.float64] = np.hypot(way[:, 0], way[:, 1])
    return length
