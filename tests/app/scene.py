"""A made-up scene whose every box is known: coloured squares on grey, and stand-ins that see them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.media import VideoWriter
from sparsight.track import Detections

SIZE = 160, 120
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 30), "blue": (40, 40, 210)}
Path2 = Callable[[int], "tuple[float, float] | None"]


def squares(frame: int, paths: dict[str, Path2], side: int = 24) -> NDArray[np.uint8]:
    """The picture of frame number ``frame``: each colour at the (x, y) that its path gives, or away."""
    image = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
    for colour, path in paths.items():
        corner = path(frame)
        if corner is not None:
            x, y = (round(value) for value in corner)
            image[y : y + side, x : x + side // 2] = COLOURS[colour]
    return image


def film(path: Path, paths: dict[str, Path2], frames: int, fps: float = 10.0) -> Path:
    """Write the scene as a video."""
    with VideoWriter(path, fps, SIZE) as writer:
        for index in range(frames):
            writer.write(squares(index, paths))
    return path


class ColourDetector:
    """Finds the squares: pixels nearer to their colour than to the background."""

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        boxes = []
        for colour in COLOURS.values():
            near = np.abs(image.astype(int) - colour).sum(axis=2) < 90
            rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
            if len(rows):
                boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        count = len(boxes)
        return Detections(np.array(boxes).reshape(-1, 4), np.full(count, 0.9), np.zeros(count, np.int64))

    def batch(self, images: Any) -> list[Detections]:
        return [self(image) for image in images]


class ColourEmbedder:
    """The mean colour of a box, as a unit vector."""

    name = "colour"
    dimension = 3
    max_distance = 0.05

    def __call__(self, image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        means = [image[int(y0) : int(y1), int(x0) : int(x1)].mean(axis=(0, 1)) for x0, y0, x1, y1 in xyxy]
        vectors = np.array(means, np.float32).reshape(-1, 3)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
