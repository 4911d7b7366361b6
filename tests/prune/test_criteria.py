"""Every criterion through the sparsifier, on a network with grouped and depthwise convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sparsight.prune.criteria import CRITERIA, GATHERERS
from sparsight.prune.sparsifier import Sparsifier

LAYERS = ("0", "3", "6")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, groups=2),
        nn.BatchNorm2d(12),
        nn.Flatten(),
        nn.Linear(12 * 16, 3),
    )


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(6, 2, 6, 6, generator=generator), torch.arange(6) % 3) for _ in range(4)]


def train(model: nn.Module, sparsifier: Sparsifier) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for x, y in batches():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        sparsifier.step()


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("granularity", ["weight", "filter"])
@pytest.mark.parametrize("name", CRITERIA)
def test_the_sparsity_is_reached_while_training(name: str, granularity: str, scope: str) -> None:
    model = network()
    start = 0.5 if name == "updating_movement" else 0.0
    sparsifier = Sparsifier(
        model,
        0.5,
        criterion=name,
        granularity=granularity,
        scope=scope,
        layers=LAYERS,
        schedule="linear",
        start=start,
        total_steps=4,
        calibration=batches()[:1] if name in ("snip", "grasp", "synflow") else None,
        loss=F.cross_entropy,
    )
    train(model, sparsifier)
    report = sparsifier.report()
    for row in report.rows:
        assert 0 < row.kept <= row.blocks
        if scope == "local":
            assert row.kept == row.blocks // 2
    assert report.sparsity == pytest.approx(0.5, abs=0.1 if granularity == "filter" else 0.001)


@pytest.mark.parametrize("name", [name for name, c in CRITERIA.items() if c.needs & GATHERERS.keys()])
def test_calibration_data_is_enough(name: str) -> None:
    model = network()
    sparsifier = Sparsifier(
        model, 0.5, criterion=name, layers=LAYERS, calibration=batches(), loss=F.cross_entropy
    )
    masks = sparsifier.mask()
    assert sum(int(mask.sum()) for mask in masks.values()) == sum(m.numel() for m in masks.values()) // 2


def test_synflow_in_rounds_keeps_a_path_through_every_layer() -> None:
    # At one weight in fifty, magnitude over all layers at once empties some; the flow keeps them open.
    model = network()
    model.input_shape = (2, 6, 6)
    sparsifier = Sparsifier(model, 0.98, criterion="synflow", scope="global")
    for k in range(1, 31):
        sparsifier.mask(1 - 0.02 ** (k / 30))
    model.eval()
    x = torch.rand(4, 2, 6, 6).requires_grad_()
    linear = F.relu(model(x)).sum() + model(x).square().sum()
    (gradient,) = torch.autograd.grad(linear, x)
    assert gradient.any()
