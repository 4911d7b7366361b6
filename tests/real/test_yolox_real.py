"""YOLOX-Nano with real weights: the network must compute what the published file computes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.nets import build

pytestmark = pytest.mark.real


@pytest.fixture
def path(assets: Path) -> Path:
    return assets / "weights" / "yolox_nano.onnx"


@pytest.fixture
def street(assets: Path) -> tuple[NDArray[np.float32], float]:
    """A frame with people as the network takes it, and by how much it was scaled."""
    image = cv2.imread(str(assets / "mot" / "TUD-Campus" / "img1" / "000030.jpg"))
    scale = 416 / max(image.shape[:2])
    resized = cv2.resize(image, None, fx=scale, fy=scale)
    padded = np.full((416, 416, 3), 114, np.float32)
    padded[: resized.shape[0], : resized.shape[1]] = resized
    return np.ascontiguousarray(padded.transpose(2, 0, 1)[None]), scale


def test_torch_equals_the_onnx_file_on_a_street(
    path: Path, street: tuple[NDArray[np.float32], float]
) -> None:
    network = build("yolox_nano", path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: street[0]})
    with torch.no_grad():
        output = network(torch.from_numpy(street[0])).numpy()
        exact = network.double()(torch.from_numpy(street[0]).double()).numpy()
    assert output.shape == (1, 3549, 85)
    # From pixels up to 255, single precision alone moves the box columns by up to 1e-4, in ONNX Runtime as in
    # torch: held to 1e-4 are the file against exact arithmetic, and single precision at the outputs' scale.
    np.testing.assert_allclose(expected, exact, atol=1e-4, rtol=0)
    np.testing.assert_allclose(output, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    np.testing.assert_allclose(output[..., 4:], expected[..., 4:], atol=1e-4, rtol=0)


def test_decoded_as_documented_the_best_boxes_are_annotated_people(
    assets: Path, path: Path, street: tuple[NDArray[np.float32], float]
) -> None:
    network = build("yolox_nano", path)
    with torch.no_grad():
        output = network(torch.from_numpy(street[0])).numpy()[0]
    sides = [416 // stride for stride in (8, 16, 32)]
    cell = np.concatenate([np.stack(np.meshgrid(range(n), range(n)), -1).reshape(-1, 2) for n in sides])
    stride = np.repeat([8, 16, 32], np.square(sides))[:, None]
    centre, size = (output[:, :2] + cell) * stride, np.exp(output[:, 2:4]) * stride
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) / street[1]
    scores = output[:, 4] * output[:, 5]

    truth = np.loadtxt(assets / "mot" / "TUD-Campus" / "gt" / "gt.txt", delimiter=",")
    people = truth[truth[:, 0] == 30][:, 2:6]
    people[:, 2:] += people[:, :2]
    best = boxes[scores > 0.5]
    assert len(best) > 0
    overlap = np.maximum(
        np.minimum(best[:, None, 2:], people[None, :, 2:])
        - np.maximum(best[:, None, :2], people[None, :, :2]),
        0,
    ).prod(axis=2)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (best, people)]
    iou = overlap / (areas[0][:, None] + areas[1][None] - overlap)
    assert (iou.max(axis=1) > 0.5).mean() > 0.9


def test_another_size_of_network_is_refused(path: Path) -> None:
    with pytest.raises(SparsightError, match="YOLOX"):
        build("yolox_tiny", path)


def test_it_keeps_its_batch_norms(path: Path) -> None:
    network = build("yolox_nano", path)
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == len(convolutions) - 9  # all but the nine that predict
