"""Region metrics that look at structure: S-measure, E-measure, weighted F."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsight.saliency.metrics.case import Case, case
from sparsight.saliency.metrics.counting import Region
from sparsight.saliency.metrics.plane import Array, Mask
from sparsight.saliency.metrics.regions import at_thresholds, summary

EPSILON = 2.0**-52
_WINDOW = 3
_ROWS = 64


def _moments(values: NDArray[Any], mask: Mask | None = None) -> tuple[float, float]:
    """Mean and standard deviation (N in the divisor), the latter exactly 0 where all values are equal."""
    mean, deviation = (float(moment[0, 0]) for moment in cv2.meanStdDev(values, mask=mask))
    # OpenCV subtracts squares: what is small beside the mean may be rounding alone.
    if deviation <= 1e-3 * abs(mean):
        chosen = (values.ravel() if mask is None else values[mask.view(bool)]).astype(np.float64)
        deviation = 0.0 if chosen.min() == chosen.max() else float(chosen.std())
    return mean, deviation


def _object(mean: float, deviation: float, count: int) -> float:
    spread = deviation * math.sqrt(count / (count - 1)) if count > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + spread + EPSILON)


def _likeness(region: Region, part: tuple[slice, slice], rounding: bool) -> float:
    """Structural similarity of a rectangle of the map and of the mask, times its number of pixels."""
    values, mask = region.plane.native[part], region.mask[part]
    count = values.size
    if not count:
        return 0.0
    mean, deviation = _moments(values)
    x, deviation = (mean - region.base) * region.gain + region.level, deviation * region.gain
    inside = int(np.count_nonzero(mask))
    y = inside / count
    divisor = count - 1 + EPSILON
    variance_x, variance_y = deviation**2 * count / divisor, inside * (1 - y) / divisor
    covariance = 0.0
    if inside and deviation:
        covariance = inside * (cv2.mean(values, mask)[0] - mean) * region.gain / divisor
    top = 4 * x * y * covariance
    bottom = (x**2 + y**2) * (variance_x + variance_y)
    if top != 0:
        return count * top / (bottom + EPSILON)
    if rounding and bottom == 0:
        bottom = _rounding(region, part, y)
    return float(count) if bottom == 0 else 0.0


def _rounding(region: Region, part: tuple[slice, slice], y: float) -> float:
    """What stands for the contrast of an even rectangle, of map and mask, where the mean of equal numbers is
    not quite that number: 0 only if it is.

    The mean is NumPy's over that rectangle of a whole array, since its rounding depends on the order of the
    summands.
    """
    plane = region.plane
    native = plane.native
    kind = np.dtype(np.float64) if native.dtype == np.uint8 else native.dtype
    white = 255 if native.dtype == np.uint8 else 1
    value, low, high = (
        np.divide(each, white, dtype=kind) for each in (native[part][0, 0], native.min(), native.max())
    )
    level = kind.type(region.level) if plane.constant else (value - low) / (high - low)
    x = np.full(native.shape, level)[part].mean()
    return float((x**2 + y**2) * (level - x) ** 2)


def score_s_measure(given: Case, alpha: float = 0.5) -> float:
    """``s_measure`` of a case."""
    region = given.region
    mask, pixels, area = region.mask, region.pixels, region.area
    if area == pixels:
        return region.mean
    objects = 0.0
    for part, count, sign in ((mask, area, 1), (1 - mask, pixels - area, -1)):
        mean, deviation = _moments(region.plane.native, part)
        level = (mean - region.base) * region.gain + region.level
        objects += count / pixels * _object(level if sign > 0 else 1 - level, deviation * region.gain, count)
    height, width = mask.shape
    row = int(np.round(mask.sum(axis=1, dtype=np.int32) @ np.arange(height) / area)) + 1
    column = int(np.round(mask.sum(axis=0, dtype=np.int32) @ np.arange(width) / area)) + 1
    likeness = sum(
        _likeness(region, (rows, columns), given.preset.rounding)
        for rows in (slice(row), slice(row, None))
        for columns in (slice(column), slice(column, None))
    )
    return max(0.0, alpha * objects + (1 - alpha) * likeness / pixels)


def s_measure(map: ArrayLike, mask: ArrayLike, *, alpha: float = 0.5, preset: str = "mit") -> float:
    """Structure measure: how alike map and mask are as an object, and in four parts around its centre.

    Args:
        map: H×W saliency.
        mask: H×W region: booleans, or 0 and 1, or grey levels of which those above 128 are the region.
        alpha: weight of the object score against the region score.
        preset: ``"mit"`` and ``"pysaliency"``: of the four parts, one that is even in map and mask is alike;
            ``"pysod"``: only where the mean of its equal numbers has no rounding error, as PySODMetrics does
            it, so that a constant map may score 0.3 apart from one a little brighter.

    Returns:
        0 to 1. A mask that covers the image scores the stretched map's mean. A part without pixels (the
        region's centre in the last row or column) weighs nothing, where PySODMetrics gives NaN.

    Raises:
        SparsightError: sizes that differ, an empty mask, NaN in the map.

    Source: Fan et al., ICCV 2017.
    """
    return score_s_measure(case(map, mask=mask, preset=preset), alpha)


def alignment(region: Region, true: Array, false: Array) -> Array:
    """Enhanced alignment (K,) at thresholds which ``true`` (K,) pixels inside and ``false`` outside pass."""
    pixels, area = region.pixels, region.area
    passed = true + false
    if area == pixels:
        return passed / (pixels - 1 + EPSILON)
    mean_map, mean_mask = passed / pixels, area / pixels
    total = np.zeros_like(true)
    for count, in_map, in_mask in (
        (true, 1, 1),
        (false, 1, 0),
        (area - true, 0, 1),
        (pixels - area - false, 0, 0),
    ):
        x, y = in_map - mean_map, in_mask - mean_mask
        aligned = 2 * x * y / (x**2 + y**2 + EPSILON)
        total += count * (aligned + 1) ** 2 / 4
    return total / (pixels - 1 + EPSILON)


def score_e_measure(given: Case, how: str) -> float:
    """``e_measure`` of a case."""
    return summary(alignment(given.region, *at_thresholds(given.region, how)), how)


def e_measure(map: ArrayLike, mask: ArrayLike, *, how: str = "adaptive", preset: str = "mit") -> float:
    """Enhanced alignment measure of the mask and of what passes the threshold, each minus its mean.

    Args:
        map: H×W saliency.
        mask: as for ``s_measure``.
        how: at the ``"adaptive"`` threshold, or the ``"max"`` or ``"mean"`` over all 256.
        preset: ``"mit"``, ``"pysaliency"`` or ``"pysod"``; it makes no difference here.

    Returns:
        0 to 1, and a little above: the sum over N pixels is divided by N - 1, as in the authors' code.

    Raises:
        SparsightError: sizes that differ, an empty mask, NaN in the map.

    Source: Fan et al., IJCAI 2018.
    """
    return score_e_measure(case(map, mask=mask, preset=preset), how)


def score_weighted_f(given: Case, beta2: float = 1.0) -> float:
    """``weighted_f`` of a case."""
    region = given.region
    mask, area = region.mask, region.area
    distance = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    false = 0.0
    for start in range(0, len(mask), _ROWS):
        rows = (slice(start, start + _ROWS), slice(None))
        # Squared distances are whole numbers; OpenCV's roots differ in the last digit from call to call.
        exact = np.sqrt(np.rint(distance[rows].astype(np.float64) ** 2))
        weight = 2.0 - np.exp(exact * (math.log(0.5) / 5))
        weight *= region.stretched(rows)
        false += float(weight.sum() - weight[mask[rows].view(bool)].sum())
    missed = _missed(region)
    true = area - missed
    recall = 1 - missed / area
    precision = true / (true + false + EPSILON)
    return (1 + beta2) * recall * precision / (recall + beta2 * precision + EPSILON)


def _missed(region: Region) -> float:
    """The error inside the region, each pixel's error lowered to its surroundings' where those are better.

    Surroundings are a 7×7 Gaussian with deviation 5; a pixel outside the region lends it the error of the
    nearest pixel of the region. Only those within three pixels of the region are ever looked at.
    """
    x, y, width, height = cv2.boundingRect(region.mask)
    part = (
        slice(max(0, y - _WINDOW), y + height + _WINDOW),
        slice(max(0, x - _WINDOW), x + width + _WINDOW),
    )
    inside = np.ascontiguousarray(region.mask[part])
    error = (1.0 - region.stretched(part)) * inside
    lent = error.copy()
    _lend(lent, inside)
    kernel = np.exp(-(np.arange(-_WINDOW, _WINDOW + 1) ** 2) / 50.0)
    kernel /= kernel.sum()
    around: NDArray[Any] = cv2.sepFilter2D(lent, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    # Outside the region the error is 0 here, and the surroundings' is not below.
    return float(np.minimum(error, around, out=error).sum())


# Nearest first; of equally near ones the leftmost column, then the uppermost row, as SciPy's distance
# transform chooses.
_OFFSETS = sorted(
    (
        (dx * dx + dy * dy, dx, dy)
        for dx in range(-4, 5)
        for dy in range(-4, 5)
        if 0 < dx * dx + dy * dy <= 2 * _WINDOW**2
    ),
)


def _lend(error: Array, inside: Mask) -> None:
    """Give the pixels within three of the region the error of its nearest pixel, in place."""
    window = np.ones((2 * _WINDOW + 1, 2 * _WINDOW + 1), np.uint8)
    waiting = np.flatnonzero(cv2.dilate(inside, window) - inside)
    # A frame of nothing, so that no offset leads to the other side.
    margin = 4
    framed = cv2.copyMakeBorder(inside, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    stride = framed.shape[1]
    row, column = np.divmod(waiting, inside.shape[1])
    place = (row + margin) * stride + column + margin
    flat, framed_flat = error.ravel(), framed.ravel()
    for _, dx, dy in _OFFSETS:
        found = framed_flat[place + dy * stride + dx] > 0
        flat[waiting[found]] = flat[waiting[found] + dy * inside.shape[1] + dx]
        waiting, place = waiting[~found], place[~found]
        if not len(waiting):
            return


def weighted_f(map: ArrayLike, mask: ArrayLike, *, beta2: float = 1.0, preset: str = "mit") -> float:
    """Weighted F-measure: F of the grey map itself, errors weighted by where they are.

    An error inside the region counts less where its surroundings are right; one outside counts more, from 1
    at the region to 2 far away: ``2 - exp(ln(0.5) / 5 * distance)``.

    Args:
        map: H×W saliency.
        mask: as for ``s_measure``.
        beta2: weight of precision, squared.
        preset: ``"mit"``, ``"pysaliency"`` or ``"pysod"``; it makes no difference here.

    Returns:
        0 to 1.

    Raises:
        SparsightError: sizes that differ, an empty mask, NaN in the map.

    Source: Margolin, Zelnik-Manor and Tal, CVPR 2014.
    """
    return score_weighted_f(case(map, mask=mask, preset=preset), beta2)
