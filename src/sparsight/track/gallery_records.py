"""What a gallery tells: people, their sights, and the corrections that were made to who is who."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MERGE, SPLIT = "merge", "split"
"""The two kinds of correction."""

BY_HAND, BY_EVIDENCE = "by hand", "by evidence"
"""Who made a correction: a person, or the identifier when it had seen more."""


@dataclass(frozen=True)
class Person:
    """Somebody in the gallery.

    Attributes:
        id: their number, never given to anybody else.
        name: the name they were given, or None.
        first_seen, last_seen: unix seconds.
        cameras: names of the cameras that saw them, in alphabetical order.
        tracklets: number of times that they were followed.
        frames: number of frames they were seen in.
    """

    id: int
    name: str | None
    first_seen: float
    last_seen: float
    cameras: tuple[str, ...]
    tracklets: int
    frames: int

    @property
    def label(self) -> str:
        """The name, or ``person 7``."""
        return self.name or f"person {self.id}"


@dataclass(frozen=True)
class Tracklet:
    """One unbroken sight of a person.

    Attributes:
        id: row number in the gallery.
        person: whose sight it is.
        camera: name of the camera.
        run: which run of the program saw it.
        track: the tracker's number in that run.
        first_seen, last_seen: unix seconds.
        frames: number of frames.
        distance: how far it was from the person it was taken for, or None for somebody new.
        matched: row number of the tracklet of that person that looked most alike, or None.
        clock: what its times were measured by; only times of one clock can be compared.
    """

    id: int
    person: int
    camera: str
    run: str
    track: int
    first_seen: float
    last_seen: float
    frames: int
    distance: float | None
    matched: int | None
    clock: str


@dataclass(frozen=True)
class Correction:
    """A later insight into who is who.

    Attributes:
        id: its number; later corrections have higher ones.
        time: unix seconds at which it was made.
        kind: ``"merge"``: all sights of ``source`` are sights of ``target``, and nobody is ``source`` any
            more; or ``"split"``: only ``tracklets`` are.
        source, target: numbers of people, before and after.
        reason: ``"by hand"`` or ``"by evidence"``.
        tracklets: row numbers of the sights that changed hands.
    """

    id: int
    time: float
    kind: str
    source: int
    target: int
    reason: str
    tracklets: tuple[int, ...]


def resolve(
    people: NDArray[np.int64],
    corrections: Sequence[Correction],
    tracklets: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Who the people of an earlier result are now.

    Args:
        people: (N,) numbers of people as they were written then.
        corrections: those made since, in order.
        tracklets: (N,) the sight behind each, by its row number in the gallery. Without it only merges can be
            followed: a number alone does not tell which part of a person was split off.

    Returns:
        (N,) their numbers today; those that no correction is about are as they were.
    """
    now: NDArray[np.int64] = people.copy()
    for correction in corrections:
        concerned: NDArray[np.bool_] = now == correction.source
        if correction.kind == SPLIT:
            if tracklets is None:
                continue
            concerned &= np.isin(tracklets, correction.tracklets)
        now[concerned] = correction.target
    return now
