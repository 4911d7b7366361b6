"""Into a model and out of it: the picture at the size that the model works at, the map at the picture's."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.intake import check_image
from sparsight.saliency.levels import minmax, resize
from sparsight.saliency.result import Map

_FLAT = 1e-5
"""A map whose values differ by less than this fraction of the largest holds rounding errors only."""


def check_positive(model: str, **options: float) -> None:
    """Refuse options that must be positive and are not.

    Raises:
        SparsightError: names ``model`` and the first such option.
    """
    for name, value in options.items():
        if not value > 0:
            raise SparsightError(f"{model} cannot have {name}={value}: give a number above zero.")


def scaled(image: NDArray[np.uint8], *, width: int | None = None, side: int | None = None) -> Map:
    """``image`` in [0, 1] at a working size, its shape kept; an area mean, so nothing aliases.

    Args:
        image: H×W×3 uint8.
        width: width of the outcome, or
        side: length of its longer side.

    Returns:
        H'×W'×3 float32 in [0, 1].

    Raises:
        SparsightError: ``image`` is no image.
    """
    check_image(image)
    height, across = image.shape[:2]
    ratio = width / across if width is not None else (side or max(height, across)) / max(height, across)
    size = (max(1, round(across * ratio)), max(1, round(height * ratio)))
    kind = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    values = cv2.resize(image.astype(np.float32), size, interpolation=kind)
    # In steps of 1/256 of a grey level: models that see any contrast must not see that of rounding errors.
    return np.asarray(np.round(values * 256) / np.float32(255 * 256), np.float32)


def blurred(values: NDArray[Any], sigma: float) -> Map:
    """``values`` through a Gaussian of ``sigma`` pixels, mirrored at the borders; float32."""
    plain = np.ascontiguousarray(values, np.float32)
    if not sigma > 0:
        return plain
    return np.asarray(cv2.GaussianBlur(plain, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.float32)


def finished(values: NDArray[Any], image: NDArray[np.uint8]) -> Map:
    """``values`` at the size of ``image``, scaled to [0, 1]; zero where they are flat."""
    low, high = float(values.min()), float(values.max())
    if not high - low > _FLAT * max(abs(low), abs(high)):
        return np.zeros(image.shape[:2], np.float32)
    return minmax(resize(np.ascontiguousarray(values, np.float32), image.shape[:2]))
