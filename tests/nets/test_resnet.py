"""ResNet-18 against torchvision's published facts, and its small variant against the literature's."""

from __future__ import annotations

import pytest
import torch

from sparsight.nets import build


def _norm(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    parts = {f"{prefix}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**parts, f"{prefix}.num_batches_tracked": ()}


def test_names_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):
        model = build("resnet18")
    expected: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), **_norm("bn1", 64)}
    for stage, (inputs, width) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), start=1):
        for block, first in enumerate((inputs, width)):
            prefix = f"layer{stage}.{block}"
            expected[f"{prefix}.conv1.weight"] = (width, first, 3, 3)
            expected[f"{prefix}.conv2.weight"] = (width, width, 3, 3)
            expected |= _norm(f"{prefix}.bn1", width) | _norm(f"{prefix}.bn2", width)
        if inputs != width:
            expected[f"layer{stage}.0.downsample.0.weight"] = (width, inputs, 1, 1)
            expected |= _norm(f"layer{stage}.0.downsample.1", width)
    expected |= {"fc.weight": (1000, 512), "fc.bias": (1000,)}
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_689_512


def test_imagenet_resolution_by_stage() -> None:
    model = build("resnet18")
    x = torch.rand(1, 3, 224, 224)
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    sides = []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
        sides.append(x.shape[2])
    assert sides == [56, 28, 14, 7]  # Table 1 of the paper


@pytest.mark.parametrize(("shape", "last"), [((3, 32, 32), 4), ((1, 28, 28), 4), ((3, 64, 64), 8)])
def test_small_images_keep_their_resolution(shape: tuple[int, int, int], last: int) -> None:
    model = build("resnet18", input_shape=shape, num_classes=10)
    features = model.layer4(
        model.layer3(model.layer2(model.layer1(model.maxpool(model.conv1(torch.rand(1, *shape))))))
    )
    assert features.shape == (1, 512, last, last)
    assert model(torch.rand(2, *shape)).shape == (2, 10)


def test_the_cifar_variant_has_the_known_size() -> None:
    model = build("resnet18", input_shape=(3, 32, 32), num_classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_173_962
