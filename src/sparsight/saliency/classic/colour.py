"""Colour spaces in which a grey has exactly no colour, so that rounding errors are not taken for hues."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.result import Map

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601: the weights of red, green and blue in luma."""

# IEC 61966-2-1 (sRGB to XYZ), each row divided by its sum, which is the white point.
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_XYZ /= _XYZ.sum(axis=1, keepdims=True)


def luma(rgb: NDArray[np.float32]) -> Map:
    """H×W×3 RGB in [0, 1] → H×W grey in [0, 1], weighted as in ITU-R BT.601."""
    return np.asarray(rgb @ _LUMA, np.float32)


def ycbcr(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """H×W×3 RGB in [0, 1] → (3, H, W): luma in [0, 1], blue and red difference in [−0.5, 0.5] (BT.601)."""
    y = luma(rgb)
    return np.stack([y, (rgb[..., 2] - y) / np.float32(1.772), (rgb[..., 0] - y) / np.float32(1.402)])


def lab(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """H×W×3 sRGB in [0, 1] → (3, H, W) CIE L*a*b*: L in [0, 100], a and b in about ±100 (CIE 15, D65)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _XYZ.T
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]).astype(np.float32)
