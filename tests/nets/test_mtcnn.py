"""MTCNN without its weights: the networks' parts, crops against PyTorch, boxes against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from sparsight import SparsightError
from sparsight.nets import mtcnn


@pytest.mark.parametrize(
    ("network", "side", "parameters"),
    [(mtcnn.mtcnn_pnet, 12, 6_632), (mtcnn.mtcnn_rnet, 24, 100_178), (mtcnn.mtcnn_onet, 48, 389_040)],
)
def test_each_network_has_the_published_size(network: type[nn.Module], side: int, parameters: int) -> None:
    model = network().eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    with torch.no_grad():
        outputs = model(torch.zeros(2, 3, side, side))
    shapes = {name: tuple(value.shape)[:2] for name, value in outputs.items()}
    assert shapes["face"] == (2, 1)
    assert shapes["box"] == (2, 4)
    assert shapes.get("landmarks", (2, 10)) == (2, 10)


def test_crops_are_means_over_areas() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    xyxy = np.array([[3, 4, 33, 34], [0, 0, 24, 24], [10, 5, 17, 12]], np.float32)
    crops = mtcnn._crops(image, xyxy, 24)
    for box, crop in zip(xyxy.astype(int), crops, strict=True):
        part = torch.tensor(
            image[box[1] : box[3], box[0] : box[2]].transpose(2, 0, 1)[None], dtype=torch.float32
        )
        pooled = torch.nn.functional.adaptive_avg_pool2d(part, 24)[0].numpy()
        np.testing.assert_allclose(crop, (pooled - 127.5) / 128, atol=1e-5)


def test_crops_are_black_outside_the_picture() -> None:
    image = np.full((20, 20, 3), 255, np.uint8)
    crop = mtcnn._crops(image, np.array([[-12, 0, 12, 24]], np.float32), 24)[0]
    white, black = 127.5 / 128, -127.5 / 128
    assert (crop[:, :20, 12:] == np.float32(white)).all()
    assert (crop[:, :, :12] == np.float32(black)).all()
    assert (crop[:, 20:] == np.float32(black)).all()


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[float, float, float]:
    """Shared area and the two areas."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height, (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])


def test_suppression_by_loops() -> None:
    rng = np.random.default_rng(0)
    corner = rng.random((60, 2), np.float32) * 40
    xyxy = np.concatenate([corner, corner + 8 + rng.random((60, 2), np.float32) * 8], axis=1)
    score = rng.random(60, np.float32)
    order = np.argsort(-score)
    kept: list[int] = []
    alone: list[int] = []
    for place, row in enumerate(order):
        pairs = {int(other): overlap(xyxy[row], xyxy[other]) for other in order[:place]}
        if all(pairs[k][0] / (pairs[k][1] + pairs[k][2] - pairs[k][0]) <= 0.4 for k in kept):
            kept.append(int(row))
        if all(shared <= 0.4 * min(one, two) for shared, one, two in pairs.values()):
            alone.append(int(row))
    assert mtcnn._nms(xyxy, score, 0.4).tolist() == kept
    assert mtcnn._nms(xyxy, score, 0.4, of_smaller=True).tolist() == alone
    assert mtcnn._nms(xyxy[:0], score[:0], 0.4).tolist() == []


def test_boxes_are_made_square_and_moved() -> None:
    box = np.array([[10, 10, 20, 30]], np.float32)
    np.testing.assert_allclose(mtcnn._squared(box), [[5, 10, 25, 30]])
    moved = mtcnn._moved(box, np.array([[0.1, -0.1, 0.2, 0]], np.float32))
    np.testing.assert_allclose(moved, [[11, 8, 22, 30]], rtol=1e-6)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(SparsightError, match="min_size=5"):
        mtcnn.FaceDetector(min_size=5)
    with pytest.raises(SparsightError, match="factor=1"):
        mtcnn.FaceDetector(factor=1)
