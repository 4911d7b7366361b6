from __future__ import annotations

import pytest
import torch

from sparsight import SparsightError
from sparsight.nets import build


def test_the_mlp_is_lenet_300_100() -> None:
    model = build("mlp")
    assert sum(parameter.numel() for parameter in model.parameters()) == 266_610  # the literature's number
    assert model(torch.rand(4, 1, 28, 28)).shape == (4, 10)


def test_options_set_the_sizes() -> None:
    model = build("mlp", hidden=(7,), num_classes=3, input_shape=(3, 8, 9))
    assert [tuple(parameter.shape) for parameter in model.parameters()] == [(7, 216), (7,), (3, 7), (3,)]
    network = build("convnet", widths=(4, 6), num_classes=5, input_shape=(1, 9, 8))
    assert network(torch.rand(2, 1, 9, 8)).shape == (2, 5)
    assert network.features[4].weight.shape == (6, 4, 3, 3)


def test_a_convnet_learns() -> None:
    """Bright left half against bright right half: a network that is wired right learns it in a few steps."""
    torch.manual_seed(0)
    model = build("convnet", widths=(4, 8), num_classes=2, input_shape=(1, 16, 16)).train()
    images = torch.rand(64, 1, 16, 16)
    labels = torch.arange(64) % 2
    images[labels == 0, :, :8] += 1
    images[labels == 1, :, :, :8] += 1
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float((model(images).argmax(1) == labels).float().mean()) > 0.9


@pytest.mark.parametrize(("name", "option"), [("mlp", "hidden"), ("convnet", "widths")])
def test_bad_widths_are_refused(name: str, option: str) -> None:
    for widths in ((), (4, 0)):
        with pytest.raises(SparsightError, match=option):
            build(name, **{option: widths})
