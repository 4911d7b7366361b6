"""Which detections are kept, whatever found them: large enough, and standing in a region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.types import Detections

Roi: TypeAlias = "str | Path | Sequence[tuple[float, float]] | NDArray[Any]"
"""A region of interest: the corners (x, y) of a polygon in pixels, the path of a picture that is white inside
and black outside, or such a picture as (H, W) array, true or not zero inside."""

_WHITE = 128
"""Grey from which a pixel of a mask is inside: pictures saved as JPEG have no clean black and white."""


@dataclass(frozen=True, eq=False)
class Region:
    """A region of interest: either of the two.

    Attributes:
        polygon: (P, 2) float64 corners in pixels; what an even-odd fill colours is inside.
        mask: (H, W) bool, of the frames' size.
    """

    polygon: NDArray[np.float64] | None = None
    mask: NDArray[np.bool_] | None = None

    def holds(self, xyxy: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
        """Which boxes (N, 4) in an image of that size stand inside: those whose foot point does.

        The foot point is the middle of the lowest row of pixels of a box.

        Raises:
            SparsightError: the mask is of another size than the image.
        """
        foot = np.stack([(xyxy[:, 0] + xyxy[:, 2]) / 2, xyxy[:, 3] - 0.5], axis=1).astype(np.float64)
        if self.polygon is not None:
            return inside_polygon(foot, self.polygon)
        assert self.mask is not None
        if self.mask.shape != (height, width):
            rows, columns = self.mask.shape
            raise SparsightError(
                f"the mask of the region of interest is {columns}x{rows}, but the frame is {width}x{height}: "
                "draw the mask on a frame."
            )
        column, row = np.floor(foot).astype(np.int64).T
        on_image = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        held: NDArray[np.bool_] = self.mask[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        held &= on_image
        return held


@dataclass(frozen=True)
class Keep:
    """What is kept of the detections.

    Attributes:
        min_size: the least length of a box's longer side, in pixels.
        region: where people must stand; None for anywhere.
    """

    min_size: float = 0.0
    region: Region | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.min_size, (int, float, np.number)) or not 0 <= self.min_size < np.inf:
            raise SparsightError(f"min_size={self.min_size!r} is no number of pixels: give 0 or more.")

    def __call__(self, detections: Detections, height: int, width: int) -> Detections:
        """Those of an image of that size that are kept."""
        if self.min_size == 0 and self.region is None:
            return detections
        xyxy = detections.xyxy
        kept: NDArray[np.bool_] = (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1) >= self.min_size
        if self.region is not None:
            kept &= self.region.holds(xyxy, height, width)
        return detections[kept]


def region(roi: Roi | None) -> Region | None:
    """The region that ``roi`` describes; None for none.

    Raises:
        SparsightError: it is neither a polygon nor a mask, or the picture cannot be read.
    """
    if roi is None:
        return None
    if isinstance(roi, (str, Path)):
        from sparsight.media import read_image

        return Region(mask=read_image(roi).mean(axis=2) >= _WHITE)
    try:
        array = np.asarray(roi)
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        numbers = array = np.zeros(0)
    if array.ndim == 2 and np.isfinite(numbers).all():
        if array.shape[1] == 2 and len(array) >= 3 and array.dtype != np.bool_:
            return Region(polygon=numbers)
        if array.shape[1] > 2 and isinstance(roi, np.ndarray):
            return Region(mask=array.astype(np.bool_))
    raise SparsightError(
        f"roi={str(roi)[:60]} is no region: give at least three corners (x, y), or a picture that is white "
        "inside."
    )


def inside_polygon(points: NDArray[np.float64], corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the points (N, 2) lie inside the polygon (P, 2), by the even-odd rule.

    A ray from each point to the right crosses the outline an odd number of times.
    """
    (x, y), (x1, y1) = points.T[..., None], corners.T
    x2, y2 = np.roll(corners, -1, axis=0).T
    spans = (y1 > y) != (y2 > y)  # never so for a level edge, so nothing is divided by zero below
    rise = np.where(y2 == y1, 1.0, y2 - y1)
    right = x < x1 + (y - y1) * (x2 - x1) / rise
    inside: NDArray[np.bool_] = (spans & right).sum(axis=1) % 2 == 1
    return inside
