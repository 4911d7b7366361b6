"""Fitting images of any size to a network's input, and boxes back to the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.track.types import Image


@dataclass(frozen=True)
class Placement:
    """Where an image lies in a network's input: at its top left corner, scaled.

    Attributes:
        scale: input pixels per image pixel, (x, y).
    """

    scale: tuple[float, float]

    def to_image(self, xyxy: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Boxes (N, 4) in pixels of the input, as boxes in pixels of the image."""
        scaled: NDArray[np.float32] = (xyxy / np.array(self.scale * 2)).astype(np.float32)
        return scaled


def stretch(image: Image, height: int, width: int) -> tuple[Image, Placement]:
    """The whole image as (height, width, 3), its aspect ratio not kept."""
    rows, columns = image.shape[:2]
    return _resize(image, height, width), Placement((width / columns, height / rows))


def letterbox(image: Image, height: int, width: int, fill: int) -> tuple[Image, Placement]:
    """The whole image at the top left of (height, width, 3), its aspect ratio kept, the rest ``fill``."""
    rows, columns = image.shape[:2]
    scale = min(height / rows, width / columns)
    # A very long or high image would otherwise shrink to no pixels at all.
    inner = (max(1, int(rows * scale)), max(1, int(columns * scale)))
    canvas = np.full((height, width, 3), fill, np.uint8)
    canvas[: inner[0], : inner[1]] = _resize(image, *inner)
    return canvas, Placement((inner[1] / columns, inner[0] / rows))


def _resize(image: Image, height: int, width: int) -> Image:
    resized: Image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return resized


def channels_first(image: Image, scale: float = 1.0, shift: float = 0.0) -> NDArray[np.float32]:
    """(H, W, 3) uint8 → (3, H, W) float32, each value times ``scale`` plus ``shift``."""
    x = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    x *= np.float32(scale)
    x += np.float32(shift)
    return x
