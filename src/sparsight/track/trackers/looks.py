"""Appearance in association: vectors of detections and of tracks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.types import Detections

Vectors = NDArray[np.float32]


def looks_of(detections: Detections, known: int) -> Vectors:
    """The appearance of each detection, of length one: (M, D); a row of zeros where it is not known.

    Args:
        detections: the frame's, with ``embedding`` or without.
        known: D of earlier frames, 0 if none had any.

    Raises:
        SparsightError: vectors that are not finite, or are not as long as those before.
    """
    vectors = detections.embedding
    if vectors is None or not len(detections):
        return np.zeros((len(detections), known), np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise SparsightError(f"the embedding of detection {row} is not finite: leave it out or mend it.")
    if known and vectors.shape[1] != known:
        raise SparsightError(
            f"the embeddings have {vectors.shape[1]} numbers, but those before had {known}: use one embedder "
            "throughout, or call reset() first."
        )
    return unit(vectors)


def unit(vectors: Vectors) -> Vectors:
    """Rows (..., D) scaled to length one; a row of zeros stays."""
    length = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))[..., None]
    scaled: Vectors = vectors / np.maximum(length, np.float32(1e-12))
    return scaled


def given(vectors: Vectors) -> NDArray[np.bool_]:
    """Which rows (..., D) are there at all: (...)."""
    flags: NDArray[np.bool_] = (vectors != 0).any(axis=-1)
    return flags
