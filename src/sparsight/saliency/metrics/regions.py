"""A map against a segmented region: F-measure, IoU, mean absolute error, area under the ROC curve.

The reading of map and mask, and the thresholds, are those of ``counting``; every preset scores regions alike,
so ``preset`` is only checked here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsight.errors import SparsightError
from sparsight.registry import unknown
from sparsight.saliency.metrics.case import Case, case
from sparsight.saliency.metrics.counting import Region
from sparsight.saliency.metrics.plane import Array

BETA2 = 0.3
HOW = ("adaptive", "max", "mean")


@dataclass(frozen=True, eq=False)
class Curves:
    """Scores at the 256 thresholds, highest first; each (256,) float64."""

    thresholds: Array
    precision: Array
    recall: Array
    f: Array
    iou: Array
    e: Array


def curves(map: ArrayLike, mask: ArrayLike, *, beta2: float = BETA2, preset: str = "mit") -> Curves:
    """Precision, recall, F, IoU and E-measure at every threshold.

    Args:
        map: H×W saliency.
        mask: H×W region: booleans, or 0 and 1, or grey levels of which those above 128 are the region.
        beta2: weight of precision in F, squared.
        preset: ``"mit"``, ``"pysaliency"`` or ``"pysod"``; it makes no difference here.

    Raises:
        SparsightError: sizes that differ, an empty mask, NaN in the map.
    """
    from sparsight.saliency.metrics.structure import alignment

    region = case(map, mask=mask, preset=preset).region
    precision, recall = _precision_recall(region, region.true, region.false)
    return Curves(
        thresholds=np.arange(255, -1, -1) / 255,
        precision=precision,
        recall=recall,
        f=_f(precision, recall, beta2),
        iou=_iou(region, region.true, region.false),
        e=alignment(region, region.true, region.false),
    )


def at_thresholds(region: Region, how: str) -> tuple[Array, Array]:
    """The counts that ``how`` asks for: at the adaptive threshold (1,), or at all (256,)."""
    if how == "adaptive":
        true, false = region.adaptive
        return np.array([true]), np.array([false])
    if how not in HOW:
        raise SparsightError(unknown("way to choose a threshold", how, HOW))
    return region.true, region.false


def summary(scores: Array, how: str) -> float:
    """One number for the scores at the thresholds of ``how``."""
    return float(scores.max() if how == "max" else scores.mean())


def _precision_recall(region: Region, true: Array, false: Array) -> tuple[Array, Array]:
    passed = true + false
    return np.divide(true, passed, out=np.zeros_like(true), where=passed > 0), true / region.area


def _f(precision: Array, recall: Array, beta2: float) -> Array:
    bottom = beta2 * precision + recall
    return np.divide((1 + beta2) * precision * recall, bottom, out=np.zeros_like(bottom), where=bottom > 0)


def _iou(region: Region, true: Array, false: Array) -> Array:
    return true / (region.area + false)


def score_f(given: Case, how: str, beta2: float = BETA2) -> float:
    """``f_measure`` of a case."""
    return summary(_f(*_precision_recall(given.region, *at_thresholds(given.region, how)), beta2), how)


def f_measure(
    map: ArrayLike,
    mask: ArrayLike,
    *,
    how: str = "adaptive",
    beta2: float = BETA2,
    preset: str = "mit",
) -> float:
    """F-measure, ``(1 + b) P R / (b P + R)`` of precision P and recall R, with b = ``beta2``.

    Args:
        map: H×W saliency.
        mask: H×W region: booleans, or 0 and 1, or grey levels of which those above 128 are the region.
        how: at the ``"adaptive"`` threshold, or the ``"max"`` or ``"mean"`` over all 256.
        beta2: weight of precision, squared; the field's custom is 0.3.
        preset: ``"mit"``, ``"pysaliency"`` or ``"pysod"``; it makes no difference here.

    Returns:
        0 to 1; 0 where nothing of the region passes.

    Raises:
        SparsightError: sizes that differ, an empty mask, NaN in the map.

    Source: Achanta et al., CVPR 2009.
    """
    return score_f(case(map, mask=mask, preset=preset), how, beta2)


def score_iou(given: Case, how: str) -> float:
    """``iou`` of a case."""
    return summary(_iou(given.region, *at_thresholds(given.region, how)), how)


def iou(map: ArrayLike, mask: ArrayLike, *, how: str = "adaptive", preset: str = "mit") -> float:
    """Intersection over union of the region and of what passes the threshold; arguments as for ``f_measure``.

    Returns:
        0 to 1.

    Source: Jaccard 1912.
    """
    return score_iou(case(map, mask=mask, preset=preset), how)


def score_mae(given: Case) -> float:
    """``mae`` of a case."""
    region = given.region
    outside = region.mean * region.pixels - region.share
    return (region.area - region.share + outside) / region.pixels


def mae(map: ArrayLike, mask: ArrayLike, *, preset: str = "mit") -> float:
    """Mean absolute difference of the stretched map and the mask (0 and 1); arguments as for ``f_measure``.

    Returns:
        0 (best) to 1.

    Source: Perazzi et al., CVPR 2012.
    """
    return score_mae(case(map, mask=mask, preset=preset))


def score_region_auc(given: Case) -> float:
    """``region_auc`` of a case."""
    region = given.region
    outside = region.pixels - region.area
    if not outside:
        raise SparsightError("the mask covers the whole image: no pixels are left to tell the region from.")
    if given.plane.constant:
        return 0.5
    false = np.r_[0.0, region.false] / outside
    true = np.r_[0.0, region.true] / region.area
    area: NDArray[np.float64] = np.diff(false) @ ((true[1:] + true[:-1]) / 2)
    return float(area)


def region_auc(map: ArrayLike, mask: ArrayLike, *, preset: str = "mit") -> float:
    """Area under the ROC curve through the 256 thresholds: pixels of the region against all others.

    Pixels that fall between the same two thresholds are ties and count half, so the value is exact for 8-bit
    maps. Arguments as for ``f_measure``.

    Returns:
        0 to 1; a constant map scores exactly 0.5.

    Raises:
        SparsightError: also a mask that covers the whole image.

    Source: Borji, Cheng, Jiang and Li, TIP 2015.
    """
    return score_region_auc(case(map, mask=mask, preset=preset))
