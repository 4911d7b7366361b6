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
    """Where an image lies in a network's input.

    Attributes:
        scale: input pixels per image pixel, (x, y).
        corner: where the image's top left corner is, (x, y) in pixels of the input.
    """

    scale: tuple[float, float]
    corner: tuple[float, float] = (0.0, 0.0)

    def to_image(self, xyxy: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Boxes (N, 4) in pixels of the input, as boxes in pixels of the image."""
        placed = (xyxy - np.array(self.corner * 2)) / np.array(self.scale * 2)
        on_image: NDArray[np.float32] = placed.astype(np.float32)
        return on_image


def stretch(image: Image, height: int, width: int) -> tuple[Image, Placement]:
    """The whole image as (height, width, 3), its aspect ratio not kept."""
    rows, columns = image.shape[:2]
    return _resize(image, height, width), Placement((width / columns, height / rows))


def letterbox(
    image: Image, height: int, width: int, fill: int, *, centred: bool = False
) -> tuple[Image, Placement]:
    """The whole image within (height, width, 3), its aspect ratio kept, the rest ``fill``.

    It lies at the top left, or, ``centred``, in the middle.
    """
    rows, columns = image.shape[:2]
    scale = min(height / rows, width / columns)
    # A very long or high image would otherwise shrink to no pixels at all.
    inner = (max(1, int(rows * scale)), max(1, int(columns * scale)))
    canvas = np.full((height, width, 3), fill, np.uint8)
    top, left = ((height - inner[0]) // 2, (width - inner[1]) // 2) if centred else (0, 0)
    canvas[top : top + inner[0], left : left + inner[1]] = _resize(image, *inner)
    return canvas, Placement((inner[1] / columns, inner[0] / rows), (left, top))


def _resize(image: Image, height: int, width: int) -> Image:
    resized: Image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return resized


def channels_first(image: Image, scale: float = 1.0, shift: float = 0.0) -> NDArray[np.float32]:
    """(H, W, 3) uint8 → (3, H, W) float32, each value times ``scale`` plus ``shift``."""
    x = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    x *= np.float32(scale)
    x += np.float32(shift)
    return x
