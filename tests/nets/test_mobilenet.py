"""MobileNets against published facts."""

from __future__ import annotations

import pytest
import torch

from sparsight.nets import build

# (expansion, channels, blocks), Table 2 of the paper.
STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))


def _norm(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    parts = {f"{prefix}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**parts, f"{prefix}.num_batches_tracked": ()}


def test_version_2_has_torchvisions_names_and_shapes() -> None:
    with torch.device("meta"):
        model = build("mobilenet_v2")
    expected: dict[str, tuple[int, ...]] = {"features.0.0.weight": (32, 3, 3, 3), **_norm("features.0.1", 32)}
    channels, index = 32, 1
    for expansion, width, blocks in STAGES:
        for _ in range(blocks):
            prefix, hidden, part = f"features.{index}.conv", channels * expansion, 0
            if expansion > 1:
                expected[f"{prefix}.0.0.weight"] = (hidden, channels, 1, 1)
                expected |= _norm(f"{prefix}.0.1", hidden)
                part = 1
            expected[f"{prefix}.{part}.0.weight"] = (hidden, 1, 3, 3)
            expected |= _norm(f"{prefix}.{part}.1", hidden)
            expected[f"{prefix}.{part + 1}.weight"] = (width, hidden, 1, 1)
            expected |= _norm(f"{prefix}.{part + 2}", width)
            channels, index = width, index + 1
    expected |= {"features.18.0.weight": (1280, 320, 1, 1), **_norm("features.18.1", 1280)}
    expected |= {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)}
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_504_872


def test_version_1_has_the_known_number_of_parameters() -> None:
    with torch.device("meta"):
        model = build("mobilenet_v1")
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_231_976


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
@pytest.mark.parametrize(
    ("shape", "last"), [((3, 224, 224), 7), ((3, 96, 96), 3), ((3, 32, 32), 4), ((1, 28, 28), 4)]
)
def test_resolution(name: str, shape: tuple[int, int, int], last: int) -> None:
    model = build(name, input_shape=shape, num_classes=10)
    with torch.no_grad():
        features = model.features(torch.rand(1, *shape))
        assert features.shape[2:] == (last, last)
        assert model(torch.rand(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2"])
def test_random_features_neither_vanish_nor_explode(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, input_shape=(3, 32, 32))
    with torch.no_grad():
        assert 1e-3 < float(model.features(torch.randn(2, 3, 32, 32)).std()) < 1e3
