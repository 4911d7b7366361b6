"""The default detector: SSDLite-MobileNetV2 trained to find people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.nets.runtime import Session
from sparsight.track.detect.detector import IOU, PERSON, NetworkDetector, try_out
from sparsight.track.detect.fitting import Placement, channels_first, stretch
from sparsight.track.types import Image

if TYPE_CHECKING:
    from torch import nn


_SURE = 0.5
"""Its scores run lower than those of the YOLO family: of those from 0.5 to 0.6, 92 in 100 are right."""


def ssdlite(
    network: nn.Module | Path | None = None,
    device: str = "auto",
    score: float = 0.42,
    iou: float = IOU,
    classes: Collection[int] | None = (PERSON,),
) -> NetworkDetector:
    """SSDLite-MobileNetV2; ``network`` takes the place of the published person detector.

    Its own scores are put on the scale common to all detectors; the least one, 0.42, is 0.3 of its own. See
    :class:`sparsight.nets.ssdlite.SSDLite`.
    """
    if network is None:
        from sparsight.nets import build

        network = build("ssdlite_mobilenet_v2", weights="ssdlite_person")
    session = Session(network, device)
    shapes = {name: output.shape for name, output in try_out(session).items()}
    boxes, scores = shapes.get("boxes", ()), shapes.get("scores", ())
    if len(boxes) != 3 or len(scores) != 3 or boxes[2] != 4 or boxes[1] != scores[1] or scores[2] < 1:
        raise SparsightError(
            f"the network given to ssdlite has outputs of shape {shapes}, but boxes of (1, N, 4) and scores"
            " of (1, N, classes) are needed: give a network of ssdlite_mobilenet_v2's kind."
        )
    _, height, width = session.input_shape
    side = np.array([width, height, width, height], np.float32)

    def decode(outputs: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return outputs["boxes"] * side, outputs["scores"]

    return NetworkDetector("ssdlite", session, _prepare, decode, scores[2], score, iou, classes, _SURE)


def _prepare(image: Image, height: int, width: int) -> tuple[NDArray[np.float32], Placement]:
    stretched, placement = stretch(image, height, width)
    return channels_first(stretched, 2 / 255, -1), placement
