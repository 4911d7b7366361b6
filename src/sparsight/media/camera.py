"""A camera at this machine, through OpenCV."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.media.images import Image
from sparsight.media.source import Shot


class CameraSource:
    """Camera number ``index`` of this machine."""

    live = True

    def __init__(self, index: int) -> None:
        self.name = f"camera{index}"
        self.frame_count: int | None = None
        self.warning: str | None = None
        self._index = index
        with _quiet():
            try:
                self._camera = cv2.VideoCapture(index)
                opened, picture = self._camera.read() if self._camera.isOpened() else (False, None)
            except (cv2.error, OverflowError):
                opened, picture = False, None
        if not opened or picture is None:
            raise SparsightError(
                f"camera {index} does not open: "
                "check that it is plugged in and that no other program uses it."
            )
        height, width = picture.shape[:2]
        self.size = (int(width), int(height))
        fps = float(self._camera.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= 1000 else None

    def shots(self) -> Iterator[Shot]:
        """Pictures as the camera gives them, timed by this machine's clock, until it gives no more."""
        start = time.monotonic()
        index = 0
        with _quiet():
            while True:
                good, picture = self._camera.read()
                if not good or picture is None:
                    break
                yield Shot(index, time.monotonic() - start, partial(_to_rgb, picture))
                index += 1
        self.warning = f"camera {self._index} stopped after {index} frames: check its cable."

    def close(self) -> None:
        """Give the camera back."""
        self._camera.release()


def _to_rgb(picture: NDArray[Any]) -> Image:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV from chattering on stderr about devices that are not there."""
    logging = cv2.utils.logging
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)
