"""The embedder of faces: which face is whose, how it is turned upright, and generated weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.nets import Session, build
from sparsight.nets import mtcnn as mtcnn_module
from sparsight.nets.mtcnn import Faces
from sparsight.track.embed import build_embedder
from sparsight.track.embed_face import FACE, SIDE, FaceEmbedder, aligned, owners

EYES = np.array([[0.32, 0.4], [0.68, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


def faces(*boxes: tuple[float, float, float, float], angle: float = 0.0) -> Faces:
    """Faces in ``boxes``, their landmarks turned by ``angle`` radians about the middle."""
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    centre, size = (xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    landmarks = centre[:, None] + ((EYES - 0.5) * size[:, None]) @ turn.T
    return Faces(xyxy, np.ones(len(xyxy), np.float32), landmarks.astype(np.float32))


class Finder:
    """Finds the same faces in whatever part of the picture it is shown."""

    def __init__(self, found: Faces) -> None:
        self.found = found
        self.shown: list[tuple[int, ...]] = []

    def __call__(self, image: NDArray[np.uint8]) -> Faces:
        self.shown.append(image.shape)
        return self.found


def spots(found: Faces, height: int, width: int) -> NDArray[np.uint8]:
    """A black picture with a white disc at each eye."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y in found.landmarks[:, :2].reshape(-1, 2).tolist():
        cv2.circle(image, (int(x), int(y)), 5, (255, 255, 255), -1)
    return image


@pytest.mark.parametrize("angle", [0.0, 0.4, -0.7])
@pytest.mark.parametrize("side", [73, 146, 600])
def test_eyes_end_up_level_and_in_place(angle: float, side: int) -> None:
    low = 100.0
    found = faces((low, low, low + side, low + side), angle=angle)
    image = spots(found, 2 * side + 200, 2 * side + 200)
    (face,) = aligned(image, found, np.array([0]))
    assert face.shape == (SIDE, SIDE, 3)
    columns = np.arange(SIDE) + 0.5
    for x, half in ((EYES[0, 0], slice(0, SIDE // 2)), (EYES[1, 0], slice(SIDE // 2, SIDE))):
        weight = face[:, half, 0].astype(np.float64)
        centre = (weight.sum(0) @ columns[half], weight.sum(1) @ columns) / weight.sum()
        expected = (np.array([x, EYES[0, 1]]) - 0.5) * FACE + SIDE / 2
        np.testing.assert_allclose(centre, expected, atol=1.5)


def test_faces_belong_to_the_heads_they_are_on() -> None:
    people = np.array([[0, 0, 100, 300], [60, 20, 160, 320], [400, 0, 500, 300]])
    found = faces((35, 15, 65, 45), (95, 35, 125, 65), (300, 10, 330, 40), (380, 120, 430, 170))
    assert owners(found, people).tolist() == [0, 1, -1, 2]
    assert owners(found, people[:0]).tolist() == [-1] * 4
    assert owners(faces(), people).tolist() == []
    # One face, two boxes around it: whose head it is.
    assert owners(faces((95, 35, 125, 65)), people).tolist() == [1]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the layout of facenet-pytorch's, with other numbers in it."""
    torch.manual_seed(0)
    network = build("inception_resnet_v1", num_classes=9)
    path = tmp_path_factory.mktemp("weights") / "vggface2.pt"
    torch.save(network.state_dict(), path)
    return path


def test_a_face_is_embedded_as_the_network_does(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 255, (400, 500, 3), dtype=np.uint8)
    found = faces((35, 15, 65, 45), angle=0.2)
    finder = Finder(found)
    monkeypatch.setattr(mtcnn_module, "FaceDetector", lambda device: finder)
    embedder = build_embedder(f"facenet:{weights}", "cpu")
    assert (embedder.dimension, embedder.name[:8]) == (512, "facenet-")
    boxes = np.array([[210, 20, 300, 300], [10, 10, 110, 310]], np.float32)
    vectors = embedder(image, boxes)
    # The part of the picture that holds boxes begins at (10, 10), where the finder counts from.
    assert finder.shown == [(300, 290, 3)]
    assert not vectors[0].any()
    network: Any = build("inception_resnet_v1", weights, num_classes=9)
    pixels = (aligned(image[10:310, 10:300], found, np.array([0])).astype(np.float32) - 127.5) / 128
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels.transpose(0, 3, 1, 2)))[0].numpy()
    np.testing.assert_allclose(vectors[1], expected, atol=1e-4)
    assert embedder(image, boxes[:0]).shape == (0, 512)
    with pytest.raises(SparsightError, match="no pixel inside"):
        embedder(image, boxes + 1000)


def test_networks_that_take_no_faces() -> None:
    network = build("osnet_x0_25", num_classes=0)
    with pytest.raises(SparsightError, match=r"faces are \(3, 160, 160\)"):
        FaceEmbedder(Session(network, "cpu"), Finder(faces()), "osnet", 0.4)  # type: ignore[arg-type]
