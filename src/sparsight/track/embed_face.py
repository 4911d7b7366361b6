"""The embedder of faces: found, aligned, embedded.

Sources: Schroff et al., "FaceNet", CVPR 2015 (arXiv 1503.03832) for the embedding; Zhang et al., "Joint Face
Detection and Alignment", 2016 (arXiv 1604.02878) for the faces.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsight.errors import SparsightError
from sparsight.track.embed import inside, unit
from sparsight.track.types import Image

if TYPE_CHECKING:
    from sparsight.nets import Session
    from sparsight.nets.mtcnn import FaceDetector, Faces

SIDE = 160
"""Side of a face as the network takes it, in pixels."""

FACE = 146
"""Pixels of it that the box of the face takes, as in the evaluation of the published weights."""

_BATCH = 64
_HEAD = 0.1  # how far below the upper edge of a person, in heights, the middle of the face lies
_FAR = 1e6  # worse than any distance, in widths


class FaceEmbedder:
    """The face in each box, turned upright, through the network; zeros where no face is seen.

    Faces are looked for once in the part of the image that holds boxes, and each goes to at most one box: one
    that its middle lies in, so that the distances from where heads are add up to least.

    Args:
        session: takes (N, 3, 160, 160) float32, (pixel − 127.5) / 128; gives (N, D).
        faces: what finds them.
        name, max_distance: as in :class:`sparsight.track.embed.Embedder`.

    Raises:
        SparsightError: the network takes or gives something else.
    """

    def __init__(self, session: Session, faces: FaceDetector, name: str, max_distance: float) -> None:
        self.name = name
        self.max_distance = max_distance
        self._session, self._faces = session, faces
        if session.input_shape != (3, SIDE, SIDE):
            raise SparsightError(f"{name} takes samples of {session.input_shape}: faces are (3, 160, 160).")
        self.dimension: int = session(np.zeros((1, 3, SIDE, SIDE), np.float32)).shape[1]

    def __call__(self, image: Image, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """As :meth:`sparsight.track.embed.Embedder.__call__`."""
        rows = np.zeros((len(xyxy), self.dimension), np.float32)
        if not len(xyxy):
            return rows
        boxes = inside(image, xyxy)
        left, top = boxes[:, :2].min(axis=0)
        right, bottom = boxes[:, 2:].max(axis=0)
        part = np.ascontiguousarray(image[top:bottom, left:right])
        found = self._faces(part)
        whose = owners(found, boxes - np.array([left, top, left, top]))
        faces = np.flatnonzero(whose >= 0)
        pixels = (aligned(part, found, faces).astype(np.float32) - 127.5) / 128
        batch = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        for start in range(0, len(faces), _BATCH):
            chosen = slice(start, start + _BATCH)
            rows[whose[faces[chosen]]] = self._session(batch[chosen])
        if not np.isfinite(rows).all():
            raise SparsightError(f"the network {self.name} gives numbers that are not finite: use another.")
        return unit(rows)


def owners(faces: Faces, xyxy: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the boxes (N, 4) of people each face belongs to, (F,), -1 for none; one to one."""
    from scipy.optimize import linear_sum_assignment

    middle = (faces.xyxy[:, :2] + faces.xyxy[:, 2:]) / 2
    low, high = xyxy[:, :2], xyxy[:, 2:]
    within: NDArray[np.bool_] = np.all((middle[:, None] >= low) & (middle[:, None] < high), axis=2)
    size = high - low
    head = np.stack([low[:, 0] + size[:, 0] / 2, low[:, 1] + _HEAD * size[:, 1]], axis=1)
    away = np.linalg.norm(middle[:, None] - head, axis=2) / size[:, 0]
    whose = np.full(len(middle), -1, np.int64)
    rows, columns = linear_sum_assignment(np.where(within, away, _FAR))
    good = within[rows, columns]
    whose[rows[good]] = columns[good]
    return whose


def aligned(image: Image, faces: Faces, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Faces cut out so that the eyes are level, (M, 160, 160, 3) uint8.

    The box of the face takes the middle 146 pixels both ways, after a turn about its middle by the angle of
    the line through the eyes: what the network was trained on, less the tilt of the head.
    """
    import cv2

    out = np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
    for row, face in zip(rows.tolist(), out, strict=True):
        x1, y1, x2, y2 = faces.xyxy[row].tolist()
        (left_x, left_y), (right_x, right_y) = faces.landmarks[row, :2].tolist()
        width, height = max(x2 - x1, 1.0), max(y2 - y1, 1.0)
        length = max(float(np.hypot(right_x - left_x, right_y - left_y)), 1e-6)
        cosine, sine = (right_x - left_x) / length, (right_y - left_y) / length
        # Where it shrinks, more pixels first and their means then: sampling alone would leave some out.
        finer = max(1, int(min(width, height) // FACE))
        across, down = FACE * finer / width, FACE * finer / height
        turn = np.array([[across * cosine, across * sine], [-down * sine, down * cosine]])
        shift = SIDE * finer / 2 - 0.5 - turn @ [(x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5]
        fine = cv2.warpAffine(image, np.column_stack([turn, shift]), (SIDE * finer, SIDE * finer))
        face[:] = cv2.resize(fine, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return out


def facenet(device: str, file: str = "") -> FaceEmbedder:
    """MTCNN and Inception-ResNet-v1 trained on VGGFace2; ``file``: other weights for it.

    Two faces of one person lie within 0.55 to 0.62 (the paper's thresholds of 1.1 to 1.24 on the squared
    Euclidean distance of two faces); 0.4 asks for more, because a gallery compares with many.
    """
    from sparsight.nets import Session, build
    from sparsight.nets.mtcnn import FaceDetector
    from sparsight.nets.weights import find
    from sparsight.track.embed_networks import named, trained_classes

    path = find(Path(file) if file else "facenet_vggface2")
    network = build("inception_resnet_v1", weights=path, num_classes=trained_classes(path, "logits"))
    return FaceEmbedder(
        Session(network, device), FaceDetector(device=device), named("facenet", path), max_distance=0.4
    )
