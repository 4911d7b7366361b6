"""VGG against torchvision's published facts: names, shapes, numbers of parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparsight import SparsightError
from sparsight.nets import build

WIDTHS_16 = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
WIDTHS_19 = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8


@pytest.mark.parametrize(
    ("name", "parameters", "convolutions", "widths"),
    [
        ("vgg16", 138_357_544, [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28], WIDTHS_16),
        ("vgg16_bn", 138_365_992, [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40], WIDTHS_16),
        ("vgg19", 143_667_240, [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34], WIDTHS_19),
    ],
)
def test_names_and_shapes_are_torchvisions(
    name: str, parameters: int, convolutions: list[int], widths: list[int]
) -> None:
    with torch.device("meta"):
        model = build(name)
    expected: dict[str, tuple[int, ...]] = {}
    for index, inputs, outputs in zip(convolutions, [3, *widths], widths, strict=False):
        expected[f"features.{index}.weight"] = (outputs, inputs, 3, 3)
        expected[f"features.{index}.bias"] = (outputs,)
        if name.endswith("_bn"):
            for part in ("weight", "bias", "running_mean", "running_var"):
                expected[f"features.{index + 1}.{part}"] = (outputs,)
            expected[f"features.{index + 1}.num_batches_tracked"] = ()
    for index, inputs, outputs in ((0, 25088, 4096), (3, 4096, 4096), (6, 4096, 1000)):
        expected[f"classifier.{index}.weight"] = (outputs, inputs)
        expected[f"classifier.{index}.bias"] = (outputs,)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model.input_shape == (3, 224, 224)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 64, 64)])
def test_small_images_give_a_small_classifier(shape: tuple[int, int, int]) -> None:
    model = build("vgg16", input_shape=shape, num_classes=10)
    assert model(torch.rand(2, *shape)).shape == (2, 10)
    assert model.input_shape == shape
    # The 13 convolutions hold 14.7 million weights (14,714,688 with three input channels).
    features = sum(parameter.numel() for parameter in model.features.parameters())
    assert features == 14_714_688 - (3 - shape[0]) * 64 * 9
    assert sum(parameter.numel() for parameter in model.classifier.parameters()) < 300_000


def test_bad_options_are_refused() -> None:
    with pytest.raises(SparsightError, match="num_classes=0"):
        build("vgg16", num_classes=0)
    with pytest.raises(SparsightError, match="input_shape"):
        build("vgg16", input_shape=(3, 4, 4))
    with pytest.raises(SparsightError, match="input_shape"):
        build("vgg16", input_shape=(32, 32))


def _hed(seed: int) -> dict[str, NDArray[np.float32]]:
    """Random arrays under the names and shapes of Keras's file of HED's VGG16."""
    random = np.random.default_rng(seed)
    arrays = {}
    channels = 3
    for block, (depth, width) in enumerate(
        zip((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), strict=True), start=1
    ):
        for index in range(depth):
            name = f"block{block}/layers/conv2d{f'_{index}' if index else ''}/vars"
            kernel = random.normal(0, (2 / (9 * channels)) ** 0.5, (3, 3, channels, width))
            arrays[f"{name}/0"] = kernel.astype(np.float32)
            arrays[f"{name}/1"] = random.normal(0, 0.1, width).astype(np.float32)
            channels = width
    return arrays


def test_hed_weights_see_the_input_that_they_were_made_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = _hed(0)
    arrays["block1/layers/conv2d/vars/0"] /= 255
    monkeypatch.setattr("sparsight.nets.vgg.read_arrays", lambda path: arrays)
    (tmp_path / "w.h5").touch()
    model = build("vgg16", tmp_path / "w.h5", input_shape=(3, 32, 32))
    rgb = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.float32)

    # As HED does it: Caffe's BGR minus the mean; correlation written out, away from the border.
    caffe = rgb[:, :, ::-1] - np.array([104.00699, 116.66877, 122.67892], np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(caffe, (3, 3), axis=(0, 1))
    kernel, bias = arrays["block1/layers/conv2d/vars/0"], arrays["block1/layers/conv2d/vars/1"]
    want = np.einsum("yxcij,ijco->oyx", windows, kernel) + bias[:, None, None]

    standard = (rgb / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = torch.from_numpy(standard.transpose(2, 0, 1)[None].astype(np.float32))
    with torch.no_grad():
        got = model.features[0](x)[0, :, 1:-1, 1:-1].numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    last = torch.from_numpy(arrays["block5/layers/conv2d_2/vars/0"].transpose(3, 2, 0, 1))
    assert torch.equal(model.features[28].weight, last)


def test_other_files_and_networks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = _hed(0)
    monkeypatch.setattr("sparsight.nets.vgg.read_arrays", lambda path: arrays)
    (tmp_path / "w.h5").touch()
    with pytest.raises(SparsightError, match="does not fit"):
        build("vgg19", tmp_path / "w.h5", input_shape=(3, 32, 32))
    with pytest.raises(SparsightError, match="does not fit"):
        build("vgg16", tmp_path / "w.h5", input_shape=(1, 32, 32))
    arrays["block1/layers/conv2d/vars/0"] = np.zeros(4, np.float32)
    with pytest.raises(SparsightError, match="no convolution"):
        build("vgg16", tmp_path / "w.h5", input_shape=(3, 32, 32))
    del arrays["block1/layers/conv2d/vars/0"]
    with pytest.raises(SparsightError, match="lacks block1"):
        build("vgg16", tmp_path / "w.h5", input_shape=(3, 32, 32))
