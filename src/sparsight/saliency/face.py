"""Faces: wherever there is one, people look at it, whatever else is in the picture.

After M. Cerf, J. Harel, W. Einhäuser and C. Koch, "Predicting human gaze using low-level saliency combined
with face detection" (NIPS 2007). The faces are found by MTCNN (``sparsight.nets.mtcnn``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsight.saliency.classic.working import check_positive
from sparsight.saliency.intake import check_image
from sparsight.saliency.result import Map, SaliencyResult


class Face:
    """An image (H×W×3 uint8 RGB) → a Gaussian on each face, as high as the face is certain.

    An image without faces gets a map of zeros.

    Args:
        min_size: side of the smallest face to look for, in pixels of the picture, at least 12.
        sigma: deviation of a Gaussian, as a fraction of the face's width and of its height.
        device: as for ``sparsight.nets.Session``.

    Raises:
        SparsightError: an option out of its range, or weights that cannot be had.
    """

    def __init__(self, *, min_size: int = 20, sigma: float = 0.4, device: str = "auto") -> None:
        from sparsight.nets.mtcnn import FaceDetector

        check_positive("face", sigma=sigma)
        self.sigma = sigma
        self._detect = FaceDetector(min_size=min_size, device=device)

    def __call__(self, image: NDArray[np.uint8]) -> SaliencyResult:
        """The map of ``image``; errors as for every model."""
        check_image(image)
        faces = self._detect(image)
        return SaliencyResult(face_map(faces.xyxy, faces.score, image.shape[:2], self.sigma))


def face_map(
    xyxy: NDArray[np.float32], score: NDArray[np.float32], shape: tuple[int, int], sigma: float
) -> Map:
    """The highest of the faces' Gaussians at each place, scaled so that the best face is 1.

    Args:
        xyxy: (N, 4) boxes in pixels.
        score: (N,), how high each Gaussian is.
        shape: height and width.
        sigma: see ``Face``.

    Returns:
        H×W float32 in [0, 1]; zero if there is no face.
    """
    if len(xyxy) == 0:
        return np.zeros(shape, np.float32)
    centre, side = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
    across, down = (
        np.exp(-(((np.arange(n) + 0.5 - centre[:, i, None]) / (sigma * side[:, i, None])) ** 2) / 2)
        for i, n in ((0, shape[1]), (1, shape[0]))
    )
    values = np.einsum("n,nh,nw->nhw", score, down, across).max(axis=0)
    return np.asarray(values / values.max(), np.float32)
