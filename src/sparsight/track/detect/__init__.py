"""Detectors: an image in, :class:`~sparsight.track.types.Detections` out.

Adding one takes a function that returns a :class:`Detector`, and its line in ``DETECTORS``.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve, unknown
from sparsight.track.detect.detector import Detector

__all__ = ["DETECTORS", "Detector", "build_detector"]

DETECTORS: dict[str, str] = {
    "ssdlite": "sparsight.track.detect.ssdlite:ssdlite",
    "yolox": "sparsight.track.detect.yolox:yolox_nano",
    "yolox_nano": "sparsight.track.detect.yolox:yolox_nano",
    "yolox_tiny": "sparsight.track.detect.yolox:yolox_tiny",
    "yolox_s": "sparsight.track.detect.yolox:yolox_s",
    "darknet": "sparsight.track.detect.darknet:darknet",
}
"""Detector name → "module:function"; the function takes ``network``, ``device`` and its own options."""


def build_detector(name: str, device: str = "auto", **options: Any) -> Detector:
    """Build the detector called ``name``.

    Args:
        name: one of ``DETECTORS``, or ``name:PATH`` to run a network of one's own: an ONNX file for
            ``ssdlite`` and ``yolox``, a cfg (with its ``.weights`` beside it) for ``darknet``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        options: ``score``, the least score of a detection; ``classes``, the class numbers to look for (only
            people by default; None for all); ``iou``, the overlap above which the lower of two boxes goes;
            ``network``, a module to run in place of the published network (a pruned one, say).

    Raises:
        SparsightError: unknown name or option, or a file that is missing or is not such a network.
    """
    kind, colon, path = name.partition(":")
    builder = resolve(lookup("detector", kind, DETECTORS))
    if colon:
        if not Path(path).is_file():
            raise SparsightError(f"detector {name!r} names the file {path!r}, which does not exist.")
        options["network"] = Path(path)
    known = inspect.signature(builder).parameters
    for option in options:
        if option not in known:
            raise SparsightError(unknown(f"option of the detector {kind}", option, known))
    detector: Detector = builder(device=device, **options)
    return detector
