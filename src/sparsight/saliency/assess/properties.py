"""What salient regions are like: how large, how many, where, how different from what is around them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from sparsight.errors import SparsightError
from sparsight.media.images import Image
from sparsight.saliency.assess.statistics import Values

if TYPE_CHECKING:
    from sparsight.saliency.datasets import Dataset

Mask = NDArray[np.bool_]
"""H×W, True where the image is salient."""

PROPERTIES = {
    "size": "share of the image that is salient",
    "number": "salient regions",
    "eccentricity": "distance of the regions' centre from the image's, in half diagonals",
    "contrast_histogram": "chi-square distance of Lab histograms, region to surround",
    "contrast_colour": "Euclidean distance of mean Lab colours, region to surround",
    "congestion": "feature congestion of the whole image",
    "edges": "share of pixels on an edge",
}
"""What is measured of each image, and what it means."""

LEAST_REGION = 0.0005
"""Connected parts below this share of the image are specks of the drawing, not regions."""

_LAB_BINS = (8, 8, 8)
_SCALES = 3
_POOLING_SIGMA = 4.0


@dataclass(frozen=True, eq=False)
class RegionProperties:
    """Properties of the salient regions of I images.

    Attributes:
        dataset: the data set's name.
        images: (I,) names.
        values: property → (I,) float64, names as in ``PROPERTIES``; NaN where there is none.
        notes: images that were left out, and why.
    """

    dataset: str
    images: tuple[str, ...]
    values: dict[str, Values]
    notes: tuple[str, ...] = ()


def region_properties(image: Image, mask: Mask) -> dict[str, float]:
    """Measure the salient regions of one image.

    - ``size``: share of all pixels; ``number``: 8-connected parts of at least ``LEAST_REGION`` of the image
      (at least 1).
    - ``eccentricity``: distance of the salient pixels' centroid from the image's centre / half the diagonal.
    - ``contrast_histogram``: ½ Σ (a − b)² / (a + b) of Lab histograms (8×8×8) of the regions and of as many
      pixels nearest to them, from 0 (same colours) to 1 (none in common): centre-surround, Liu et al. 2007.
    - ``contrast_colour``: distance of their mean colours in CIE Lab (L from 0 to 100).
    - ``congestion``: volume of the local covariance of Lab colour, det^(1/6), pooled with a Gaussian
      (σ = 4 px) at three scales and averaged: the colour and luminance clutter of Rosenholtz et al. 2007,
      without their orientations.
    - ``edges``: share of pixels on a Canny edge; its limits are the Otsu threshold of the gradient and half
      of that.

    Args:
        image: H×W×3 uint8 RGB.
        mask: H×W, True where salient.

    Raises:
        SparsightError: mask and image differ in size, or the mask is empty.
    """
    if mask.shape != image.shape[:2]:
        raise SparsightError(
            f"the mask is {mask.shape[1]}x{mask.shape[0]} and the image "
            f"{image.shape[1]}x{image.shape[0]} pixels: give a mask of the image's size."
        )
    area = int(np.count_nonzero(mask))
    if not area:
        raise SparsightError("the mask is empty: there is no salient region to measure.")
    height, width = mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    parts = stats[1:, cv2.CC_STAT_AREA]
    rows, columns = np.nonzero(mask)
    away = np.hypot(rows.mean() - (height - 1) / 2, columns.mean() - (width - 1) / 2)
    lab = np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    histogram, colour = _contrast(lab, mask)
    return {
        "size": area / mask.size,
        "number": max(1.0, float(np.count_nonzero(parts >= LEAST_REGION * mask.size))),
        "eccentricity": float(away / (np.hypot(height, width) / 2)),
        "contrast_histogram": histogram,
        "contrast_colour": colour,
        "congestion": _congestion(lab),
        "edges": _edge_density(image),
    }


def measure(
    data: Dataset, only: Collection[str] | None = None, progress: Callable[[int, int], None] | None = None
) -> RegionProperties:
    """Measure every image of a data set that has a region; what cannot be read is left out and noted.

    Args:
        data: its name, images and masks.
        only: names of the images to measure, by default all.
        progress: told how many images are done, of how many.

    Raises:
        SparsightError: none of them could be measured.
    """
    wanted = [index for index, name in enumerate(data.names) if only is None or name in only]
    names, rows, notes, without = [], [], [], 0
    for done, index in enumerate(wanted, 1):
        try:
            mask = data.mask(index)
            if mask is None:
                without += 1
            else:
                rows.append(region_properties(data.image(index), mask))
                names.append(data.names[index])
        except SparsightError as error:
            notes.append(f"{data.name} {data.names[index]} was left out: {error}")
        if progress is not None:
            progress(done, len(wanted))
    if not rows:
        reason = notes[0] if notes else f"none of {len(wanted)} images has one"
        raise SparsightError(
            f"no region of {data.name} could be measured ({reason.rstrip('.')}): "
            "choose a data set with segmented regions."
        )
    if without:
        notes.append(f"{without} of {len(wanted)} images of {data.name} have no segmented region.")
    values = {key: np.array([row[key] for row in rows]) for key in PROPERTIES}
    return RegionProperties(data.name, tuple(names), values, tuple(notes))


def _contrast(lab: NDArray[np.float32], mask: Mask) -> tuple[float, float]:
    """Chi-square distance of histograms, and distance of mean colours, between regions and surround."""
    area = int(np.count_nonzero(mask))
    outside = ~mask
    if not outside.any():  # nothing is around it
        return 0.0, 0.0
    away = distance_transform_edt(outside)[outside]
    count = min(area, away.size)
    # All pixels as near as the last one that is needed: which of equals would be a matter of reading order.
    near = away <= np.partition(away, count - 1)[count - 1]
    inside, around = lab[mask], lab[outside][near]
    limits = [(0, 100), (-128, 128), (-128, 128)]
    one, two = (
        np.histogramdd(pixels, _LAB_BINS, limits)[0].ravel() / len(pixels) for pixels in (inside, around)
    )
    total = one + two
    filled = total > 0
    chi2 = 0.5 * float(((one - two)[filled] ** 2 / total[filled]).sum())
    return chi2, float(np.linalg.norm(inside.mean(axis=0) - around.mean(axis=0)))


def _congestion(lab: NDArray[np.float32]) -> float:
    found = []
    for _ in range(_SCALES):
        if min(lab.shape[:2]) < 2:
            break
        mean = cv2.GaussianBlur(lab, (0, 0), _POOLING_SIGMA)
        left, right = np.triu_indices(3)
        products = lab[..., left] * lab[..., right]
        pooled = np.dstack(
            [cv2.GaussianBlur(each, (0, 0), _POOLING_SIGMA) for each in np.moveaxis(products, 2, 0)]
        )
        a, b, c, d, e, f = np.moveaxis((pooled - mean[..., left] * mean[..., right]).astype(np.float64), 2, 0)
        volume = a * (d * f - e * e) - b * (b * f - c * e) + c * (b * e - c * d)
        found.append(float((np.clip(volume, 0, None) ** (1 / 6)).mean()))
        lab = np.asarray(cv2.pyrDown(lab), np.float32)
    return float(np.mean(found)) if found else 0.0


def _edge_density(image: Image) -> float:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    across, down = cv2.Sobel(grey, cv2.CV_16S, 1, 0), cv2.Sobel(grey, cv2.CV_16S, 0, 1)
    steep = np.abs(across.astype(np.int32)) + np.abs(down)
    if not steep.any():
        return 0.0
    high, _ = cv2.threshold(np.minimum(steep, 65535).astype(np.uint16), 0, 65535, cv2.THRESH_OTSU)
    return float(np.count_nonzero(cv2.Canny(across, down, high / 2, max(high, 1.0))) / grey.size)
