"""What every tracker does the same way, whatever its association: refuse, forget, save and go on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track import boxes, kalman
from sparsight.track.trackers.core import Arrays, Rows, TrackSet, check, check_range
from sparsight.track.types import Detections, Image, Tracks

INVALID = ("refuse", "drop")
"""What can be done with boxes and scores that are not finite, and boxes that end before they start."""


class BaseTracker(ABC):
    """A tracker but for its association, which a subclass writes as :meth:`_follow`.

    Args:
        motion: how tracks are described and move.
        max_age: frames a track may go unseen before it is removed.
        min_hits: frames in a row that a track must be seen in before it is reported.
        invalid: one of ``INVALID``.
        more: columns that the tracker keeps beside those of :class:`TrackSet`.

    Raises:
        SparsightError: one is out of its range.
    """

    def __init__(
        self,
        motion: kalman.Motion,
        *,
        max_age: float,
        min_hits: int,
        invalid: str,
        more: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        check_range("max_age", max_age, 0)
        check_range("min_hits", min_hits, 1)
        if invalid not in INVALID:
            raise SparsightError(f"invalid is {invalid!r}, but must be one of {', '.join(INVALID)}.")
        self._motion = motion
        self._max_age = max_age
        self._min_hits = min_hits
        self._drops = invalid == "drop"
        self._more = more or {}
        self.reset()

    def reset(self) -> None:
        """Forget every track and start again from number 1."""
        self._tracks = TrackSet(self._motion, max_age=self._max_age, min_hits=self._min_hits, more=self._more)

    def update(
        self, detections: Detections, frame: Image | None = None, timestamp: float | None = None
    ) -> Tracks:
        """As :meth:`sparsight.track.trackers.Tracker.update`."""
        if self._drops:
            good = boxes.valid(detections.xyxy)
            good &= np.isfinite(detections.score)
            if not good.all():
                left = good.nonzero()[0]
                tracks = self._follow(detections[left], frame, timestamp)
                return replace(tracks, detection=left[tracks.detection])
        else:
            check(detections)
        return self._follow(detections, frame, timestamp)

    def state_dict(self) -> Arrays:
        """Everything that the tracker remembers, as plain arrays by name.

        ``numpy.savez(path, **tracker.state_dict())`` saves it, without pickle; a tracker built with the same
        parameters that is given it by :meth:`load_state_dict` goes on as if it had never stopped.
        """
        return {"tracker": np.array(type(self).__name__), **self._tracks.state_dict()}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state_dict` gave (what ``numpy.load`` reads will do).

        Raises:
            SparsightError: it is another kind of tracker's, or an array is missing or does not fit.
        """
        state = {name: np.asarray(state[name]) for name in state}
        name = str(state.get("tracker", "nothing known"))
        if name != type(self).__name__:
            raise SparsightError(
                f"the state is that of {name}, but this is {type(self).__name__}: load it into its own kind."
            )
        self._tracks.load_state_dict(state)

    @abstractmethod
    def _follow(self, detections: Detections, frame: Image | None, timestamp: float | None) -> Tracks:
        """As :meth:`update`, of detections that are known to be sound."""


def same_class(tracks: TrackSet, detections: Detections, rows: Rows, taken: Rows) -> NDArray[np.bool_]:
    """Which pairs of a track and a detection are of one class: (P,)."""
    if detections.class_id is None:
        return np.ones(len(rows), bool)
    same: NDArray[np.bool_] = tracks.class_id[rows] == detections.class_id[taken]
    return same


def candidates(
    tracks: TrackSet, expected: NDArray[np.float32], detections: Detections, least: float
) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """The pairs of a track and a detection of one class that overlap by more than ``least``.

    Args:
        tracks: all tracks.
        expected: (N, 4) where each of them should be.
        detections: the frame's.
        least: IoU >= 0.

    Returns:
        Rows of tracks, rows of detections, and their IoU, each (P,).
    """
    rows, taken = boxes.overlapping(expected, detections.xyxy)
    overlap = boxes.iou(expected.take(rows, axis=0), detections.xyxy.take(taken, axis=0))
    allowed = overlap > least
    if detections.class_id is not None:
        allowed &= tracks.class_id[rows] == detections.class_id[taken]
    kept = allowed.nonzero()[0]
    return rows.take(kept), taken.take(kept), overlap.take(kept)
