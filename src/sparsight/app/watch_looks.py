"""Appearance of the people in one frame, made once for all who ask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.track import Embedder
from sparsight.track.types import Image


class Once:
    """An embedder that embeds no box of a frame twice; what :meth:`begin` was told, it does not embed at all.

    Attributes:
        name, dimension, max_distance: the embedder's.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.name, self.dimension = embedder.name, embedder.dimension
        self.max_distance = embedder.max_distance
        self._embedder = embedder
        self.begin()

    def begin(
        self, xyxy: NDArray[np.float32] | None = None, vectors: NDArray[np.float32] | None = None
    ) -> None:
        """The next frame.

        Args:
            xyxy: (N, 4) boxes in it whose vectors are known.
            vectors: (N, dimension) those vectors; None for none.
        """
        if xyxy is None or vectors is None:
            xyxy, vectors = np.zeros((0, 4), np.float32), np.zeros((0, self.dimension), np.float32)
        self._xyxy: NDArray[np.float32] = xyxy
        self._vectors: NDArray[np.float32] = vectors

    def __call__(self, image: Image, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """As :class:`sparsight.track.embed.Embedder`; ``image`` is that of the frame."""
        same = (xyxy[:, None] == self._xyxy).all(axis=2)
        new = ~same.any(axis=1)
        if new.any():
            self._xyxy = np.concatenate([self._xyxy, xyxy[new]])
            self._vectors = np.concatenate([self._vectors, self._embedder(image, xyxy[new])])
            same = (xyxy[:, None] == self._xyxy).all(axis=2)
        if not len(xyxy):
            return np.zeros((0, self.dimension), np.float32)
        vectors: NDArray[np.float32] = self._vectors[same.argmax(axis=1)]
        return vectors
