"""Detectors: an image in, :class:`~sparsight.track.types.Detections` out.

Adding one takes a function that returns a :class:`Detector`, and its line in ``DETECTORS``.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from sparsight.errors import SparsightError
from sparsight.registry import lookup, resolve, unknown
from sparsight.spelling import spelled
from sparsight.track.detect.detector import Detector
from sparsight.track.detect.keeping import Keep, region
from sparsight.track.types import Detections, Image

__all__ = ["DETECTORS", "Detector", "build_detector", "detect"]

DETECTORS: dict[str, str] = {
    "ssdlite": "sparsight.track.detect.ssdlite:ssdlite",
    "yolox": "sparsight.track.detect.yolox:yolox_nano",
    "yolox_nano": "sparsight.track.detect.yolox:yolox_nano",
    "yolox_tiny": "sparsight.track.detect.yolox:yolox_tiny",
    "yolox_s": "sparsight.track.detect.yolox:yolox_s",
    "darknet": "sparsight.track.detect.darknet:darknet",
    "onnx": "sparsight.track.detect.exported:onnx",
    "openpose": "sparsight.track.detect.openpose:openpose",
    "mot": "sparsight.track.detect.recorded:mot",
    "groundtruth": "sparsight.track.detect.recorded:groundtruth",
}
"""Detector name → "module:function"; the function takes ``device``, its own options, and as ``network`` or
``file`` what may stand behind the name."""


def build_detector(name: str, device: str = "auto", **options: Any) -> Detector:
    """Build the detector called ``name``.

    Args:
        name: one of ``DETECTORS``, or ``name:PATH``: an ONNX file for ``onnx``, ``ssdlite`` and ``yolox``, a
            cfg (with its ``.weights`` beside it) for ``darknet``, text for ``mot`` and ``groundtruth``.
            Options may stand behind it, as in ``"yolox(score=0.3, min_size=40)"``; those given apart win.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        options: of every detector: ``min_size``, the least length of a box's longer side in pixels; ``roi``,
            the region of interest in which the foot point of a detection must lie: the corners (x, y) of a
            polygon, or a mask (see :data:`sparsight.track.detect.keeping.Roi`). Those with a network have
            ``score``, the least score of a detection; ``classes``, the class numbers to look for (only people
            by default; None for all); ``iou``, the overlap above which the lower of two boxes goes;
            ``network``, a module to run in place of the published network (a pruned one, say).

    Raises:
        SparsightError: unknown name or option, or a file that is missing or is not what is needed.
    """
    bare, spelt = _options(name)
    kind, colon, path = bare.partition(":")
    builder = resolve(lookup("detector", kind, DETECTORS))
    given = {**spelt, **options}
    keep = Keep(given.pop("min_size", 0.0), region(given.pop("roi", None)))
    known = dict(inspect.signature(builder).parameters)
    del known["device"]  # has a place of its own
    source = next(key for key in known if key in ("network", "file"))
    if colon:
        if not Path(path).is_file():
            raise SparsightError(f"detector {bare!r} names the file {path!r}, which does not exist.")
        given[source] = Path(path)
    for option in given:
        if option not in known:
            raise SparsightError(
                unknown(f"option of the detector {kind}", option, [*known, "min_size", "roi"])
            )
    if source not in given and known[source].default is inspect.Parameter.empty:
        raise SparsightError(f"the detector {kind} needs a file: write {kind}:FILE.")
    detector: Detector = builder(device=device, **given)
    detector.keep = keep
    return detector


def detect(detector: Detector, image: Image, index: int) -> Detections:
    """What ``detector`` finds in ``image``, which is frame ``index`` (from 0) of a video.

    Only detections from a file depend on the frame; those would otherwise go wrong where frames are left out.
    """
    from sparsight.track.detect.recorded import Recorded

    return detector.at(image, index) if isinstance(detector, Recorded) else detector(image)


def _options(name: str) -> tuple[str, dict[str, Any]]:
    """``"darknet:net (2).cfg(score=0.3)"`` → ``("darknet:net (2).cfg", {"score": 0.3})``."""
    if not name.endswith(")") or Path(name.partition(":")[2]).is_file():
        return name, {}
    for opening in re.finditer(r"\(", name):
        try:
            _, unnamed, named = spelled(f"detector{name[opening.start() :]}")
        except SparsightError:
            continue
        if not unnamed:
            return name[: opening.start()], named
    raise SparsightError(
        f"{name!r} is no detector with options: write them as in 'yolox(score=0.3, min_size=40)'."
    )
