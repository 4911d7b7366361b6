"""A map and a mask read as all region metrics read them, and one pass of counting.

All follow PySODMetrics, which follows the MATLAB codes of the metrics' papers. The map is stretched to [0, 1]
(a constant map is not: it is cut to [0, 1], after division by 255 if it is uint8). The 256 thresholds are the
multiples of 1/255, from the highest to the lowest; the adaptive threshold is twice the stretched map's mean,
at most 1; a pixel passes a threshold when it reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from sparsight.saliency.metrics.plane import Array, Mask, Plane


def stretched(plane: Plane) -> Array:
    """The map as all region metrics read it: H×W float64 in [0, 1]."""
    # In the order in which PySODMetrics divides: a level that ends up one rounding error lower falls into
    # another bin.
    values = plane.values / 255 if plane.byte else plane.values
    if plane.constant:
        return np.clip(values, 0.0, 1.0)
    low, high = (plane.low / 255, plane.high / 255) if plane.byte else (plane.low, plane.high)
    unit = values - low
    unit /= high - low
    return unit


@dataclass(frozen=True, eq=False)
class Region:
    """What the metrics need of a stretched map and a mask.

    ``true`` and ``false``: (256,) pixels of the region, and outside it, that reach each threshold, highest
    first.
    """

    unit: Array
    mask: Mask
    true: Array
    false: Array

    @cached_property
    def pixels(self) -> int:
        """All pixels."""
        return self.mask.size

    @cached_property
    def area(self) -> int:
        """Pixels of the region."""
        return int(self.true[-1])

    @cached_property
    def mean(self) -> float:
        """Mean of the stretched map."""
        return float(self.unit.mean())

    @cached_property
    def share(self) -> float:
        """Sum of the stretched map over the region."""
        return cv2.mean(self.unit, self.mask)[0] * self.area

    @cached_property
    def adaptive(self) -> tuple[int, int]:
        """Pixels of the region, and outside it, that reach the adaptive threshold."""
        passed = self.unit >= min(2 * self.mean, 1.0)
        true = int(np.count_nonzero(passed & self.mask.view(bool)))
        return true, int(np.count_nonzero(passed)) - true


def count_region(plane: Plane, mask: Mask) -> Region:
    """The one pass over the pixels."""
    unit = stretched(plane)
    levels = (unit * 255).astype(np.uint8)
    everywhere = cv2.calcHist([levels], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    true = cv2.calcHist([levels], [0], mask, [256], [0, 256]).ravel().astype(np.float64)
    return Region(unit, mask, true[::-1].cumsum(), (everywhere - true)[::-1].cumsum())
