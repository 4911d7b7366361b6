"""RARE2007: places whose brightness and texture are seldom in the picture, and far from the rest of it.

After M. Mancas, "Computational Attention: Towards Attentive Computers" (PhD thesis, 2007), chapter on global
rarity, and M. Mancas, C. Mancas-Thillou, B. Gosselin and B. Macq, "A rarity-based visual attention map -
application to texture description" (ICIP 2006).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.classic.colour import ycbcr
from sparsight.saliency.classic.rarities import bin_of, frequencies, look_up
from sparsight.saliency.classic.working import blurred, check_positive, finished, scaled
from sparsight.saliency.levels import minmax
from sparsight.saliency.result import SaliencyResult

_FLAT = 1e-3
"""A channel in [0, 1] that varies by less is noise."""

_NAMES = ("luma", "blue difference", "red difference")


class Rare2007:
    """An image (H×W×3 uint8 RGB) → the rarity of neighbourhoods in brightness and two colours.

    The message of a pixel is the mean and the deviation of a window around it. Its attention is −ln(P · D):
    P the fraction of pixels with the same message, D one minus the mean distance to all messages. The
    attention of windows of several sizes is added within a channel (kept as levels), then over channels.

    Args:
        size: the picture is scaled so that its longer side has this many pixels.
        bins: bins of the means and bins of the deviations, at least 2.
        sigma: the outcome is smoothed by a Gaussian of this fraction of the longer side.

    Raises:
        SparsightError: an option out of its range.
    """

    def __init__(self, *, size: int = 256, bins: int = 16, sigma: float = 0.02) -> None:
        check_positive("rare2007", size=size, sigma=sigma)
        if bins < 2:
            raise SparsightError(f"rare2007 cannot have bins={bins}: give at least 2.")
        self.size, self.bins, self.sigma = size, bins, sigma

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``; errors as for every model."""
        channels = ycbcr(scaled(image, side=self.size))
        attention = np.sum([global_attention(channels, window, self.bins) for window in WINDOWS], axis=0)
        levels = {name: minmax(values) for name, values in zip(_NAMES, attention, strict=True)}
        total = np.sum(list(levels.values()), axis=0)
        return SaliencyResult(finished(blurred(total, self.sigma * self.size), image), levels=levels)


WINDOWS = (3, 9, 27)
"""Sides of the neighbourhoods in pixels of the working picture."""


def global_attention(channels: NDArray[np.float32], window: int, bins: int) -> NDArray[np.float32]:
    """−ln(P · D) of every pixel's message, the mean and deviation of its ``window``×``window`` neighbourhood.

    P is the fraction of pixels whose mean and deviation fall into the same of ``bins``×``bins`` bins.
    D is 1 − Σⱼ |mᵢ − mⱼ| / (n · r), the distance of the means of the bins, with n pixels and range r.

    Args:
        channels: (N, H, W).
        window: odd.
        bins: for each of the two.

    Returns:
        (N, H, W) float32 ≥ 0; zero for a flat channel.
    """
    layers = np.moveaxis(channels, 0, -1)
    smooth = [
        cv2.blur(values, (window, window), borderType=cv2.BORDER_REFLECT) for values in (layers, layers**2)
    ]
    # OpenCV drops the last dimension of a single channel.
    mean, square = (np.moveaxis(np.asarray(v, np.float32).reshape(layers.shape), -1, 0) for v in smooth)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    means = bin_of(mean, bins, _FLAT)
    codes = means * bins + bin_of(deviation, bins, _FLAT)
    joint = frequencies(codes, bins * bins)
    level = np.arange(bins) / (bins - 1)
    distance = joint.reshape(-1, bins, bins).sum(axis=2) @ np.abs(level[:, None] - level)
    alike = np.maximum(1 - distance, 1 / codes[0].size).repeat(bins, axis=1)
    return look_up(-np.log(np.where(joint > 0, joint, 1.0)) - np.log(alike) * (joint > 0), codes)
