"""A map and a mask read as all region metrics read them, and the counting of their pixels.

All follow PySODMetrics, which follows the MATLAB codes of the metrics' papers. The map is stretched to [0, 1]
(a constant map is not: it is cut to [0, 1], after division by 255 if it is uint8). The 256 thresholds are the
multiples of 1/255, from the highest to the lowest; the adaptive threshold is twice the stretched map's mean,
at most 1; a pixel passes a threshold when it reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.metrics.plane import Array, Mask, Plane, dot, slices

_LEVELS = 256
_EXACT = 1 << 24  # OpenCV counts in float32


@dataclass(frozen=True, eq=False)
class Region:
    """What the metrics need of a stretched map and a mask, computed on first use. Built by ``region_of``.

    Attributes:
        plane: the map; stretched it is ``(map - base) * gain + level``.
        mask: H×W.
    """

    plane: Plane
    base: float
    gain: float
    level: float
    mask: Mask

    @property
    def pixels(self) -> int:
        """All pixels."""
        return self.mask.size

    @cached_property
    def area(self) -> int:
        """Pixels of the region."""
        return int(np.count_nonzero(self.mask.view(bool)))

    @property
    def mean(self) -> float:
        """Of the stretched map."""
        return (self.plane.mean - self.base) * self.gain + self.level

    @cached_property
    def share(self) -> float:
        """Sum of the stretched map over the region."""
        plane = self.plane
        if plane.native.dtype == np.uint8:
            total = cv2.sumElems(cv2.multiply(plane.native, self.mask))[0]
            return (total - self.base * self.area) * self.gain + self.level * self.area
        flat = self.mask.ravel()
        blocks = zip(slices(plane.size), plane.blocks(), strict=True)
        total = sum(dot(pixels - self.base, flat[block]) for block, pixels in blocks)
        return total * self.gain + self.level * self.area

    @cached_property
    def _counts(self) -> tuple[Array, Array, tuple[float, float]]:
        count = _count_grey if self.plane.native.dtype == np.uint8 else _count_real
        return count(self.plane, self.mask, self.level, min(2 * self.mean, 1.0))

    @cached_property
    def true(self) -> Array:
        """(256,) pixels of the region that reach each threshold, highest first."""
        return self._counts[1][::-1].cumsum()

    @cached_property
    def false(self) -> Array:
        """(256,) pixels outside the region that reach each threshold, highest first."""
        return self._counts[0][::-1].cumsum()

    @property
    def adaptive(self) -> tuple[float, float]:
        """The same two counts at the adaptive threshold."""
        return self._counts[2]

    def stretched(self, part: tuple[slice, slice]) -> Array:
        """A rectangle of the stretched map, float64."""
        values: Array = (self.plane.native[part] - self.base) * self.gain
        return values + self.level if self.level else values


def region_of(plane: Plane, mask: Mask) -> Region:
    """A map and a mask, and how the map is stretched."""
    span = plane.high - plane.low
    if span:
        return Region(plane, plane.low, 1.0 / span, 0.0, mask)
    white = 255.0 if plane.native.dtype == np.uint8 else 1.0
    return Region(plane, 0.0, 0.0, min(max(plane.low / white, 0.0), 1.0), mask)


_Counts: TypeAlias = tuple[Array, Array, tuple[float, float]]
"""Pixels outside and inside the region between two thresholds, lowest first; then ``Region.adaptive``."""


def _histograms(levels: NDArray[np.uint8], within: Mask) -> Array:
    """Pixels of each level outside (row 0) and inside (row 1) the region; ``_EXACT`` at most, flat."""
    everywhere, inside = (
        cv2.calcHist([levels], [0], chosen, [_LEVELS], [0, _LEVELS]).ravel().astype(np.float64)
        for chosen in (None, within)
    )
    return np.stack([everywhere - inside, inside])


def _count_real(plane: Plane, mask: Mask, level: float, threshold: float) -> _Counts:
    span = plane.high - plane.low
    counts = np.zeros((2, _LEVELS))
    true = false = 0
    flat = mask.ravel()
    for block, pixels in zip(slices(plane.size), plane.blocks(), strict=True):
        values = (pixels - plane.low) / span if span else np.full(len(pixels), level)
        within = flat[block]
        reached = values >= threshold
        both = int(np.count_nonzero(reached & within.view(bool)))
        true += both
        false += int(np.count_nonzero(reached)) - both
        values *= 255
        counts += _histograms(values.astype(np.uint8), within)
    return counts[0], counts[1], (float(true), float(false))


def _count_grey(plane: Plane, mask: Mask, level: float, threshold: float) -> _Counts:
    pixels = np.zeros((2, _LEVELS))
    flat = mask.ravel()
    for block in slices(plane.size, _EXACT):
        pixels += _histograms(plane.flat[block], flat[block])
    if plane.constant:
        values = np.full(_LEVELS, level)
    else:
        # In the order in which PySODMetrics divides, or a rounding error puts a level into another bin.
        values = (np.arange(_LEVELS) / 255 - plane.low / 255) / (plane.high / 255 - plane.low / 255)
    # Levels that no pixel has may lie outside [0, 1].
    thresholds = (np.clip(values, 0.0, 1.0) * 255).astype(np.intp)
    outside, inside = (
        np.bincount(thresholds, weights=row, minlength=_LEVELS).astype(np.float64) for row in pixels
    )
    false, true = pixels[:, values >= threshold].sum(axis=1)
    return outside, inside, (float(true), float(false))
