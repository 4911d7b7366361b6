"""The camera's own motion: the affine map from one frame's pixels to the next one's.

Only the background says how the camera moved, so what lies inside detected boxes is left out. Frames are made
grey and small first: a fraction of the pixels says as much, and people's steps matter less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsight.registry import lookup
from sparsight.track.types import Image

_HEIGHT = 270
"""Pixels to which higher frames are scaled down."""
_POINTS = 400
_FEWEST = 8
"""Points below which a map would be guesswork."""
_EXACT = 1.0
"""Pixels of the small frame by which a point may miss where a map takes it."""
_REST = 0.8
"""A camera at rest is believed if that explains this share of the points that the best map explains."""

Grey = NDArray[np.uint8]


class CameraMotion:
    """Follows the camera from frame to frame.

    Args:
        method: ``flow`` (sparse optical flow of corners, then RANSAC) or ``ecc`` (the alignment with the
            largest enhanced correlation coefficient, Evangelidis and Psarakis, TPAMI 2008; slower, and
            better where there are no corners).

    Raises:
        SparsightError: unknown method.
    """

    def __init__(self, method: str) -> None:
        self._method = lookup("method of camera motion", method, METHODS)
        self._grey: Grey = np.zeros((0, 0), np.uint8)
        self._mask: Grey = self._grey

    def __call__(self, frame: Image, xyxy: NDArray[np.float32]) -> NDArray[np.float64]:
        """Go to the next frame.

        Args:
            frame: H×W×3 uint8 RGB.
            xyxy: (N, 4) what moves in it, to be left out.

        Returns:
            (2, 3) map from pixels of the frame before to pixels of this one; the identity for the first
            frame, for one of another size than that before, and where no motion can be told.
        """
        import cv2

        scale = min(1.0, _HEIGHT / frame.shape[0])
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        before, masks = self._grey, (self._mask, _outside(grey.shape, xyxy * scale))
        self._grey, self._mask = grey, masks[1]
        if before.shape != grey.shape:
            return np.eye(2, 3)
        found = self._method(before, grey, masks)
        if found is None or not np.isfinite(found).all():
            return np.eye(2, 3)
        # A shift of the small frame is a larger one of the frame itself.
        found[:, 2] /= scale
        return found

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The last frame, small and grey, and what of it is background."""
        return {"camera_grey": self._grey, "camera_mask": self._mask}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self._grey, self._mask = (state[name].astype(np.uint8) for name in ("camera_grey", "camera_mask"))


def _outside(shape: tuple[int, ...], xyxy: NDArray[np.float32]) -> Grey:
    """255 where no box is, 0 where one is: by a summed difference, all boxes at once."""
    height, width = shape[:2]
    edges = np.clip(np.rint(xyxy), 0, [width, height, width, height]).astype(np.intp)
    x1, y1, x2, y2 = edges.T
    corners = np.zeros((height + 1, width + 1), np.int32)
    for y, x, sign in ((y1, x1, 1), (y1, x2, -1), (y2, x1, -1), (y2, x2, 1)):
        np.add.at(corners, (y, x), sign)
    covered = corners.cumsum(0).cumsum(1)[:-1, :-1] > 0
    background: Grey = np.where(covered, 0, 255).astype(np.uint8)
    return background


def _flow(before: Grey, now: Grey, masks: tuple[Grey, Grey]) -> NDArray[np.float64] | None:
    """Corners of the background, found again by Lucas and Kanade's optical flow; RANSAC among them."""
    import cv2

    corners = cv2.goodFeaturesToTrack(before, _POINTS, qualityLevel=0.01, minDistance=5, mask=masks[0])
    if corners is None or len(corners) < _FEWEST:
        return None
    moved, ok, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, np.empty_like(corners))
    good = ok.reshape(-1) == 1
    if good.sum() < _FEWEST:
        return None
    start, end = np.asarray(corners)[good], np.asarray(moved)[good]
    found, agree = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=_EXACT)
    if found is None:
        return None
    # Most cameras stand still, and then anything found is people's motion or noise.
    rest = np.linalg.norm((end - start).reshape(-1, 2), axis=1) < _EXACT
    if rest.sum() >= _REST * np.count_nonzero(agree):
        return None
    return np.asarray(found, np.float64)


def _ecc(before: Grey, now: Grey, masks: tuple[Grey, Grey]) -> NDArray[np.float64] | None:
    """The rotation and shift that align the background best, sought from the best shift alone."""
    import cv2

    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    start = np.eye(2, 3, dtype=np.float32)
    start[:, 2] = cv2.phaseCorrelate(before.astype(np.float32), now.astype(np.float32))[0]
    try:
        _, found = cv2.findTransformECC(before, now, start, cv2.MOTION_EUCLIDEAN, stop, masks[1], 5)
    except cv2.error:  # it does not converge on frames without contrast
        return None
    return np.asarray(found, np.float64)


METHODS: dict[str, Callable[[Grey, Grey, tuple[Grey, Grey]], NDArray[np.float64] | None]] = {
    "flow": _flow,
    "ecc": _ecc,
}
"""Name → function of the grey frame before, the grey frame, and masks of both, 255 where background is."""
