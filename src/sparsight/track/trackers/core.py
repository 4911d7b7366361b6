"""What all trackers share: the state of their tracks, the life of a track, and the clock."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track import boxes, kalman
from sparsight.track.types import Detections, Tracks

Rows: TypeAlias = NDArray[np.intp]

NO_CLASS = -1
"""Class of tracks whose detections carry none."""


def check(detections: Detections) -> None:
    """Refuse detections that no tracker can use.

    Raises:
        SparsightError: a box that is not finite or has a negative size, or a score that is not finite.
    """
    boxes.check(detections.xyxy)
    if not np.isfinite(detections.score).all():
        row = int(np.argmin(np.isfinite(detections.score)))
        raise SparsightError(
            f"the score of detection {row} is {detections.score[row]}, but scores must be finite."
        )


class Clock:
    """Counts time in frames: by calls, or by time stamps in units of their running mean interval."""

    _MEMORY = 50
    """Intervals over which the mean runs: a change of frame rate is followed, one late frame is not."""

    def __init__(self) -> None:
        self.now = 0.0
        self._stamp: float | None = None
        self._interval = 0.0
        self._intervals = 0
        self._started = False

    def tick(self, timestamp: float | None) -> float:
        """Go to the next frame and return how far away it is, in frames (1 without time stamps).

        Raises:
            SparsightError: the time stamp is not finite, lies before the last one, or is given now and not
                before, or before and not now.
        """
        step = self._step(timestamp)
        self._stamp, self._started = timestamp, True
        self.now += step
        return step

    def _step(self, timestamp: float | None) -> float:
        if self._started and (timestamp is None) != (self._stamp is None):
            raise SparsightError(
                f"the frame has timestamp {timestamp} and the one before it {self._stamp}: give a timestamp "
                "with every frame or with none, or call reset() first."
            )
        if timestamp is None:
            return 1.0
        if not math.isfinite(timestamp):
            raise SparsightError(f"the timestamp {timestamp} is not a number of seconds.")
        if self._stamp is None:
            return 1.0
        interval = timestamp - self._stamp
        if interval < 0:
            raise SparsightError(
                f"the timestamp {timestamp} s lies before the last one, {self._stamp} s: give the frames in "
                "order, or call reset() before another video."
            )
        if self._interval == 0:
            self._interval = interval
        step = interval / self._interval if self._interval > 0 else 1.0
        self._intervals = min(self._intervals + 1, self._MEMORY)
        self._interval += (interval - self._interval) / self._intervals
        return step


class TrackSet:
    """All tracks of a tracker, as one set of arrays with a row per track, and the life they lead.

    A track is *tentative* until it was seen in ``min_hits`` frames in a row, and is dropped when it misses
    one of them. Then it is *confirmed* and gets its number. When it is not seen it is *lost*: its motion goes
    on unseen, and it may be found again within ``max_age`` frames, after which it is *removed*.

    A frame is :meth:`advance`, then whatever association the tracker makes, then :meth:`commit`.

    Attributes:
        state: (5, N, 4) the Kalman filter's, see ``sparsight.track.kalman``.
        id: (N,) number of the track, from 1 in the order of confirmation; 0 while tentative.
        hits: (N,) frames it was seen in.
        last_seen: (N,) time on the clock when it was seen last.
        class_id: (N,) class of its first detection, ``NO_CLASS`` if that had none.
    """

    _COLUMNS = ("id", "hits", "last_seen", "class_id")

    def __init__(self, motion: kalman.Motion, *, max_age: float, min_hits: int) -> None:
        self.motion = motion
        self.max_age = max_age
        self.min_hits = min_hits
        self.clock = Clock()
        self.state: kalman.State = np.zeros((5, 0, 4))
        self.id: NDArray[np.int64] = np.zeros(0, np.int64)
        self.hits: NDArray[np.int64] = np.zeros(0, np.int64)
        self.last_seen: NDArray[np.float64] = np.zeros(0)
        self.class_id: NDArray[np.int64] = np.zeros(0, np.int64)
        self._confirmed = 0

    def __len__(self) -> int:
        return len(self.id)

    def advance(self, timestamp: float | None) -> NDArray[np.float32]:
        """Move on to the next frame and return where each track should be in it: (N, 4) ``xyxy``."""
        step = self.clock.tick(timestamp)
        if step > 1:
            self._keep(self._unseen() - 1 < self.max_age + 0.5)
        kalman.predict(self.motion, self.state, step)
        return self.motion.boxes(self.state[0]).astype(np.float32)

    def commit(self, detections: Detections, rows: Rows, taken: Rows, born: Rows) -> Tracks:
        """End the frame: tracks take their detections, others are lost or removed, and new ones begin.

        Args:
            detections: all of the frame's.
            rows: (K,) tracks that were found in this frame.
            taken: (K,) the detection that each of them takes.
            born: (B,) detections that begin a track.

        Returns:
            The confirmed tracks seen in this frame, in the order of their detections, where the filter puts
            them: its boxes tremble less than the detector's, and fit people better.
        """
        now = self.clock.now
        measured = self.motion.measure(detections.xyxy)
        found = self.state[:, rows]
        kalman.update(self.motion, found, measured[taken])
        self.state[:, rows] = found
        self.last_seen[rows] = now
        self.hits[rows] += 1
        self._confirm(rows)
        number = np.zeros(len(detections), np.int64)
        number[taken] = self.id[rows]
        xyxy = detections.xyxy.copy()
        xyxy[taken] = self.motion.boxes(found[0])

        keep = self._unseen() < self.max_age + 0.5
        keep &= self.id > 0
        keep[rows] = True
        self._keep(keep)
        if len(born):
            self._begin(detections, measured, born)
            number[born] = self.id[-len(born) :]

        seen = number.nonzero()[0]
        return Tracks(
            xyxy=xyxy[seen],
            id=number[seen],
            score=detections.score[seen],
            class_id=None if detections.class_id is None else detections.class_id[seen],
            detection=seen,
        )

    def _unseen(self) -> NDArray[np.float64]:
        """Frames for which each track has not been seen, this one included; irregular ones are not whole."""
        return self.clock.now - self.last_seen

    def _confirm(self, rows: Rows) -> None:
        """Give a number to those of the tracks that were seen often enough and have none."""
        rows = rows[(self.hits[rows] >= self.min_hits) & (self.id[rows] == 0)]
        if len(rows):
            self.id[rows] = np.arange(1, len(rows) + 1) + self._confirmed
            self._confirmed += len(rows)

    def _keep(self, flags: NDArray[np.bool_]) -> None:
        if flags.all():
            return
        rows = flags.nonzero()[0]
        self.state = self.state[:, rows]
        for column in self._COLUMNS:
            setattr(self, column, getattr(self, column)[rows])

    def _begin(self, detections: Detections, measured: kalman.State, born: Rows) -> None:
        count = len(born)
        new = {
            "id": np.zeros(count, np.int64),
            "hits": np.ones(count, np.int64),
            "last_seen": np.full(count, self.clock.now),
            "class_id": np.full(count, NO_CLASS)
            if detections.class_id is None
            else detections.class_id[born],
        }
        self.state = np.concatenate((self.state, kalman.initiate(self.motion, measured[born])), axis=1)
        for column in self._COLUMNS:
            setattr(self, column, np.concatenate((getattr(self, column), new[column])))
        self._confirm(np.arange(len(self) - count, len(self)))
