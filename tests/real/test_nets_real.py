"""ImageNet's MobileNetV2 knows what is on real photographs, through every way of running it."""

from __future__ import annotations

import io
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sparsight import SparsightError
from sparsight import assets as catalogue
from sparsight.nets import Session, build, taps

pytestmark = [pytest.mark.real, pytest.mark.network]

IMAGENET_INDEX = {
    "accordion": 401,
    "dalmatian": 251,
    "grand_piano": 579,
    "llama": 355,
    "revolver": 763,
    "scorpion": 71,
    "soccer_ball": 805,
    "starfish": 327,
}
"""Caltech-101 folder → ImageNet class, for classes that both have."""

IMAGES_PER_CLASS = 8
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


@pytest.fixture(scope="module")
def weights() -> Path:
    try:
        return catalogue.path("mobilenet_v2")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")


def _sample(data: bytes) -> NDArray[np.float32]:
    image = Image.open(io.BytesIO(data)).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    scaled = (np.asarray(square, np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32)


@pytest.fixture
def photographs(assets: Path) -> dict[str, NDArray[np.float32]]:
    """Class → (N, 3, 224, 224): the first photographs of each."""
    found: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    with tarfile.open(assets / "classification" / "caltech101_128px_imagefolder.tar.gz") as archive:
        for member in archive:
            label = Path(member.name).parent.name
            if member.isfile() and label in IMAGENET_INDEX and len(found[label]) < IMAGES_PER_CLASS:
                stream = archive.extractfile(member)
                assert stream is not None
                found[label].append(_sample(stream.read()))
    return {label: np.stack(samples) for label, samples in found.items()}


def test_the_right_class_wins(
    weights: Path,
    photographs: dict[str, NDArray[np.float32]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path))
    model = build("mobilenet_v2", weights=weights)
    session = Session(model, "cpu")
    hits = {
        label: float((session(photographs[label]).argmax(1) == index).mean())
        for label, index in IMAGENET_INDEX.items()
    }
    # Photographs 128 pixels high, other than those it was trained on: chance would be 0.001.
    assert min(hits.values()) >= 0.5, hits
    assert np.mean(list(hits.values())) >= 0.75, hits

    x = photographs["dalmatian"][:3]
    with torch.inference_mode():
        want = model(torch.from_numpy(x)).numpy()
        names = ["features.3", "features.18"]
        tapped = taps(model, names)(torch.from_numpy(x))
    np.testing.assert_allclose(session(x), want, rtol=1e-4, atol=1e-4)
    features = Session(taps(model, names), "cpu", dynamic_size=True).run(x)
    for name in names:
        np.testing.assert_allclose(features[name], tapped[name].numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "file"), [("yolox_nano", "yolox_nano.onnx")])
def test_folded_batch_norms_are_put_back(assets: Path, name: str, file: str) -> None:
    """The network filled from an official ONNX file gives what the file gives."""
    path = assets / "weights" / file
    model = build(name, weights=path)
    session = Session(path)
    x = np.random.default_rng(0).random((1, *session.input_shape), dtype=np.float32) * 255
    with torch.inference_mode():
        got = model(torch.from_numpy(x)).numpy()
    want = session(x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_hed_fills_the_convolutions_of_vgg16() -> None:
    try:
        path = catalogue.path("hed_vgg16")
    except SparsightError as error:
        pytest.skip(f"the weights cannot be had: {error}")
    model = build("vgg16", weights=path)
    # Sums that the HDF5 library gives for the file's arrays.
    sums = {5: -639.5736662043657, 12: -813.2454137105574, 28: -2547.69063448952}
    for index, total in sums.items():
        assert float(model.features[index].weight.detach().double().sum()) == pytest.approx(total, rel=1e-9)
    with torch.inference_mode():
        features = model.features(torch.randn(1, 3, 64, 64))
    assert 0 < float(features.mean()) < 100
