"""What the commands say and take alike: names of detectors, trackers and embedders, with their options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.errors import SparsightError
from sparsight.spelling import spelled

if TYPE_CHECKING:
    from sparsight.track import Tracker

# Spelt out, since the tables of names lie in rooms that are slow to enter; a test compares.
DETECTORS = (
    "ssdlite, yolox (yolox_nano, yolox_tiny, yolox_s), darknet, darknet:FILE.cfg, openpose, onnx:FILE, "
    "mot:FILE, groundtruth:FILE; with options as in 'yolox(score=0.4, min_size=40)'."
)
TRACKERS = (
    "sort, centroid, deepsort, bytetrack, ocsort, botsort; with parameters as in 'sort(max_age=60)', which "
    'is what "sparsight track tune" prints.'
)
EMBEDDERS = (
    "auto, osnet_x0_25, osnet_x1_0, osnet_ain_x1_0, mlfn, mobilenet_v2, facenet (faces), NAME:FILE with "
    "weights of your own, onnx:FILE"
)


def built(tracker: str) -> Tracker:
    """The tracker that is spelt ``bytetrack`` or ``bytetrack(iou=0.2)``.

    Raises:
        SparsightError: an unknown name or parameter, a parameter out of its range or without its name.
    """
    from sparsight.track import build_tracker

    name, unnamed, named = _spelt(tracker)
    if unnamed:
        raise SparsightError(f"{tracker!r} gives a parameter without its name: write {name}(NAME=VALUE).")
    return build_tracker(name, **named)


def looks(tracker: str) -> bool:
    """Whether a tracker, spelt as in :func:`built`, looks at appearance: each detection needs a vector."""
    from sparsight.track.tuning import LOOKS, SPACES

    return bool(LOOKS & set(SPACES.get(_spelt(tracker)[0], ())))


def _spelt(tracker: str) -> tuple[str, tuple[object, ...], dict[str, object]]:
    try:
        return spelled(tracker)
    except SparsightError:
        raise SparsightError(
            f"{tracker!r} is no tracker: write a name, or one with parameters, as in 'sort(max_age=60)'."
        ) from None
