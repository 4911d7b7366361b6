"""Putting maps together."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sparsight.saliency.result import Map

_TINY = np.float32(1e-30)


def minmax(values: Map) -> Map:
    """``values`` stretched to [0, 1]; a constant map becomes zero."""
    low, high = values.min(), values.max()
    if not high > low:
        return np.zeros_like(values)
    scaled: Map = (values - low) / (high - low)
    return scaled


def itti_weight(scaled: Map) -> float:
    """(max − mean)² of a map in [0, 1]: near one where a few places stand out, near zero where all do.

    After the normalisation of L. Itti, C. Koch and E. Niebur, "A Model of Saliency-Based Visual Attention for
    Rapid Scene Analysis" (1998), with the mean of all pixels in the place of the mean of the other maxima.
    """
    return float(scaled.max() - scaled.mean()) ** 2


def weighted_sum(maps: Sequence[Map], weights: Sequence[float]) -> Map:
    """The sum of maps of one size, each times its weight, stretched to [0, 1]."""
    total = np.zeros_like(maps[0])
    for values, weight in zip(maps, weights, strict=True):
        total += np.float32(weight) * values
    return minmax(total)


def itti_sum(maps: Map, threshold: float = 0.0) -> tuple[Map, list[float]]:
    """The sum of ``maps`` (N, H, W), each scaled to [0, 1], zeroed below ``threshold`` and weighted.

    Returns:
        The sum, stretched to [0, 1]; the ``itti_weight`` of each map.
    """
    flat = maps.reshape(len(maps), -1)
    low = flat.min(axis=1, keepdims=True)
    span = flat.max(axis=1, keepdims=True) - low
    scaled = flat - low
    scaled /= np.maximum(span, _TINY)
    if threshold:
        scaled *= scaled >= threshold
    highest = span[:, 0] > 0  # one, or zero of a constant map
    weights = (highest - scaled.sum(axis=1) / np.float32(flat.shape[1])) ** 2
    return minmax((weights @ scaled).reshape(maps.shape[1:])), weights.tolist()


def resize(values: Map, shape: tuple[int, ...]) -> Map:
    """``values`` on a grid of ``shape`` (height, width) over the same picture; bilinear, so within range."""
    if values.shape == shape:
        return values
    height, width = shape
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
