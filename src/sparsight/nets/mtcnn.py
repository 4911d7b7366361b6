"""MTCNN, the three small networks that find faces one after the other, and the detector made of them.

Source: Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks" (IEEE Signal Processing Letters 2016, arXiv 1604.02878). Parameter names and shapes are
facenet-pytorch's, so that its published files load strictly.

Inputs: RGB, (pixel − 127.5) / 128.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.nets.runtime import Session

CELL = 12
"""Side of the window that the proposal network looks at, in pixels."""

STRIDE = 2
"""Distance of neighbouring windows."""


class ProposalNet(nn.Module):
    """(N, 3, H, W) → the probability of a face (N, 1, H', W') and its box (N, 4, H', W') in each window.

    A box is left, top, right and bottom, as fractions of the window's side from the window's own.
    """

    input_shape = (3, CELL, CELL)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 10, 3)
        self.prelu1 = nn.PReLU(10)
        self.pool1 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(10, 16, 3)
        self.prelu2 = nn.PReLU(16)
        self.conv3 = nn.Conv2d(16, 32, 3)
        self.prelu3 = nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See the class; outputs ``"face"`` and ``"box"``."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return {"face": self.conv4_1(x).softmax(dim=1)[:, 1:], "box": self.conv4_2(x)}


class RefinementNet(nn.Module):
    """(N, 3, 24, 24) → the probability of a face (N, 1) and its box (N, 4), as in ``ProposalNet``."""

    input_shape = (3, 24, 24)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 28, 3)
        self.prelu1 = nn.PReLU(28)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(28, 48, 3)
        self.prelu2 = nn.PReLU(48)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(48, 64, 2)
        self.prelu3 = nn.PReLU(64)
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See the class; outputs ``"face"`` and ``"box"``."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(_flat(x)))
        return {"face": self.dense5_1(x).softmax(dim=1)[:, 1:], "box": self.dense5_2(x)}


class OutputNet(nn.Module):
    """(N, 3, 48, 48) → the probability of a face (N, 1), its box (N, 4) and five landmarks (N, 10).

    Landmarks are the x, then the y, of left eye, right eye, nose and the corners of the mouth, as fractions
    of the window.
    """

    input_shape = (3, 48, 48)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.prelu1 = nn.PReLU(32)
        self.pool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.prelu2 = nn.PReLU(64)
        self.pool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.prelu3 = nn.PReLU(64)
        self.pool3 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.conv4 = nn.Conv2d(64, 128, 2)
        self.prelu4 = nn.PReLU(128)
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See the class; outputs ``"face"``, ``"box"`` and ``"landmarks"``."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu5(self.dense5(_flat(self.prelu4(self.conv4(x)))))
        return {
            "face": self.dense6_1(x).softmax(dim=1)[:, 1:],
            "box": self.dense6_2(x),
            "landmarks": self.dense6_3(x),
        }


def _flat(x: Tensor) -> Tensor:
    # The published weights come from a program that stores pictures column by column.
    return x.permute(0, 3, 2, 1).flatten(1)


def mtcnn_pnet() -> ProposalNet:
    """The proposal network: 6,632 parameters."""
    return ProposalNet()


def mtcnn_rnet() -> RefinementNet:
    """The refinement network: 100,178 parameters."""
    return RefinementNet()


def mtcnn_onet() -> OutputNet:
    """The output network: 389,040 parameters."""
    return OutputNet()


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces in a picture, by falling score.

    Attributes:
        xyxy: (N, 4) float32, pixels; may reach beyond the picture.
        score: (N,) float32 in [0, 1].
        landmarks: (N, 5, 2) float32 (x, y) in pixels: eyes, nose, corners of the mouth, each pair from the
            picture's left to its right.
    """

    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    landmarks: NDArray[np.float32]


