"""Ground truth of people in video, and how well boxes match it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sparsight.track import Detections
from sparsight.track.boxes import iou

Boxes = NDArray[np.float32]


def truth(sequence: Path) -> dict[int, Boxes]:
    """Frame number → (N, 4) boxes, from a MOTChallenge ``gt.txt``."""
    found: dict[int, list[tuple[float, ...]]] = defaultdict(list)
    for line in (sequence / "gt" / "gt.txt").read_text().splitlines():
        frame, _, x, y, w, h, keep, *_ = map(float, line.split(","))
        if keep:
            found[int(frame)].append((x, y, x + w, y + h))
    return {frame: np.array(rows, np.float32) for frame, rows in found.items()}


def frames(sequence: Path, every: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Every so manieth frame, RGB; those of PETS09-S2L1 are in the video beside it."""
    if (sequence / "img1").is_dir():
        for path in sorted((sequence / "img1").glob("*.jpg"))[::every]:
            yield int(path.stem), np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
        return
    video = cv2.VideoCapture(str(sequence.parent / "vtest.avi"))
    number = 0
    while video.grab():
        number += 1
        if number % every == 1:
            _, image = video.retrieve()
            yield number, np.ascontiguousarray(image[:, :, ::-1])


def hits(detections: Detections, people: Boxes) -> int:
    """How many people have a detection of their own at an IoU of at least 0.5."""
    overlap = iou(detections.xyxy[:, None], people)
    overlap[overlap < 0.5] = 0
    rows, columns = linear_sum_assignment(-overlap)
    return int((overlap[rows, columns] > 0).sum())
