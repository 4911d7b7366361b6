"""DeepSORT: SORT that knows its people by their looks (Wojke et al., ICIP 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track import kalman
from sparsight.track.associate import near
from sparsight.track.trackers.base import BaseTracker, candidates, same_class
from sparsight.track.trackers.core import Arrays, Rows, check_range
from sparsight.track.trackers.looks import given, looks_of
from sparsight.track.trackers.stages import Stages
from sparsight.track.types import Detections, Image, Tracks

GATE = 9.4877
"""Squared Mahalanobis distance within which 95% of the measurements of a track fall: χ² of 4 coordinates."""
# As in kalman.WALKERS: at low frame rates a walker's first step is long.
_MOTION = replace(kalman.XYAH, first_velocity=(1 / 8, 1 / 8, 1e-5, 1 / 16))


class DeepSort(BaseTracker):
    """Follows people by looks where the motion allows it, those seen most recently first, then by overlap.

    Looks come from the detections' ``embedding``. A pair in which one has none is judged by its motion alone.
    """

    def __init__(
        self,
        *,
        appearance: float = 0.4,
        motion: float = 0.0,
        iou: float = 0.3,
        budget: int = 30,
        score: float = 0.1,
        new_score: float = 0.6,
        max_age: float = 30,
        min_hits: int = 2,
        invalid: str = "refuse",
    ) -> None:
        """Start without tracks.

        Args:
            appearance: cosine distance in (0, 2] below which a detection may be the person of a track.
            motion: weight in [0, 1] of the motion beside the looks (the paper's λ).
            iou: overlap in [0, 1) above which the last stage may match.
            budget: how many vectors are kept of each track, the newest ones.
            score: detections below are passed over.
            new_score: detections below continue tracks but begin none.
            max_age: frames a track may go unseen before it is removed (mean intervals, with time stamps).
            min_hits: frames in a row that a track must be seen in before it is reported.
            invalid: "refuse" boxes and scores that are not finite by an error, or "drop" them.

        Raises:
            SparsightError: a parameter is out of its range.
        """
        check_range("appearance", appearance, 1e-6, 2)
        check_range("motion", motion, 0, 1)
        check_range("iou", iou, 0, 1, below=True)
        check_range("budget", budget, 1)
        self._budget = int(budget)
        super().__init__(
            _MOTION,
            max_age=max_age,
            min_hits=min_hits,
            invalid=invalid,
            more={"slot": np.zeros(0, np.int64), "looked": np.zeros(0, np.int64)},
        )
        self._appearance, self._weight, self._iou = appearance, motion, iou
        self._score = score
        self._new_score = max(score, new_score)

    def reset(self) -> None:
        """Forget every track and start again from number 1."""
        super().reset()
        # A row for each track, found by its slot: rows stay in place while tracks come and go.
        self._memory = np.zeros((0, self._budget, 0), np.float32)

    def state_dict(self) -> Arrays:
        """As :meth:`BaseTracker.state_dict`."""
        return super().state_dict() | {"memory": self._memory.copy()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """As :meth:`BaseTracker.load_state_dict`."""
        memory = np.asarray(state["memory"]) if "memory" in state else None
        fits = memory is not None and memory.ndim == 3 and memory.shape[1] == self._budget
        if memory is None or not fits or memory.dtype != np.float32:
            raise SparsightError(
                f"the state holds no looks of {self._budget} vectors a track: load what state_dict() of a "
                "tracker with the same budget gave."
            )
        super().load_state_dict(state)
        slot = self._tracks.more["slot"]
        if len(slot) and not 0 <= slot.min() <= slot.max() < len(memory):
            raise SparsightError("the state's looks are fewer than its tracks: the file is damaged.")
        self._memory = memory.copy()

    def _follow(self, detections: Detections, frame: Image | None, timestamp: float | None) -> Tracks:
        tracks = self._tracks
        looks = looks_of(detections, self._memory.shape[2])
        expected = tracks.advance(timestamp)
        if looks.shape[1] != self._memory.shape[2]:  # the first that are seen
            self._memory = np.zeros((*self._memory.shape[:2], looks.shape[1]), np.float32)
        sure = detections.score >= self._score
        confirmed = tracks.id > 0
        found = Stages(len(tracks), len(detections))

        rows, taken, gain = self._likeness(detections, looks)
        allowed = confirmed[rows] & sure[taken]
        unseen = tracks.unseen()[rows]
        for age in np.unique(unseen[allowed]).tolist():
            found.match(rows, taken, gain, allowed & (unseen == age))

        left = found.waiting & (~confirmed | tracks.recent())
        if left.any():
            rows, taken, overlap = candidates(tracks, expected, detections, self._iou)
            found.match(rows, taken, overlap - self._iou, left[rows] & sure[taken])

        rows, taken = found.pairs()
        self._remember(rows, looks[taken])
        born = (found.free & (detections.score >= self._new_score)).nonzero()[0]
        return tracks.commit(detections, rows, taken, born, self._begun(looks[born]))

    def _likeness(
        self, detections: Detections, looks: NDArray[np.float32]
    ) -> tuple[Rows, Rows, NDArray[np.float64]]:
        """The pairs within both gates, eq. 1 to 6, and how much better than the gates they are."""
        tracks = self._tracks
        measured = tracks.motion.measure(detections.xyxy)
        spread = kalman.spread(tracks.motion, tracks.state)
        rows, taken = near(tracks.state[0, :, :2], measured[:, :2], np.sqrt(GATE * spread[:, :2]))
        surprise = measured[taken] - tracks.state[0, rows]
        square = np.einsum("pi,pi->p", surprise, surprise / spread[rows])
        allowed = square < GATE
        allowed &= same_class(tracks, detections, rows, taken)
        rows, taken = rows[allowed], taken[allowed]
        moved = square[allowed] / GATE
        if not looks.any():
            return rows, taken, 1 - moved

        looked = tracks.more["looked"]
        known = (looked > 0)[rows] & given(looks)[taken]
        pairs = known.nonzero()[0]
        distance = np.zeros(len(rows))
        distance[pairs] = self._distance(rows[pairs], looks[taken[pairs]]) / self._appearance
        cost = np.where(known, self._weight * moved + (1 - self._weight) * distance, moved)
        gain = np.where(distance < 1, 1 - cost, 0)
        return rows, taken, gain

    def _distance(self, rows: Rows, looks: NDArray[np.float32]) -> NDArray[np.float64]:
        """The least cosine distance to any vector that a track is known by: (P,)."""
        more = self._tracks.more
        along = np.einsum("pkd,pd->pk", self._memory[more["slot"][rows]], looks)
        along[np.arange(self._budget) >= more["looked"][rows, None]] = -np.inf
        distance: NDArray[np.float64] = 1 - along.max(axis=1).astype(np.float64)
        return distance

    def _remember(self, rows: Rows, looks: NDArray[np.float32]) -> None:
        """Keep the looks of tracks that are seen, in place of their oldest."""
        seen = given(looks)
        rows, looks = rows[seen], looks[seen]
        more = self._tracks.more
        self._memory[more["slot"][rows], more["looked"][rows] % self._budget] = looks
        more["looked"][rows] += 1

    def _begun(self, looks: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
        """A slot and the first vector for each new track."""
        used = np.zeros(len(self._memory), bool)
        used[self._tracks.more["slot"]] = True
        missing = len(looks) - int((~used).sum())
        if missing > 0:
            more = np.zeros((max(missing, len(used)), *self._memory.shape[1:]), np.float32)
            self._memory = np.concatenate((self._memory, more))
            used = np.concatenate((used, np.zeros(len(more), bool)))
        slot = (~used).nonzero()[0][: len(looks)]
        self._memory[slot, 0] = looks
        return {"slot": slot, "looked": given(looks).astype(np.int64)}