class FaceDetector:
    """A picture (H×W×3 uint8 RGB) → ``Faces``.

    Args:
        min_size: side of the smallest face to look for, in pixels.
        thresholds: probabilities from which the three networks let a window pass.
        factor: ratio of the sizes of neighbouring pictures in the pyramid, in (0, 1).
        device: as for ``sparsight.nets.Session``.

    Raises:
        SparsightError: an option out of its range, or weights that cannot be had.
    """

    def __init__(
        self,
        *,
        min_size: int = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        device: str = "auto",
    ) -> None:
        if min_size < CELL:
            raise SparsightError(f"faces of min_size={min_size} are too small: give at least {CELL} pixels.")
        if not 0 < factor < 1:
            raise SparsightError(
                f"the pyramid of faces cannot have factor={factor}: give one between 0 and 1."
            )
        self.min_size, self.thresholds, self.factor = min_size, thresholds, factor
        self._proposal = _session(mtcnn_pnet, "mtcnn_pnet", device, dynamic_size=True)
        self._refinement = _session(mtcnn_rnet, "mtcnn_rnet", device)
        self._output = _session(mtcnn_onet, "mtcnn_onet", device)

    def __call__(self, image: NDArray[np.uint8]) -> Faces:
        """The faces of ``image``."""
        xyxy, score = self._propose(image)
        xyxy = _squared(xyxy)
        given, score, kept = self._judge(self._refinement, image, xyxy, self.thresholds[1])
        xyxy = _moved(xyxy[kept], given["box"])
        best = _nms(xyxy, score, 0.7)
        xyxy = _squared(xyxy[best])
        given, score, kept = self._judge(self._output, image, xyxy, self.thresholds[2])
        window = xyxy[kept]
        x, y = given["landmarks"].reshape(-1, 2, 5).transpose(1, 0, 2)
        corner, side = window[:, None, :2], (window[:, 2:] - window[:, :2])[:, None]
        landmarks = corner + np.stack([x, y], axis=2) * side
        xyxy = _moved(window, given["box"])
        best = _nms(xyxy, score, 0.7, of_smaller=True)
        return Faces(xyxy[best], score[best], landmarks[best].astype(np.float32))

    def _propose(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Windows of all sizes that may hold a face, and how probably."""
        found = [np.zeros((0, 5), np.float32)]
        scale = CELL / self.min_size
        while min(image.shape[:2]) * scale >= CELL:
            size = (int(np.ceil(image.shape[1] * scale)), int(np.ceil(image.shape[0] * scale)))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            outputs = self._proposal.run(_network_input(small)[None])
            face, box = outputs["face"][0, 0], outputs["box"][0]
            row, column = np.nonzero(face >= self.thresholds[0])
            corner = np.stack([column, row], axis=1) * STRIDE
            window = np.concatenate([corner, corner + CELL], axis=1).astype(np.float32)
            ratio = np.tile(np.array(image.shape[1::-1]) / size, 2).astype(np.float32)
            moved = _moved(window, box[:, row, column].T) * ratio
            score = face[row, column]
            best = _nms(moved, score, 0.5)
            found.append(np.column_stack([moved, score])[best])
            scale *= self.factor
        every = np.concatenate(found).astype(np.float32)
        every = every[_nms(every[:, :4], every[:, 4], 0.7)]
        return every[:, :4], every[:, 4]

    def _judge(
        self, session: Session, image: NDArray[np.uint8], xyxy: NDArray[np.float32], threshold: float
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32], NDArray[np.intp]]:
        """What a network says of the windows that it lets pass: its outputs, their scores and rows."""
        if len(xyxy) == 0:
            shapes = {"box": 4, "landmarks": 10}
            nothing = {name: np.zeros((0, width), np.float32) for name, width in shapes.items()}
            return nothing, np.zeros(0, np.float32), np.zeros(0, np.intp)
        outputs = session.run(_crops(image, xyxy, session.input_shape[1]))
        score = outputs["face"][:, 0]
        kept = np.nonzero(score >= threshold)[0]
        return {name: values[kept] for name, values in outputs.items()}, score[kept], kept


def _session(
    constructor: Callable[[], nn.Module], asset: str, device: str, *, dynamic_size: bool = False
) -> Session:
    from sparsight.nets.weights import load_into

    network = constructor().eval()
    load_into(network, asset)
    return Session(network, device, dynamic_size=dynamic_size)


def _network_input(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """(..., H, W, 3) pixels → (..., 3, H, W) as the networks take them."""
    scaled = (image.astype(np.float32) - np.float32(127.5)) / np.float32(128)
    return np.ascontiguousarray(np.moveaxis(scaled, -1, -3))


def _moved(window: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Windows with their sides moved by ``box``, in fractions of the windows' sides."""
    side = np.tile(window[:, 2:] - window[:, :2], 2)
    return np.asarray(window + box * side, np.float32)


def _squared(xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes made square around their centres, by their longer sides."""
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    half = (xyxy[:, 2:] - xyxy[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _crops(image: NDArray[np.uint8], xyxy: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """What is in each box, as the networks take it, (N, 3, side, side); black outside the picture.

    Each pixel is the mean over its part of the box, to whole pixels: from sums over rectangles, all at once.
    """
    height, width = image.shape[:2]
    total = cv2.integral(image, sdepth=cv2.CV_64F)
    low, high = np.floor(xyxy[:, :2]), np.maximum(np.ceil(xyxy[:, 2:]), np.floor(xyxy[:, :2]) + 1)
    steps = np.arange(side)
    extent = (high - low)[:, :, None]
    begin = np.floor(low[:, :, None] + extent * steps / side).astype(np.int64)
    end = np.ceil(low[:, :, None] + extent * (steps + 1) / side).astype(np.int64)
    area = (end - begin)[:, 1, :, None] * (end - begin)[:, 0, None, :]
    limit = np.array([width, height])[:, None]
    begin, end = np.clip(begin, 0, limit), np.clip(end, 0, limit)
    (left, top), (right, bottom) = begin.transpose(1, 0, 2), end.transpose(1, 0, 2)

    def at(y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(total[y[:, :, None], x[:, None, :]])

    sums = at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left)
    return _network_input(sums / area[..., None])


def _nms(
    xyxy: NDArray[np.float32], score: NDArray[np.float32], threshold: float, *, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Rows to keep, by falling score: those that no better one overlaps by more than ``threshold``.

    The overlap is that over the union; ``of_smaller`` is that over the smaller box, where a box goes even if
    the better one goes too.
    """
    if len(xyxy) == 0:
        return np.zeros(0, np.intp)
    if not of_smaller:
        boxes = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1).astype(np.float64)
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), score.astype(float).tolist(), 0.0, threshold)
        return np.asarray(kept, np.intp).reshape(-1)
    order = np.argsort(-score, kind="stable")
    ranked = xyxy[order]
    sides = np.minimum(ranked[:, None, 2:], ranked[:, 2:]) - np.maximum(ranked[:, None, :2], ranked[:, :2])
    shared = np.maximum(sides, 0).prod(axis=2)
    area = (ranked[:, 2:] - ranked[:, :2]).prod(axis=1)
    over = shared > threshold * np.minimum(area[:, None], area)
    return np.asarray(order[~np.triu(over, 1).any(axis=0)], np.intp)
