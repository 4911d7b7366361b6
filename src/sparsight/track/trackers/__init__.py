"""Trackers: detections in, tracks out, one frame at a time."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve, unknown
from sparsight.track.types import Detections, Image, Tracks

TRACKERS: dict[str, str] = {
    "sort": "sparsight.track.trackers.sort:Sort",
    "centroid": "sparsight.track.trackers.centroid:Centroid",
    "deepsort": "sparsight.track.trackers.deepsort:DeepSort",
    "bytetrack": "sparsight.track.trackers.bytetrack:ByteTrack",
    "ocsort": "sparsight.track.trackers.ocsort:OCSort",
    "botsort": "sparsight.track.trackers.botsort:BotSort",
}
"""Tracker name → "module:class". The class takes the tracker's parameters as keyword arguments."""


@runtime_checkable
class Tracker(Protocol):
    """What follows people from frame to frame."""

    def update(
        self, detections: Detections, frame: Image | None = None, timestamp: float | None = None
    ) -> Tracks:
        """Take the detections of the next frame and say which track each belongs to.

        Call it for every frame, also where nothing was detected: that is how a track grows old.

        Args:
            detections: what was found in the frame.
            frame: the frame itself, for trackers that look at it.
            timestamp: when it was taken, in seconds, for streams with an irregular rate; all frames or none.

        Returns:
            The confirmed tracks seen in this frame, in the order of their detections, with boxes that the
            tracker may have smoothed.

        Raises:
            SparsightError: a box that is not finite or has a negative size, a score that is not finite (both
                unless ``invalid="drop"``), or a timestamp that lies before the last one or is there for some
                frames only.
        """
        ...

    def reset(self) -> None:
        """Forget every track and start again from number 1."""
        ...

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Everything that the tracker remembers, as plain arrays by name: ``numpy.savez`` takes them."""
        ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state_dict` of a tracker with the same parameters gave.

        Raises:
            SparsightError: it is another kind of tracker's, or an array is missing or does not fit.
        """
        ...


def build_tracker(name: str, **params: Any) -> Tracker:
    """The tracker called ``name``, one of ``TRACKERS``, with its own parameters.

    Raises:
        SparsightError: unknown name or parameter, or a parameter out of its range.
    """
    constructor = resolve(lookup("tracker", name, TRACKERS))
    known = inspect.signature(constructor).parameters
    for param in params:
        if param not in known:
            raise SparsightError(unknown(f"parameter of the tracker {name!r}", param, known))
    tracker: Tracker = constructor(**params)
    return tracker
