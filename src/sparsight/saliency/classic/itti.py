"""Itti, Koch and Niebur: what differs from its surround in brightness, colour or orientation.

After L. Itti, C. Koch and E. Niebur, "A Model of Saliency-Based Visual Attention for Rapid Scene Analysis"
(PAMI 1998).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.classic.pyramid import EarlyFeatures, early_features
from sparsight.saliency.classic.working import blurred, check_positive, finished, scaled
from sparsight.saliency.levels import minmax, resize
from sparsight.saliency.result import Map, SaliencyResult

CENTRES = (2, 3, 4)
DELTAS = (3, 4)
"""The surround of a centre at level c is the level c + δ."""

OUT = 4
"""The level at which maps are added."""

_FAINT = 1e-4
"""Differences below this, of features in [0, 1], are rounding errors or the noise of a flat picture."""


class Itti:
    """An image (H×W×3 uint8 RGB) → the mean of three conspicuity maps, which the result keeps as levels.

    Args:
        size: the picture is scaled so that its longer side has this many pixels.
        sigma: the outcome is smoothed by a Gaussian of this many pixels of the map at level 4.

    Raises:
        SparsightError: an option that is not positive.
    """

    def __init__(self, *, size: int = 640, sigma: float = 1.0) -> None:
        check_positive("itti", size=size, sigma=sigma)
        self.size, self.sigma = size, sigma

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``; errors as for every model."""
        features = early_features(scaled(image, side=self.size), max(CENTRES) + max(DELTAS), min(CENTRES))
        conspicuity = conspicuities(features)
        total = np.mean([promoted(values) for values in conspicuity.values()], axis=0)
        return SaliencyResult(
            finished(blurred(total, self.sigma), image),
            levels={name: minmax(values) for name, values in conspicuity.items()},
        )


def conspicuities(features: EarlyFeatures) -> dict[str, Map]:
    """Intensity, colour and orientation: each the sum of its promoted centre-surround maps (eqs. 5 to 7)."""
    shape = features.intensity[OUT].shape
    return {
        "intensity": _conspicuity([features.intensity], shape),
        "colour": _conspicuity([features.red_green, features.blue_yellow], shape),
        "orientation": np.sum(
            [promoted(_conspicuity([pyramid], shape)) for pyramid in features.orientation], axis=0
        ),
    }


def _conspicuity(pyramids: Sequence[Sequence[Map]], shape: tuple[int, ...]) -> Map:
    maps = [promoted(values) for pyramid in pyramids for values in centre_surround(pyramid)]
    return np.asarray(np.sum([_reduced(values, shape) for values in maps], axis=0), np.float32)


def centre_surround(pyramid: Sequence[Map]) -> list[Map]:
    """|centre − surround| for each centre level and δ, on the centre's grid."""
    return [
        np.abs(pyramid[centre] - resize(pyramid[centre + delta], pyramid[centre].shape))
        for centre in CENTRES
        for delta in DELTAS
    ]


def promoted(values: Map) -> Map:
    """The operator N: a map with one peak is kept, one with many alike is suppressed.

    The map is scaled so that its peak is 1, then multiplied by (1 − m)², where m is the mean of its local
    maxima except the highest. A pixel is a local maximum if none of its eight neighbours is above it, one is
    below it, and it is above a tenth of the peak.

    Args:
        values: H×W ≥ 0.

    Returns:
        H×W float32 in [0, 1]; zero where ``values`` has no peak to speak of.
    """
    peak = float(values.max())
    if not peak > _FAINT:
        return np.zeros_like(values)
    scaled_map = values / np.float32(peak)
    square = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(scaled_map, square)
    summits = (scaled_map >= highest) & (scaled_map > cv2.erode(scaled_map, square)) & (scaled_map > 0.1)
    heights = np.sort(scaled_map[summits])[:-1]
    others = float(heights.mean()) if len(heights) else 0.0
    return np.asarray(scaled_map * np.float32((1 - others) ** 2), np.float32)


def _reduced(values: Map, shape: tuple[int, ...]) -> Map:
    """``values`` on a grid that is no finer: means over areas, so no peak falls between."""
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
