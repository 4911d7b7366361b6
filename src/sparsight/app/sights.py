"""What one camera saw: every unbroken sight of somebody, and who it turned out to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsight.track.gallery_records import Correction, resolve

_SAME_MOMENT = 1e-3  # seconds; unix time is precise to less than a microsecond
_Number = TypeVar("_Number", np.int64, np.float64)

UNKNOWN = -1
UNIDENTIFIED_FROM = 1_000_000
"""In result files, the sight of nobody known carries this number plus its row."""


class Sights:
    """One row per sight: a stretch of one track that was taken for one person (48 bytes each).

    A sight begins as nobody's and is given to a person later, from its first frame on. When a track changes
    hands (the tracker jumped from one person to another), a new sight begins. When the real person turns up
    beside it, it is nobody's again.

    Attributes (each with one row per sight, longer than ``len(self)``):
        track: int64 number of the track.
        person: int64 number of the person, -1 while unknown.
        first, last: float64 seconds of the first and the last frame.
        frames: int64 number of frames.
        name: int64 row of the name that a classifier gave it last, -1 while it gave none.
    """

    def __init__(self) -> None:
        self.track = np.zeros(0, np.int64)
        self.person = np.zeros(0, np.int64)
        self.first = np.zeros(0)
        self.last = np.zeros(0)
        self.frames = np.zeros(0, np.int64)
        self.name = np.zeros(0, np.int64)
        self._count = 0
        self._newest = np.zeros(0, np.int64)  # by track number: row of its newest sight, -1 before the first

    def __len__(self) -> int:
        return self._count

    def see(
        self,
        track: NDArray[np.int64],
        person: NDArray[np.int64],
        time: float,
        since: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        """Count one frame at ``time`` seconds with tracks ``track`` (N,), taken for ``person`` (N,).

        Args:
            track, person: int64 numbers; a person may be unknown.
            time: seconds from the start.
            since: (N,) float64 seconds at which the tracks last began or changed hands, if that is known.

        Returns:
            (N,) the row of each track's sight.
        """
        if not len(track):
            return np.zeros(0, np.int64)
        self._newest = _grown(self._newest, int(track.max()) + 1, -1)
        row = self._newest[track]
        before = np.where(row < 0, UNKNOWN, self.person[row] if self._count else UNKNOWN)
        mistaken = (before != UNKNOWN) & (person == UNKNOWN) & np.isin(before, person)
        fresh = (row < 0) | ((before != UNKNOWN) & (before != person) & ~mistaken)
        if since is not None and self._count:
            fresh |= since > self.first[row] + _SAME_MOMENT
        row[fresh] = self._begin(track[fresh], time)
        self._newest[track] = row
        self.person[row[mistaken]] = UNKNOWN
        self.person[row] = np.where(person == UNKNOWN, self.person[row], person)
        self.last[row] = time
        self.frames[row] += 1
        return row

    def call(self, row: NDArray[np.int64], name: NDArray[np.int64]) -> None:
        """Keep what a classifier calls the sights in ``row`` (N,); -1 for unknown changes nothing."""
        told = name != UNKNOWN
        self.name[row[told]] = name[told]

    def decide(self, track: int, person: int) -> None:
        """Give the newest sight of ``track`` to ``person`` after the track has ended."""
        self.person[self._newest[track]] = person

    def correct(self, corrections: Sequence[Correction]) -> None:
        """Follow merges: sights of people who are somebody else now."""
        if corrections:
            self.person[: self._count] = resolve(self.person[: self._count], corrections)

    def settle(self, track: int, first: float, person: int) -> None:
        """Give the sight of ``track`` that began at ``first`` seconds, if it is somebody's, to ``person``."""
        rows = np.flatnonzero(self.track[: self._count] == track)
        rows = rows[np.abs(self.first[rows] - first) < _SAME_MOMENT]
        self.person[rows[self.person[rows] != UNKNOWN]] = person

    def label(self, row: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number that stands for each sight in result files: its person, or one from a million on."""
        person = self.person[row]
        return np.where(person == UNKNOWN, UNIDENTIFIED_FROM + row, person)

    def identified(self) -> NDArray[np.int64]:
        """The rows that belong to somebody known, ascending."""
        return np.flatnonzero(self.person[: self._count] != UNKNOWN)

    def _begin(self, track: NDArray[np.int64], time: float) -> NDArray[np.int64]:
        rows = np.arange(self._count, self._count + len(track))
        self._count += len(track)
        self.track = _grown(self.track, self._count, 0)
        self.person = _grown(self.person, self._count, UNKNOWN)
        self.frames = _grown(self.frames, self._count, 0)
        self.name = _grown(self.name, self._count, UNKNOWN)
        self.first = _grown(self.first, self._count, 0.0)
        self.last = _grown(self.last, self._count, 0.0)
        self.track[rows] = track
        self.first[rows] = time
        return rows


def _grown(array: NDArray[_Number], size: int, filling: float) -> NDArray[_Number]:
    """``array`` with room for ``size`` rows; grows by doubling, so that a row costs the same however many."""
    if size <= len(array):
        return array
    return np.concatenate([array, np.full(2 * size - len(array), filling, array.dtype)])
