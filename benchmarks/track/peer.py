"""The SORT of roboflow ``trackers`` 2.6.1, to compare with. It is no dependency of this project:

python -m venv /tmp/peer && /tmp/peer/bin/pip install trackers==2.6.1
PEER=$(/tmp/peer/bin/python -c 'import site; print(site.getsitepackages()[0])')
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from sparsight.track import Detections, Tracks


def convert(detections: Detections) -> Any:
    """As the peer takes them."""
    import supervision

    return supervision.Detections(
        xyxy=detections.xyxy.astype(np.float64),
        confidence=detections.score.astype(np.float64),
        class_id=np.zeros(len(detections), int),
    )


class PeerSort:
    """The peer with default parameters, behind our interface."""

    def __init__(self, site: Path) -> None:
        if str(site) not in sys.path:
            # Behind our own packages, so that both run on the same NumPy and SciPy.
            sys.path.append(str(site))
        from trackers import SORTTracker

        self.tracker = SORTTracker()

    def update(self, detections: Detections) -> Tracks:
        result = self.tracker.update(convert(detections))
        known = (result.tracker_id >= 0).nonzero()[0]
        # It counts from 0.
        return Tracks(result.xyxy[known], result.tracker_id[known] + 1, result.confidence[known])
