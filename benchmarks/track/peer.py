"""The trackers of roboflow ``trackers`` 2.6.1, to compare with. They are no dependency of this project:

python -m venv /tmp/peer && /tmp/peer/bin/pip install --no-deps trackers==2.6.1
PEER=$(/tmp/peer/bin/python -c 'import site; print(site.getsitepackages()[0])')
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sparsight.media import Image
from sparsight.track import Detections, Tracks

PEERS = {
    "sort": "SORTTracker",
    "bytetrack": "ByteTrackTracker",
    "ocsort": "OCSORTTracker",
    "botsort": "BoTSORTTracker",
}
"""Name of our tracker → the peer's class of the same method."""


def convert(detections: Detections) -> Any:
    """As the peer takes them."""
    import supervision

    return supervision.Detections(
        xyxy=detections.xyxy.astype(np.float64),
        confidence=detections.score.astype(np.float64),
        class_id=np.zeros(len(detections), int),
    )


class Peer:
    """A peer with default parameters, behind our interface.

    Args:
        site: the site-packages that hold it.
        name: one of ``PEERS``.
        compensate: let it compensate the camera's motion, for which it needs frames (``botsort``).
    """

    def __init__(self, site: Path, name: str = "sort", *, compensate: bool = False) -> None:
        if str(site) not in sys.path:
            # Behind our own packages, so that both run on the same NumPy and SciPy.
            sys.path.append(str(site))
        options = {"enable_cmc": compensate} if name == "botsort" else {}
        self.tracker = getattr(importlib.import_module("trackers"), PEERS[name])(**options)

    def update(self, detections: Detections, frame: Image | None = None) -> Tracks:
        """As our trackers, ``frame`` in RGB."""
        shown = {} if frame is None else {"frame": frame[..., ::-1].copy()}
        result = self.tracker.update(convert(detections), **shown)
        known = (result.tracker_id >= 0).nonzero()[0]
        # It counts from 0.
        return Tracks(result.xyxy[known], result.tracker_id[known] + 1, result.confidence[known])
