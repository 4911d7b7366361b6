"""Small films made with FFmpeg directly, so that reader and writer are not checked against each other."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def numbered(count: int, size: tuple[int, int] = (64, 48)) -> list[NDArray[np.uint8]]:
    """Flat grey frames whose brightness is 8 times their number, modulo 256."""
    return [np.full((size[1], size[0], 3), 8 * index % 256, np.uint8) for index in range(count)]


def number(image: NDArray[np.uint8]) -> int:
    """Which of the ``numbered`` frames this is (modulo 32)."""
    return round(float(image.mean()) / 8) % 32


def make_film(
    path: Path,
    frames: list[NDArray[np.uint8]],
    *,
    fps: int = 10,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: list[float] | None = None,
    rotation: int = 0,
    **options: Any,
) -> Path:
    """Encode ``frames``; ``times`` in seconds, by default every 1/fps."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", **options) as container:
        stream: Any = container.add_stream(codec, rate=fps, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        ticks = fps if path.suffix == ".avi" else 1000  # AVI counts in frames
        stream.codec_context.time_base = Fraction(1, ticks)
        if rotation:
            stream.set_display_rotation(rotation)
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = round(1000 * (index / fps if times is None else times[index]))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
