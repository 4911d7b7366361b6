"""Detectors that know beforehand: detections and ground truth from text files, frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track import formats
from sparsight.track.detect.detector import Detector
from sparsight.track.formats import Table
from sparsight.track.types import Detections, Image


@dataclass(eq=False)
class Recorded(Detector):
    """Detections that are known beforehand; build one with :func:`mot` or :func:`groundtruth`.

    Such a detector needs to know which frame it is shown. :meth:`at` is told; called with images alone, it
    takes them for the frames of a video in order, from the first on, of which none is left out.

    Boxes are given as they stand in the file, not cut at the image's border; those outside are left out.

    Attributes:
        frame: (N,) int64 index of the frame of each row, from 0, rising.
        rows: N detections.
        next_index: the frame that the next image is taken for.
    """

    frame: NDArray[np.int64]
    rows: Detections
    next_index: int = 0

    @property
    def device(self) -> str:
        """``"cpu"``."""
        return "cpu"

    def at(self, image: Image, index: int) -> Detections:
        """What is in the frame ``index``, counted from 0, which is ``image``."""
        self.next_index = index
        return self(image)

    def reset(self) -> None:
        """Take the next image for the first frame."""
        self.next_index = 0

    def _find(self, images: Sequence[Image]) -> list[Detections]:
        names = np.arange(self.next_index, self.next_index + len(images) + 1)
        bounds = np.searchsorted(self.frame, names).tolist()
        self.next_index += len(images)
        found = [self.rows[low:high] for low, high in itertools.pairwise(bounds)]
        return [_on_image(one, image) for one, image in zip(found, images, strict=True)]


def mot(file: Path, device: str = "auto", score: float | None = None) -> Recorded:
    """Detections from a text file: MOTChallenge, or any other of ``sparsight.track.formats``.

    Args:
        file: the file; it need not name every frame.
        device: of no meaning here.
        score: the least score of a detection, in the file's own units; by default all are taken.

    Raises:
        SparsightError: the file cannot be read, or a line is malformed.
    """
    if score is not None and not isinstance(score, (int, float)):
        raise SparsightError(f"detector mot got score={score!r}, but a number is needed.")
    table = formats.read(file)
    scores = table.columns.get("score", np.ones(len(table)))
    return _recorded("mot", table, scores, scores >= (-np.inf if score is None else score))


def groundtruth(file: Path, device: str = "auto") -> Recorded:
    """Ground truth as detections of score 1, to judge a tracker apart from any detector.

    Args:
        file: MOTChallenge, PoseTReID, or any other of ``sparsight.track.formats``; rows that MOTChallenge
            marks as not to be counted (a score of 0) are left out.
        device: of no meaning here.

    Raises:
        SparsightError: the file cannot be read, or a line is malformed.
    """
    table = formats.read(file)
    ones = np.ones(len(table))
    return _recorded("groundtruth", table, ones, table.columns.get("score", ones) > 0)


def _recorded(name: str, table: Table, score: NDArray[np.float64], taken: NDArray[np.bool_]) -> Recorded:
    taken = taken & (table.xywh[:, 2:] > 0).all(axis=1)
    order = np.flatnonzero(taken)
    order = order[np.argsort(table.frame[order], kind="stable")]
    rows = Detections(
        table.xyxy[order].astype(np.float32), score[order].astype(np.float32), np.zeros(len(order), np.int64)
    )
    if not np.isfinite(rows.xyxy).all():
        raise SparsightError(f"{table.source} has boxes that lie too far outside for float32: correct them.")
    return Recorded(name, table.frame[order], rows)


def _on_image(detections: Detections, image: Image) -> Detections:
    height, width = image.shape[:2]
    xyxy = detections.xyxy
    return detections[
        (xyxy[:, 2:] > 0.5).all(axis=1) & (xyxy[:, :2] < np.array([width, height]) - 0.5).all(axis=1)
    ]
