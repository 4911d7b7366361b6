"""OSNet with real weights: the network must compute what the published file computes."""

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

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture
def path(assets: Path) -> Path:
    return assets / "weights" / "osnet_x0_25_msmt17.onnx"


def people(assets: Path, frames: int = 20) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Crops of the people annotated in one frame in ten, ready for OSNet, and who they are."""
    sequence = assets / "mot" / "TUD-Campus"
    truth = np.loadtxt(sequence / "gt" / "gt.txt", delimiter=",")
    crops, who = [], []
    for frame in range(1, 71, 70 // frames):
        image = cv2.imread(str(sequence / "img1" / f"{frame:06d}.jpg"))[:, :, ::-1]
        for identity, x, y, width, height in truth[truth[:, 0] == frame][:, 1:6]:
            left, top = max(int(x), 0), max(int(y), 0)
            crop = image[top : int(y + height), left : int(x + width)]
            resized = cv2.resize(crop, (128, 256)) / 255.0
            crops.append(((resized - MEAN) / DEVIATION).transpose(2, 0, 1))
            who.append(int(identity))
    return np.stack(crops).astype(np.float32), np.array(who)


def test_torch_equals_the_onnx_file_on_people(assets: Path, path: Path) -> None:
    network = build("osnet_x0_25", path, num_classes=0)
    crops, _ = people(assets, frames=7)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: crops})
    with torch.no_grad():
        embedding = network(torch.from_numpy(crops)).numpy()
    assert embedding.shape == (len(crops), 512)
    np.testing.assert_allclose(embedding, expected, atol=1e-4)


def test_the_same_person_is_nearer_than_another(assets: Path, path: Path) -> None:
    network = build("osnet_x0_25", path, num_classes=0)
    crops, who = people(assets, frames=10)
    with torch.no_grad():
        # Nearest neighbours, also of people half hidden behind others; by chance one in eight would be right.
        embedding = torch.nn.functional.normalize(network(torch.from_numpy(crops))).numpy()
    similarity = embedding @ embedding.T
    np.fill_diagonal(similarity, -1)
    assert np.mean(who[similarity.argmax(axis=1)] == who) > 0.8


def test_it_keeps_its_batch_norms_and_trains(path: Path) -> None:
    network = build("osnet_x0_25", path, num_classes=0).train()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 1 + 6 * 12 + 3 + 2 + 1  # stem, blocks, downsamplings, transitions, conv5
    network(torch.rand(4, *network.input_shape)).square().mean().backward()
    assert all(norm.weight.grad is not None for norm in norms)


def test_the_file_has_no_classifier(path: Path) -> None:
    with pytest.raises(SparsightError, match=r"num_classes=0\.$"):
        build("osnet_x0_25", path)
