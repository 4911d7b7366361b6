"""CovSal: blocks whose colours and edges vary together in a way that few blocks nearby share.

After E. Erdem and A. Erdem, "Visual saliency estimation by nonlinearly integrating features using region
covariances" (Journal of Vision 2013).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.classic.colour import lab
from sparsight.saliency.classic.working import blurred, check_positive, finished, scaled
from sparsight.saliency.intake import check_image
from sparsight.saliency.levels import minmax, resize
from sparsight.saliency.result import Map, SaliencyResult

BLOCKS = (8, 16, 32)
"""Sides of the regions in pixels of the working picture."""

SIMILAR = 0.1
"""A region is compared with this fraction of all, the most similar ones."""

_FAINT = 1e-3
"""Regions that differ by less, in features of about [0, 1], differ by rounding."""

_RIDGE = 1e-6  # lets a region of one colour have a Cholesky factor


class CovSal:
    """An image (H×W×3 uint8 RGB) → how little each region resembles those most similar to it.

    Regions are square blocks of three sizes. The maps of the sizes, which the result keeps as levels, are
    multiplied.

    Args:
        size: the picture is scaled so that its longer side has about this many pixels.
        sigma: the outcome is smoothed by a Gaussian of this fraction of the longer side.

    Raises:
        SparsightError: an option that is not positive.
    """

    def __init__(self, *, size: int = 384, sigma: float = 0.03) -> None:
        check_positive("covsal", size=size, sigma=sigma)
        self.size, self.sigma = size, sigma

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The saliency of ``image``; errors as for every model."""
        features = region_features(self._picture(image))
        levels = {f"{block} px": minmax(self._level(features, block)) for block in BLOCKS}
        shape = next(iter(levels.values())).shape
        total = np.prod([resize(values, shape) for values in levels.values()], axis=0)
        return SaliencyResult(
            finished(blurred(total, self.sigma * self.size / BLOCKS[0]), image), levels=levels
        )

    def _picture(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The working picture, its sides multiples of the largest block; at least two blocks a side."""
        check_image(image)
        longer, unit = max(image.shape[:2]), BLOCKS[-1]
        height, width = (max(2, round(n * self.size / longer / unit)) * unit for n in image.shape[:2])
        picture = scaled(image, side=self.size)
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)

    def _level(self, features: NDArray[np.float32], block: int) -> Map:
        points, shape = sigma_points(features, block)
        return dissimilarity(points, shape).reshape(shape)


def region_features(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """H×W×3 RGB in [0, 1] → (5, H, W): L, a, b and the gradient of L across and down, by hundreds."""
    colours = lab(rgb) / np.float32(100)
    across, down = (
        np.abs(cv2.Sobel(colours[0], cv2.CV_32F, *order, scale=0.25, borderType=cv2.BORDER_REFLECT))
        for order in ((1, 0), (0, 1))
    )
    return np.concatenate([colours, [across, down]]).astype(np.float32)


def sigma_points(features: NDArray[np.float32], block: int) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The mean and the covariance of each block's features, as a vector in which distances are Euclidean.

    With the place within the block as two more features, d = 7, and the Cholesky factor L of the covariance:
    the columns of ±√d·L (eq. 4). Mirrored columns say the same twice and are left out but for a factor √2.

    Args:
        features: (5, H, W), H and W multiples of ``block``.
        block: side of the regions.

    Returns:
        (regions, 5 + 49) float64 and the regions' grid.
    """
    count, height, width = features.shape
    shape = (height // block, width // block)
    within = np.arange(block, dtype=np.float32) / np.float32(block)
    across, down = np.broadcast_to(np.tile(within, shape[1]), (height, width)), np.tile(within, shape[0])
    every = np.stack([*features, across, np.broadcast_to(down[:, None], (height, width))])
    parts = every.reshape(count + 2, shape[0], block, shape[1], block).transpose(1, 3, 2, 4, 0)
    values = parts.reshape(math.prod(shape), block * block, count + 2).astype(np.float64)
    mean = values.mean(axis=1)
    apart = values - mean[:, None]
    covariance = apart.transpose(0, 2, 1) @ apart / (block * block - 1) + _RIDGE * np.eye(count + 2)
    factor = np.linalg.cholesky(covariance) * math.sqrt(2 * (count + 2))
    return np.concatenate([mean[:, :count], factor.reshape(len(factor), -1)], axis=1), shape


def dissimilarity(points: NDArray[np.float64], shape: tuple[int, int]) -> Map:
    """For each region the mean of ‖Ψᵢ − Ψⱼ‖ / (1 + ‖xᵢ − xⱼ‖) over the most similar tenth (eqs. 7 and 8).

    Args:
        points: (regions, n), the Ψ.
        shape: the regions' grid. Distances of places x are fractions of its longer side: in regions, the
            middle of the picture, which has no far regions, would be salient for that alone.

    Returns:
        (regions,) float32 ≥ 0; zero where no two regions differ.
    """
    places = np.stack(np.unravel_index(np.arange(len(points)), shape), axis=1) / max(shape)
    values = _distances(points) / (1 + _distances(places))
    np.fill_diagonal(values, np.inf)
    count = min(max(1, round(SIMILAR * len(points))), len(points) - 1)
    nearest = np.partition(values, count - 1, axis=1)[:, :count]
    mean = nearest.mean(axis=1)
    return np.asarray(mean if mean.max() > _FAINT else np.zeros_like(mean), np.float32)


def _distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances between all rows."""
    length = (points**2).sum(axis=1)
    square = length[:, None] + length - 2 * points @ points.T
    return np.asarray(np.sqrt(np.maximum(square, 0)))
