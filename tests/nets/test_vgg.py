"""VGG against torchvision's published facts: names, shapes, numbers of parameters."""

from __future__ import annotations

import pytest
import torch

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
