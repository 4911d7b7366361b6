"""How rare values are among those of a picture: histograms and self-information, all maps at once."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.levels import itti_weight, minmax
from sparsight.saliency.result import Map


def bin_of(maps: NDArray[np.float32], bins: int, flat: float = 0.0) -> NDArray[np.int64]:
    """The bin of every value among ``bins`` equal ones between its map's extremes, the last one closed.

    Args:
        maps: (N, ...) values, one map after the other.
        bins: how many.
        flat: a map whose extremes differ by no more than this falls into its first bin whole.

    Returns:
        (N, ...) int64 in [0, bins).
    """
    axes = tuple(range(1, maps.ndim))
    low = maps.min(axis=axes, keepdims=True)
    span = maps.max(axis=axes, keepdims=True) - low
    scale = np.divide(bins, span, out=np.zeros_like(span), where=span > max(flat, 1e-30))
    return np.asarray(np.minimum((maps - low) * scale, bins - 1), np.int64)


def frequencies(codes: NDArray[np.int64], bins: int) -> NDArray[np.float64]:
    """(N, ...) bins → (N, bins): the fraction of each map's values that is in each bin."""
    flat = codes.reshape(len(codes), -1)
    apart = flat + np.arange(len(flat))[:, None] * bins
    counts = np.bincount(apart.ravel(), minlength=len(flat) * bins).reshape(len(flat), bins)
    return counts / flat.shape[1]


def look_up(table: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, bins) values and (N, ...) bins → (N, ...) float32: what each map's own row says of each bin."""
    flat = codes.reshape(len(codes), -1)
    return np.take_along_axis(table.astype(np.float32), flat, axis=1).reshape(codes.shape)


def self_information(maps: NDArray[np.float32], bins: int, flat: float = 0.0) -> NDArray[np.float32]:
    """−ln p of every value, p the fraction of its map's values that share its bin; (N, ...) float32 ≥ 0."""
    codes = bin_of(maps, bins, flat)
    p = frequencies(codes, bins)
    return look_up(-np.log(np.where(p > 0, p, 1.0)), codes)


def multiscale_rarity(
    maps: NDArray[np.float32], bins: int, scales: int, flat: float = 0.0
) -> NDArray[np.float32]:
    """The mean over scales of the self-information of maps that are halved from scale to scale.

    Args:
        maps: (N, H, W).
        bins, flat: see ``self_information``.
        scales: how many, the first being the maps as they are; fewer where a side would be under 4 pixels.

    Returns:
        (N, H, W) float32, each map in [0, 1].
    """
    height, width = maps.shape[1:]
    level = np.moveaxis(maps, 0, -1)
    total = np.zeros((height, width, len(maps)), np.float32)
    for scale in range(scales):
        if scale:
            if min(level.shape[:2]) < 8:
                break
            level = _halved(level)
        rare = np.moveaxis(self_information(np.moveaxis(level, -1, 0), bins, flat), 0, -1)
        total += _layered(rare, (height, width))
    return np.stack([minmax(values) for values in np.moveaxis(total, -1, 0)])


def efficiency_sum(maps: Sequence[Map], threshold: float) -> Map:
    """The sum of maps, each in [0, 1] and weighted by its rank where it is efficient enough.

    With the efficiencies E = (max − mean)² in rising order, E₁ ≤ … ≤ E_N, the i-th map counts i/N, and
    nothing where E_i / E_N < ``threshold`` (Riche et al. 2013, fusion).

    Returns:
        H×W float32 ≥ 0; zero where all maps are.
    """
    efficiency = np.array([itti_weight(values) for values in maps])
    rank = np.empty(len(maps))
    rank[np.argsort(efficiency, kind="stable")] = np.arange(1, len(maps) + 1)
    weight = np.where(efficiency >= threshold * efficiency.max(), rank / len(maps), 0.0)
    return np.asarray(np.tensordot(weight.astype(np.float32), np.stack(list(maps)), axes=1), np.float32)


def _halved(layers: NDArray[np.float32]) -> NDArray[np.float32]:
    """H×W×N → half the size; in groups of channels, because OpenCV takes few at a time."""
    return np.concatenate(
        [np.atleast_3d(cv2.pyrDown(layers[..., i : i + 4])) for i in range(0, layers.shape[2], 4)], axis=2
    )


def _layered(layers: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """H×W×N → ``shape``×N, bilinear."""
    if layers.shape[:2] == shape:
        return layers
    return np.concatenate(
        [
            np.atleast_3d(cv2.resize(np.ascontiguousarray(layers[..., i : i + 4]), shape[::-1]))
            for i in range(0, layers.shape[2], 4)
        ],
        axis=2,
    )
