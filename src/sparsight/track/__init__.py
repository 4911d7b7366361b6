"""Follow people through video and know them again later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsight.registry import lazy

if TYPE_CHECKING:
    from sparsight.track.detect import Detector, build_detector
    from sparsight.track.embed import Embedder, build_embedder
    from sparsight.track.gallery import Gallery
    from sparsight.track.identify import Identifier
    from sparsight.track.trackers import Tracker, build_tracker
    from sparsight.track.types import Detections, Tracks

_PUBLIC = {
    "Detections": "sparsight.track.types:Detections",
    "Tracks": "sparsight.track.types:Tracks",
    "Detector": "sparsight.track.detect:Detector",
    "build_detector": "sparsight.track.detect:build_detector",
    "Tracker": "sparsight.track.trackers:Tracker",
    "build_tracker": "sparsight.track.trackers:build_tracker",
    "Embedder": "sparsight.track.embed:Embedder",
    "build_embedder": "sparsight.track.embed:build_embedder",
    "Gallery": "sparsight.track.gallery:Gallery",
    "Identifier": "sparsight.track.identify:Identifier",
}

__all__ = [
    "Detections",
    "Detector",
    "Embedder",
    "Gallery",
    "Identifier",
    "Tracker",
    "Tracks",
    "build_detector",
    "build_embedder",
    "build_tracker",
]

__getattr__ = lazy("sparsight.track", _PUBLIC)
