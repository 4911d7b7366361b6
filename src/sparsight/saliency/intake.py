"""What every saliency model takes, and that its map is not below zero."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.saliency.result import Map


def check_image(image: NDArray[np.uint8]) -> None:
    """Refuse what is not an image of H×W×3 uint8 with at least one pixel.

    Raises:
        SparsightError: it is not.
    """
    fits = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3
    if not fits or image.dtype != np.uint8 or image.size == 0:
        given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise SparsightError(f"saliency takes an image of H×W×3 uint8 (RGB), not {given}.")


def stretched(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``image`` at the input size (height, width) of a network, its shape not kept; smooth either way.

    Raises:
        SparsightError: ``image`` is no image.
    """
    check_image(image)
    height, width = size
    smaller = image.shape[0] >= height and image.shape[1] >= width
    kind = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=kind), np.uint8)


def lifted(values: Map) -> Map:
    """``values`` as they are, or less their minimum where that is below zero."""
    low = values.min()
    return values - low if low < 0 else values
