"""Every network gives the same numbers in PyTorch and in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filling import fill
from torch import nn

from sparsight.nets import NETWORKS, Session, build
from sparsight.nets.export import named_outputs

TINY_CFG = """
[net]
width=64
height=64
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
activation=leaky

[shortcut]
from=-2
activation=linear

[maxpool]
size=2
stride=2

[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=mish

[upsample]
stride=2

[route]
layers=-1,-3

[convolutional]
size=1
stride=1
pad=1
filters=21
activation=linear

[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58
classes=2
num=3
"""

SMALL: dict[str, Any] = {"input_shape": (3, 32, 32), "num_classes": 10}
OPTIONS: dict[str, dict[str, Any]] = {
    "vgg16": SMALL,
    "vgg16_bn": SMALL,
    "vgg19": SMALL,
    "darknet": {"cfg": TINY_CFG},
    "yolox_nano": {"input_size": 160},
    "yolox_tiny": {"input_size": 160},
    "yolox_s": {"input_size": 160},
    "openpose_thin": {"input_size": (96, 96)},
}
"""Smaller inputs where the full ones would take long."""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path))


def filled(model: nn.Module) -> nn.Module:
    fill(model)
    return model


def check(model: nn.Module) -> None:
    session = Session(model, "cpu")
    for count in (1, 3):
        x = np.random.default_rng(count).random((count, *session.input_shape), dtype=np.float32)
        with torch.inference_mode():
            wanted = named_outputs(model(torch.from_numpy(x)))
        got = session.run(x)
        assert list(got) == list(wanted)
        for name, tensor in wanted.items():
            want = tensor.numpy()
            assert np.isfinite(want).all()
            assert want.std() > 0
            np.testing.assert_allclose(got[name], want, rtol=1e-4, atol=1e-4 * max(1, np.abs(want).max()))
            # Parity on features that vanished would show nothing.
            assert np.abs(want).max() > 1e-3
            if count > 1:
                assert not np.array_equal(want[0], want[1])


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_pytorch_and_onnx_runtime_agree(name: str) -> None:
    check(filled(build(name, **OPTIONS.get(name, {}))))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v1", "mobilenet_v2", "mlp", "convnet", "vgg16_bn"])
def test_small_grey_images(name: str) -> None:
    check(filled(build(name, input_shape=(1, 28, 28), num_classes=10)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16_bn", "vgg19"])
def test_full_size(name: str) -> None:
    check(filled(build(name)))
