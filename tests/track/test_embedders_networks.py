"""Embedders of whole people, filled with files in the published layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparsight import SparsightError, assets
from sparsight.nets import build
from sparsight.track.embed import MEAN, STD, NetworkEmbedder, build_embedder, crops
from sparsight.track.embed_networks import mean_output, rectified_mean

BOXES = np.array([[10, 10, 60, 110], [30.4, 5.6, 90, 118]], np.float32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (120, 100, 3), dtype=np.uint8)


def published(name: str, path: Path, classes: int) -> Any:
    """A network with random numbers in its batch norms, saved as its authors' training saves it."""
    torch.manual_seed(3)
    network = build(name, num_classes=classes)
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.2, 0.3)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}, "epoch": 1}, path)
    return network


@pytest.mark.parametrize(
    ("name", "classes", "dimension"),
    [("osnet_x0_25", 4101, 512), ("osnet_ain_x1_0", 1041, 512), ("mlfn", 7, 1024)],
)
def test_a_person_is_the_networks_output_less_the_common_part(
    name: str, classes: int, dimension: int, tmp_path: Path, image: NDArray[np.uint8]
) -> None:
    path = tmp_path / "model.pth.tar"
    network = published(name, path, classes)
    embedder = build_embedder(f"{name}:{path}", "cpu")
    assert embedder.dimension == dimension
    assert embedder.name.startswith(f"{name}-")

    pixels = (crops(image, BOXES, 256, 128) / np.float32(255) - MEAN) / STD
    with torch.no_grad():
        raw = network(torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    ends = [network.fc_x[1], network.fc_s[1]] if name == "mlfn" else [network.fc[1]]
    centre = mean_output(*((n.weight.detach().numpy(), n.bias.detach().numpy()) for n in ends))
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True) - centre
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder(image, BOXES), expected, atol=2e-4)


def test_the_full_width_comes_from_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "osnet_x1_0.pth"
    published("osnet_x1_0", path, 5)
    monkeypatch.setattr(assets, "path", lambda name: path if name == "osnet_x1_0" else tmp_path / "none")
    embedder = build_embedder("osnet_x1_0", "cpu")
    assert isinstance(embedder, NetworkEmbedder)
    assert embedder.dimension == 512


def test_own_weights_of_mobilenet(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    network: Any = build("mobilenet_v2", num_classes=3)
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    embedder = build_embedder(f"mobilenet_v2:{tmp_path / 'mine.pt'}", "cpu")
    pixels = (crops(image, BOXES, 256, 128) / np.float32(255) - MEAN) / STD
    with torch.no_grad():
        maps = network.features(torch.from_numpy(pixels.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    pooled = maps.mean((2, 3))
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder(image, BOXES), pooled, atol=1e-4)


@pytest.mark.parametrize("name", ["osnet_x1_0", "osnet_ain_x1_0", "mlfn", "facenet"])
def test_weights_that_cannot_be_had_are_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(asset: str) -> Path:
        raise SparsightError(f"{asset} cannot be had: fetch it yourself.")

    monkeypatch.setattr(assets, "path", nowhere)
    with pytest.raises(SparsightError, match=r"cannot be had: fetch it yourself\.$"):
        build_embedder(name, "cpu")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("osnet_x1_0:nowhere.pth", "there is no weight file nowhere.pth"),
        ("auto:net.pth", "auto takes no file"),
        ("onnx", "needs a file: write onnx:FILE"),
        ("onnx:", "needs a file: write onnx:FILE"),
        ("osnet:x.pth", "did you mean"),
    ],
)
def test_names_that_lead_nowhere(name: str, told: str) -> None:
    with pytest.raises(SparsightError, match=told):
        build_embedder(name, "cpu")


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(build("osnet_x0_25", num_classes=2).state_dict(), tmp_path / "small.pth")
    with pytest.raises(SparsightError, match="does not fit"):
        build_embedder(f"mlfn:{tmp_path / 'small.pth'}", "cpu")


def test_the_mean_of_two_rectified_norms() -> None:
    rng = np.random.default_rng(1)
    one, two = (np.array([1.0, 0.5, 2.0]), np.array([0.1, -0.4, 1.0])), (np.full(3, 0.8), np.full(3, 0.3))
    drawn = np.mean(
        [np.maximum(rng.normal(size=(400_000, 3)) * scale + shift, 0) for scale, shift in (one, two)], axis=0
    )
    expected = drawn.mean(0) / np.sqrt(np.square(drawn).sum(1).mean())
    np.testing.assert_allclose(mean_output(one, two), expected, atol=5e-3)
    mean, square = rectified_mean(*one)
    np.testing.assert_allclose(mean_output(one), mean / np.sqrt(square.sum()), rtol=1e-6)
