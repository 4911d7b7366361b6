"""What every saliency model takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError


def check_image(image: NDArray[np.uint8]) -> None:
    """Refuse what is not an image of H×W×3 uint8 with at least one pixel.

    Raises:
        SparsightError: it is not.
    """
    fits = isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3
    if not fits or image.dtype != np.uint8 or image.size == 0:
        given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise SparsightError(f"saliency takes an image of H×W×3 uint8 (RGB), not {given}.")
