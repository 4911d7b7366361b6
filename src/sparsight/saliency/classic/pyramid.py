"""Gaussian pyramids, and the early features of vision on them: intensity, opponent colours, orientations."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.result import Map

ANGLES = (0.0, 45.0, 90.0, 135.0)
"""Orientations in degrees, of the stripes' normal against the horizontal."""

_PERIOD = 7.0
_DIM = 0.1
"""Below this fraction of the brightest place there is no hue, as to the eye in the dark."""


def gaussian_pyramid(values: NDArray[np.float32], levels: int) -> list[NDArray[np.float32]]:
    """``values`` (H×W or H×W×C) and ``levels`` halvings of it, each after a binomial filter of five taps."""
    pyramid = [values]
    for _ in range(levels):
        pyramid.append(np.asarray(cv2.pyrDown(pyramid[-1]), np.float32))
    return pyramid


@functools.cache
def gabor(angle: float, period: float = _PERIOD) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The even and the odd Gabor filter of an angle: no response to constant light, one to its own grating.

    Args:
        angle: of the stripes' normal, in degrees.
        period: of the stripes, in pixels. The deviation of the envelope is a third of it.

    Returns:
        Two k×k float32 filters, k odd.
    """
    reach = round(period)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    turned = np.deg2rad(angle)
    phase = (x * np.cos(turned) + y * np.sin(turned)) * 2 * np.pi / period
    envelope = np.exp(-(x**2 + y**2) / (2 * (period / 3) ** 2))
    even, odd = envelope * np.cos(phase), envelope * np.sin(phase)
    even -= envelope * even.sum() / envelope.sum()
    scale = 2 / (even * np.cos(phase)).sum()
    return (even * scale / 2).astype(np.float32), (odd * scale / 2).astype(np.float32)


def orientation_energy(values: Map, angle: float, period: float = _PERIOD) -> Map:
    """Amplitude of the stripes of one orientation at each place, whatever their phase; H×W float32 ≥ 0."""
    even, odd = (
        cv2.filter2D(values, cv2.CV_32F, part, borderType=cv2.BORDER_REFLECT) for part in gabor(angle, period)
    )
    return np.asarray(cv2.magnitude(even, odd), np.float32)


@dataclass(frozen=True)
class EarlyFeatures:
    """Pyramids of the early features, finest level first.

    Attributes:
        intensity: mean of red, green and blue.
        red_green, blue_yellow: opponent colours, positive and negative, free of brightness.
        orientation: one pyramid of ``orientation_energy`` for each of ``ANGLES``; too fine a level is empty.
    """

    intensity: list[Map]
    red_green: list[Map]
    blue_yellow: list[Map]
    orientation: list[list[Map]]


def early_features(rgb: NDArray[np.float32], levels: int, finest: int) -> EarlyFeatures:
    """The features of Itti, Koch and Niebur (1998, eqs. 1 to 3 and the text around them).

    Args:
        rgb: H×W×3 in [0, 1].
        levels: halvings.
        finest: the first level whose orientations are computed.

    Returns:
        Pyramids of ``levels`` + 1 maps.
    """
    intensity = rgb.mean(axis=2)
    lit = intensity > _DIM * intensity.max()
    r, g, b = (np.divide(rgb[..., i], intensity, out=np.zeros_like(intensity), where=lit) for i in range(3))
    red, green, blue = (np.maximum(own - (r + g + b - own) / 2, 0) for own in (r, g, b))
    yellow = np.maximum((r + g) / 2 - np.abs(r - g) / 2 - b, 0)
    grey = gaussian_pyramid(intensity, levels)
    none = np.zeros((0, 0), np.float32)
    return EarlyFeatures(
        grey,
        gaussian_pyramid(red - green, levels),
        gaussian_pyramid(blue - yellow, levels),
        [
            [orientation_energy(level, angle) if i >= finest else none for i, level in enumerate(grey)]
            for angle in ANGLES
        ],
    )
