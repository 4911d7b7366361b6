"""A map and a mask read as all region metrics read them, and one pass of counting.

All follow PySODMetrics, which follows the MATLAB codes of the metrics' papers. The map is stretched to [0, 1]
(a constant map is not: it is cut to [0, 1], after division by 255 if it is uint8). The 256 thresholds are the
multiples of 1/255, from the highest to the lowest; the adaptive threshold is twice the stretched map's mean,
at most 1; a pixel passes a threshold when it reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.metrics.plane import Array, Mask, Plane, slices

_LEVELS = 256
_EXACT = 1 << 24  # OpenCV counts in float32


@dataclass(frozen=True, eq=False)
class Region:
    """What the metrics need of a stretched map and a mask.

    Attributes:
        plane: the map; stretched it is ``(map - base) * gain + level``.
        mask: H×W.
        true, false: (256,) pixels of the region, and outside it, that reach each threshold, highest first.
        adaptive: the same two counts at the adaptive threshold.
        mean: of the stretched map.
        share: sum of the stretched map over the region.
    """

    plane: Plane
    base: float
    gain: float
    level: float
    mask: Mask
    true: Array
    false: Array
    adaptive: tuple[float, float]
    mean: float
    share: float

    @property
    def pixels(self) -> int:
        """All pixels."""
        return self.mask.size

    @property
    def area(self) -> int:
        """Pixels of the region."""
        return int(self.true[-1])

    def stretched(self, part: tuple[slice, slice]) -> Array:
        """A rectangle of the stretched map, float64."""
        values: Array = (self.plane.native[part] - self.base) * self.gain
        return values + self.level if self.level else values


def count_region(plane: Plane, mask: Mask) -> Region:
    """The one pass over the pixels."""
    grey = plane.native.dtype == np.uint8
    span = plane.high - plane.low
    if span:
        base, gain, level = plane.low, 1.0 / span, 0.0
    else:
        base, gain, level = 0.0, 0.0, min(max(plane.low / (255.0 if grey else 1.0), 0.0), 1.0)
    mean = (plane.mean - base) * gain + level
    count = _count_grey if grey else _count_real
    outside, inside, adaptive, share = count(plane, mask, level, min(2 * mean, 1.0))
    return Region(
        plane=plane,
        base=base,
        gain=gain,
        level=level,
        mask=mask,
        true=inside[::-1].cumsum(),
        false=outside[::-1].cumsum(),
        adaptive=adaptive,
        mean=mean,
        share=share,
    )


_Counts: TypeAlias = tuple[Array, Array, tuple[float, float], float]
"""Pixels outside and inside the region between two thresholds, lowest first; then as in ``Region``."""


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
    share = 0.0
    flat = mask.ravel()
    for block, pixels in zip(slices(plane.size), plane.blocks(), strict=True):
        values = (pixels - plane.low) / span if span else np.full(len(pixels), level)
        within = flat[block]
        share += float(values @ within)
        reached = values >= threshold
        both = int(np.count_nonzero(reached & within.view(bool)))
        true += both
        false += int(np.count_nonzero(reached)) - both
        values *= 255
        counts += _histograms(values.astype(np.uint8), within)
    return counts[0], counts[1], (float(true), float(false)), share


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
    return outside, inside, (float(true), float(false)), float(pixels[1] @ values)
