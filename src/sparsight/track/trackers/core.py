"""What all trackers share: the state of their tracks, the life of a track, the clock, and saving all that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track import boxes, kalman
from sparsight.track.types import Detections, Tracks

Rows: TypeAlias = NDArray[np.intp]
Arrays: TypeAlias = dict[str, NDArray[Any]]

NO_CLASS = -1
"""Class of tracks whose detections carry none."""


def check(detections: Detections) -> None:
    """Refuse detections that no tracker can use.

    Raises:
        SparsightError: a box that is not finite or has a negative size, or a score that is not finite.
    """
    boxes.check(detections.xyxy)
    # A sum is finite only where all are, and quicker; that of huge scores may not be, so look again.
    if not math.isfinite(np.add.reduce(detections.score)) and not np.isfinite(detections.score).all():
        row = int(np.argmin(np.isfinite(detections.score)))
        raise SparsightError(
            f"the score of detection {row} is {detections.score[row]}, but scores must be finite."
        )


def check_range(name: str, value: float, low: float, high: float = math.inf, *, below: bool = False) -> None:
    """Refuse a parameter outside of [low, high], or with ``below`` of [low, high).

    Raises:
        SparsightError: it is, or is no number: names the parameter and its range.
    """
    number = isinstance(value, (int, float, np.number))
    if number and low <= value <= high and not (below and value == high):
        return
    range_ = (
        f"be {low:g} or more" if high == math.inf else f"lie in [{low:g}, {high:g}{')' if below else ']'}"
    )
    raise SparsightError(f"{name} is {value!r}, but must {range_}.")


class Clock:
    """Counts time in frames: by calls, or by time stamps in units of their running mean interval."""

    _MEMORY = 50
    """Intervals over which the mean runs: a change of frame rate is followed, one late frame is not."""

    def __init__(self) -> None:
        self.now = 0.0
        self._stamp: float | None = None
        self._interval = 0.0
        self._intervals = 0
        self.started = False

    def tick(self, timestamp: float | None) -> float:
        """Go to the next frame and return how far away it is, in frames (1 without time stamps).

        Raises:
            SparsightError: the time stamp is not finite, lies before the last one, or is given now and not
                before, or before and not now.
        """
        step = self._step(timestamp)
        self._stamp, self.started = timestamp, True
        self.now += step
        return step

    def state(self) -> NDArray[np.float64]:
        """(5,) all that the clock knows."""
        stamp = math.nan if self._stamp is None else self._stamp
        return np.array([self.now, stamp, self._interval, self._intervals, self.started], np.float64)

    def restore(self, state: NDArray[np.float64]) -> None:
        """Go on from what :meth:`state` gave."""
        self.now, stamp, self._interval = state[:3].tolist()
        self._stamp = None if math.isnan(stamp) else stamp
        self._intervals, self.started = int(state[3]), bool(state[4])

    def _step(self, timestamp: float | None) -> float:
        if self.started and (timestamp is None) != (self._stamp is None):
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
    one of them. Then it is *confirmed* and gets its number; in the very first frame at once, since nobody can
    have been seen before it (as in ByteTrack and BoT-SORT). When it is not seen it is *lost*: its motion goes
    on unseen, and it may be found again within ``max_age`` frames, after which it is *removed*.

    A frame is :meth:`advance`, then whatever association the tracker makes, then :meth:`commit`.

    Args:
        motion: how tracks are described and move.
        max_age: frames that a track may go unseen.
        min_hits: frames in a row that make a track.
        more: further columns that the tracker keeps, by name: (0, ...) arrays of their type and shape.

    Attributes:
        state: (5, N, 4) the Kalman filter's, see ``sparsight.track.kalman``.
        id: (N,) number of the track, from 1 in the order of confirmation; 0 while tentative.
        hits: (N,) frames it was seen in.
        last_seen: (N,) time on the clock when it was seen last.
        class_id: (N,) class of its first detection, ``NO_CLASS`` if that had none.
        more: the further columns, each (N, ...). The tracker itself writes the rows of tracks that are seen.
    """

    _COLUMNS = ("id", "hits", "last_seen", "class_id")

    def __init__(
        self, motion: kalman.Motion, *, max_age: float, min_hits: int, more: Mapping[str, NDArray[Any]]
    ) -> None:
        self.motion = motion
        self.max_age = max_age
        self.min_hits = min_hits
        self.clock = Clock()
        self.state: kalman.State = np.zeros((5, 0, 4))
        self.id: NDArray[np.int64] = np.zeros(0, np.int64)
        self.hits: NDArray[np.int64] = np.zeros(0, np.int64)
        self.last_seen: NDArray[np.float64] = np.zeros(0)
        self.class_id: NDArray[np.int64] = np.zeros(0, np.int64)
        self.more: Arrays = dict(more)
        self._confirmed = 0
        self._before = 0.0
        self._first = True

    def __len__(self) -> int:
        return len(self.id)

    def advance(self, timestamp: float | None) -> NDArray[np.float32]:
        """Move on to the next frame and return where each track should be in it: (N, 4) ``xyxy``."""
        before, first = self.clock.now, not self.clock.started
        step = self.clock.tick(timestamp)
        self._before, self._first = before, first
        if step > 1:
            self._keep(self.unseen() - 1 < self.max_age + 0.5)
        kalman.predict(self.motion, self.state, step)
        return self.expected()

    def expected(self) -> NDArray[np.float32]:
        """(N, 4) ``xyxy`` where the filter has each track now."""
        return self.motion.boxes(self.state[0]).astype(np.float32)

    def unseen(self) -> NDArray[np.float64]:
        """(N,) frames since each track was seen, 1 for the last one's; irregular frames are not whole."""
        return self.clock.now - self.last_seen

    def recent(self) -> NDArray[np.bool_]:
        """(N,) which tracks were seen in the last frame."""
        recent: NDArray[np.bool_] = self.last_seen >= self._before
        return recent

    def commit(
        self,
        detections: Detections,
        rows: Rows,
        taken: Rows,
        born: Rows,
        more: Mapping[str, NDArray[Any]] | None = None,
    ) -> Tracks:
        """End the frame: tracks take their detections, others are lost or removed, and new ones begin.

        Args:
            detections: all of the frame's.
            rows: (K,) tracks that were found in this frame.
            taken: (K,) the detection that each of them takes.
            born: (B,) detections that begin a track.
            more: for each of the further columns, (B, ...) what new tracks begin with.

        Returns:
            The confirmed tracks seen in this frame, in the order of their detections, where the filter puts
            them: its boxes tremble less than the detector's, and fit people better.
        """
        now = self.clock.now
        measured = self.motion.measure(detections.xyxy)
        found = self.state.take(rows, axis=1)
        kalman.update(self.motion, found, measured.take(taken, axis=0))
        self.state[:, rows] = found
        self.last_seen[rows] = now
        self.hits[rows] += 1
        self._confirm(rows)
        number = np.zeros(len(detections), np.int64)
        number[taken] = self.id[rows]
        xyxy = detections.xyxy.copy()
        xyxy[taken] = self.motion.boxes(found[0])

        if len(rows) < len(self):
            keep = self.unseen() < self.max_age + 0.5
            keep &= self.id > 0
            keep[rows] = True
            self._keep(keep)
        if len(born):
            self._begin(detections, measured, born, more or {})
            number[born] = self.id[-len(born) :]

        seen = number.nonzero()[0]
        return Tracks(
            xyxy=xyxy.take(seen, axis=0),
            id=number.take(seen),
            score=detections.score.take(seen),
            class_id=None if detections.class_id is None else detections.class_id.take(seen),
            detection=seen,
        )

    def state_dict(self) -> Arrays:
        """All arrays by name, the clock and the count of numbers given included; copies."""
        columns = {name: getattr(self, name).copy() for name in self._COLUMNS}
        columns |= {name: values.copy() for name, values in self.more.items()}
        count = np.array(self._confirmed, np.int64)
        return {"state": self.state.copy(), **columns, "clock": self.clock.state(), "confirmed": count}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            SparsightError: an array is missing, or does not fit the others.
        """
        mine = self.state_dict()
        count = len(_array(state, "id"))
        for name, values in mine.items():
            shape: tuple[int, ...] = np.shape(_array(state, name))
            wanted: tuple[int, ...] = values.shape
            if name == "state":
                wanted = (5, count, 4)
            elif name not in ("clock", "confirmed"):
                # Appearance vectors are as long as the network makes them: nobody knows it before the first.
                wanted = (count, *(own or given for own, given in zip(wanted[1:], shape[1:], strict=False)))
            if shape != wanted or state[name].dtype != values.dtype:
                raise SparsightError(
                    f"the tracker's state has {name} as {state[name].dtype} of shape {shape}, but "
                    f"{values.dtype} of shape {wanted} is needed: load what state_dict() of the same kind of "
                    "tracker gave."
                )
        self.state = state["state"].copy()
        for name in self._COLUMNS:
            setattr(self, name, state[name].copy())
        self.more = {name: state[name].copy() for name in self.more}
        self.clock.restore(state["clock"])
        self._confirmed = int(state["confirmed"])

    def _confirm(self, rows: Rows) -> None:
        """Give a number to those of the tracks that were seen often enough and have none."""
        rows = rows[self.id[rows] == 0]
        if not len(rows):
            return
        rows = rows[self.hits[rows] >= (1 if self._first else self.min_hits)]
        if len(rows):
            self.id[rows] = np.arange(1, len(rows) + 1) + self._confirmed
            self._confirmed += len(rows)

    def _keep(self, flags: NDArray[np.bool_]) -> None:
        rows = flags.nonzero()[0]
        if len(rows) == len(self):
            return
        self.state = self.state.take(rows, axis=1)
        for column in self._COLUMNS:
            setattr(self, column, getattr(self, column).take(rows))
        for name, values in self.more.items():
            self.more[name] = values.take(rows, axis=0)

    def _begin(
        self, detections: Detections, measured: kalman.State, born: Rows, more: Mapping[str, NDArray[Any]]
    ) -> None:
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
        for name, values in self.more.items():
            self.more[name] = np.concatenate((values, more[name].astype(values.dtype, copy=False)))
        self._confirm(np.arange(len(self) - count, len(self)))


def _array(state: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    try:
        return state[name]
    except KeyError:
        raise SparsightError(
            f"the tracker's state has no {name}: load what state_dict() of the same kind of tracker gave."
        ) from None
