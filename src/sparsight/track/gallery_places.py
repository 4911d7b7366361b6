"""Where somebody cannot be: two places at once, or one too soon after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.gallery_records import Tracklet

if TYPE_CHECKING:
    from sparsight.track.gallery import Gallery

SAME_PLACE = -np.inf
"""The travel time between cameras that may see one person at once."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Sights by one clock, row by row, and for how long each bars another.

    Attributes:
        tracklet, person: (N,) int64 numbers in the gallery.
        first, last: (N,) float64 seconds.
        before, after: (N,) float64 seconds that must lie between this sight and a later one before the camera
            that was asked about, and between an earlier one and this; minus infinity where both may be.
    """

    tracklet: NDArray[np.int64]
    person: NDArray[np.int64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    def bar(self, first: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which sights (N,) cannot be of whoever was seen from ``first`` to ``last``, each (S,): (S, N)."""
        later = first[:, None] - self.last >= self.before
        earlier = self.first - last[:, None] >= self.after
        return ~(later | earlier)


def set_places(gallery: Gallery, groups: Sequence[Sequence[str]]) -> None:
    """Let ``groups`` be the names of cameras with overlapping views, which may see one person at once.

    Raises:
        SparsightError: a group does not name two cameras at least.
    """
    for group in groups:
        if len(set(group)) < 2 or not all(group):
            raise SparsightError(f"{','.join(group)!r} is no group of cameras: name two or more, as A,B.")
        _set(gallery, [(a, b, None) for a in group for b in group if a != b])


def set_travel(gallery: Gallery, origin: str, destination: str, seconds: float) -> None:
    """Let nobody be before one camera sooner than ``seconds`` after leaving the other, either way.

    Raises:
        SparsightError: the time is negative or not finite, or the cameras are one.
    """
    if not 0 <= seconds < np.inf:
        raise SparsightError(f"{seconds} is no travel time: give 0 seconds or more.")
    if origin == destination or not origin or not destination:
        raise SparsightError(f"{origin!r} and {destination!r} are not two cameras: name two.")
    _set(gallery, [(origin, destination, seconds), (destination, origin, seconds)])


def travel(gallery: Gallery) -> dict[tuple[str, str], float]:
    """Seconds from one camera to another, where something was said about them."""
    with gallery.store.translated():
        rows = gallery.store.rows("SELECT origin, destination, seconds FROM travel")
    return {(a, b): SAME_PLACE if seconds is None else seconds for a, b, seconds in rows}


def moments(gallery: Gallery, camera: str, clock: str, first: float, last: float) -> Moments:
    """Every sight by ``clock`` that may bar one by ``camera`` between ``first`` and ``last`` (seconds).

    One camera sees nobody twice at once. Of two cameras nothing is known at first but that nobody is before
    both at once.
    """
    known = travel(gallery)
    reach = max([0.0, *(seconds for pair, seconds in known.items() if camera in pair)])
    with gallery.store.translated():
        rows = gallery.store.rows(
            "SELECT tracklet.id, person, first_seen, last_seen, camera.name FROM tracklet "
            "JOIN camera ON camera.id = tracklet.camera "
            "WHERE clock = ? AND last_seen >= ? AND first_seen <= ? ORDER BY tracklet.id",
            (clock, first - reach, last + reach),
        )
    tracklet, person, begin, end, place = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Moments(
        np.array(tracklet, np.int64),
        np.array(person, np.int64),
        np.array(begin, np.float64),
        np.array(end, np.float64),
        np.array([known.get((other, camera), 0.0) for other in place], np.float64),
        np.array([known.get((camera, other), 0.0) for other in place], np.float64),
    )


def seen_together(
    some: Sequence[Tracklet],
    others: Sequence[Tracklet],
    times: Mapping[tuple[str, str], float] | None = None,
) -> tuple[int, int] | None:
    """Row numbers of two sights, one of each, that are not of one person; None if there are none.

    Args:
        some, others: sights of two people.
        times: seconds from one camera to another, 0 where nothing is said; None to look only for what one
            camera saw at once.
    """
    if not some or not others:
        return None
    first, last = (np.array([getattr(one, key) for one in some]) for key in ("first_seen", "last_seen"))
    begin, end = (np.array([getattr(one, key) for one in others]) for key in ("first_seen", "last_seen"))
    names = sorted({one.camera for one in (*some, *others)})
    place = {name: number for number, name in enumerate(names)}
    seconds = np.array([[0.0 if times is None else times.get((a, b), 0.0) for b in names] for a in names])
    here, there = (np.array([place[one.camera] for one in each]) for each in (some, others))
    clocks = {name: number for number, name in enumerate({one.clock for one in (*some, *others)})}
    clock, other_clock = (np.array([clocks[one.clock] for one in each]) for each in (some, others))
    later = first[:, None] - end >= seconds[np.ix_(there, here)].T
    earlier = begin - last[:, None] >= seconds[np.ix_(here, there)]
    both = ~(later | earlier) & (clock[:, None] == other_clock)
    if times is None:
        both &= here[:, None] == there
    if not both.any():
        return None
    row, column = np.argwhere(both)[0].tolist()
    return some[row].id, others[column].id


def _set(gallery: Gallery, rows: list[tuple[str, str, float | None]]) -> None:
    with gallery.transaction():
        gallery.store.many(
            "INSERT INTO travel (origin, destination, seconds) VALUES (?, ?, ?) "
            "ON CONFLICT (origin, destination) DO UPDATE SET seconds = excluded.seconds",
            rows,
        )
