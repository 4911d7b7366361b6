"""People found by their body parts: OpenPose, whose detections have 18 key points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sparsight.errors import SparsightError
from sparsight.nets.runtime import Session
from sparsight.track import boxes
from sparsight.track.detect import poses
from sparsight.track.detect.detector import Detector, check_fraction
from sparsight.track.detect.fitting import channels_first, stretch
from sparsight.track.detect.nms import nms
from sparsight.track.detect.scale import common
from sparsight.track.types import Detections, Image

if TYPE_CHECKING:
    from torch import nn

_STRIDE = 8
_MOST = 4096
"""The longest side of an input in pixels, however long and low an image is."""
_SURE = 0.5
"""A mean over parts of 0.5 is much: of those from 0.5 to 0.6, 97 in 100 are right, and few are above 0.75."""


@dataclass(eq=False)
class PoseDetector(Detector):
    """A network that gives part confidence maps and part affinity fields, and what makes people of them.

    Detections come in falling order of score. Their boxes are drawn around whole bodies by the key points
    found (see :func:`sparsight.track.detect.poses.boxes`), clipped to the image; ``keypoints`` are (N, 18, 3)
    of x and y in the image's pixels and score, zeros where a part was not found, in the order of
    ``poses.PARTS``.

    Attributes:
        session: the network, ready to run.
        score: the least score of somebody: the mean of their parts' on the scale common to all detectors.
        iou: the overlap above which the lower-scoring of two boxes goes.
        side: the input's shorter side in pixels; the longer one follows the image.
    """

    session: Session
    score: float
    iou: float
    side: int

    @property
    def device(self) -> str:
        """Where the network runs: ``"cpu"`` or ``"cuda"``."""
        return self.session.device

    def _find(self, images: Sequence[Image]) -> list[Detections]:
        sizes = [self._size(image) for image in images]
        found: dict[int, Detections] = {}
        for size in dict.fromkeys(sizes):  # images of one shape share a run
            rows = [row for row, other in enumerate(sizes) if other == size]
            x = [channels_first(stretch(images[row], *size)[0][:, :, ::-1]) for row in rows]
            maps = self.session.run(np.stack(x))
            for row, parts, fields in zip(rows, maps["parts"], maps["fields"], strict=True):
                found[row] = self._select(poses.people(parts, fields), images[row], size)
        return [found[row] for row in range(len(images))]

    def _size(self, image: Image) -> tuple[int, int]:
        height, width = image.shape[:2]
        scale = self.side / min(height, width)
        cells = [min(max(1, round(side * scale / _STRIDE)), _MOST // _STRIDE) for side in (height, width)]
        return cells[0] * _STRIDE, cells[1] * _STRIDE

    def _select(self, found: poses.Floats, image: Image, size: tuple[int, int]) -> Detections:
        """The detections among one image's people (N, 18, 3), in cells of the maps."""
        height, width = image.shape[:2]
        known = found[:, :, 2] > 0
        cell = np.array([width / size[1], height / size[0]], np.float32) * _STRIDE
        found[:, :, :2] = np.where(known[:, :, None], (found[:, :, :2] + 0.5) * cell, 0)
        score = common(found[:, :, 2].sum(axis=1) / np.maximum(known.sum(axis=1), 1), _SURE)
        keep = score >= self.score
        found, score = found[keep], score[keep]
        around = poses.boxes(found)
        kept = nms(around, score, threshold=self.iou)
        xyxy = boxes.clip(around[kept], width, height)
        people = Detections(
            xyxy, np.clip(score[kept], 0, 1), np.zeros(len(kept), np.int64), keypoints=found[kept]
        )
        return people[boxes.area(people.xyxy) > 0]


def openpose(
    network: nn.Module | Path | None = None,
    device: str = "auto",
    score: float = 0.42,
    iou: float = 0.7,
    side: int = 368,
) -> PoseDetector:
    """OpenPose on a thin MobileNet; ``network`` (a module, or the file of its weights) takes its place.

    Args:
        network: takes BGR from 0 to 255, gives ``parts`` and ``fields``; see :mod:`sparsight.nets.openpose`.
        device: as for ``sparsight.nets.Session``.
        score: the least score of somebody: the mean of their parts' on the scale common to all detectors,
            where 0.42 is a mean of 0.3.
        iou: the overlap above which the lower of two boxes goes.
        side: the input's shorter side in pixels; more finds smaller people, and takes as much longer.

    Raises:
        SparsightError: an option out of range, or another network than that.
    """
    check_fraction("openpose", "score", score)
    check_fraction("openpose", "iou", iou)
    if not isinstance(side, int) or not _STRIDE <= side <= _MOST:
        raise SparsightError(
            f"detector openpose got side={side!r}, but pixels from {_STRIDE} to {_MOST} are needed."
        )
    if network is None or isinstance(network, Path):
        from sparsight.nets import build

        network = build("openpose_thin", weights=network or "openpose_thin")
    session = Session(network, device, dynamic_size=True)
    cells = 4
    answer = session.run(np.zeros((1, 3, cells * _STRIDE, cells * _STRIDE), np.float32))
    shapes = {name: output.shape for name, output in answer.items()}
    if shapes.get("parts") != (1, 19, cells, cells) or shapes.get("fields") != (1, 38, cells, cells):
        raise SparsightError(
            f"the network given to openpose has outputs of shape {shapes}, but parts of (1, 19, h, w) and"
            " fields of (1, 38, h, w) are needed: give a network of openpose_thin's kind."
        )
    return PoseDetector("openpose", session, score, iou, side)
