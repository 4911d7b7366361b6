from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsight.prune import Sparsifier, shrink
from sparsight.prune.quieting import Quieted
from sparsight.prune.shrinking.coupling import coupling


class Branches(nn.Module):
    """The first batch norm defined after ``conv`` is not the one that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.other_norm = nn.BatchNorm2d(16)
        self.other = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.last = nn.Conv2d(16, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.relu(self.norm(self.conv(x))) + torch.relu(self.other_norm(self.other(x)))
        return self.last(both).mean((2, 3))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def trained(
    model: nn.Module, layers: list[str], coupled: list[list[str]] | None = None, **options: str
) -> nn.Module:
    images = torch.randn(8, 3, 10, 10)
    optimiser = torch.optim.AdamW(model.parameters(), 0.01)
    sparsifier = Sparsifier(model, 0.5, granularity="filter", layers=layers, coupled=coupled, **options)
    quieted = Quieted(sparsifier, model, coupling(model, images))
    model.train()
    for step in range(12):
        nn.functional.cross_entropy(model(images), torch.arange(8) % 4).backward()
        optimiser.step()
        optimiser.zero_grad()
        quieted.step((step + 1) / 12)
    sparsifier.remove()
    return model.eval()


def test_a_removed_filter_gives_nothing() -> None:
    model = trained(Branches(), ["conv", "other"], [["conv", "other"]])
    assert isinstance(model, Branches)
    dead = ~model.conv.weight.flatten(1).any(1)
    assert int(dead.sum()) == 8
    images = torch.randn(4, 3, 10, 10)
    for conv, norm in ((model.conv, model.norm), (model.other, model.other_norm)):
        given = torch.relu(norm(conv(images)))
        assert not given[:, dead].any()
        assert given[:, ~dead].any(dim=3).any(dim=2).any(dim=0).all()


def test_what_still_has_filters_keeps_its_voice() -> None:
    model = trained(Branches(), ["conv"])  # the other branch of the sum is not pruned
    assert isinstance(model, Branches)
    assert int((~model.conv.weight.flatten(1).any(1)).sum()) == 8
    assert (model.norm.weight != 0).all()
    assert (model.other_norm.weight != 0).all()


def test_so_that_the_width_is_the_one_asked_for() -> None:
    model = trained(Branches(), ["conv", "other"], [["conv", "other"]])
    result = shrink(model, torch.zeros(1, 3, 10, 10))
    assert result.kept == {"conv": 8, "other": 8, "last": 4}
    assert not result.skipped


def test_a_filter_that_comes_back_can_learn() -> None:
    model = trained(Branches(), ["conv", "other"], [["conv", "other"]], schedule="dsd")
    assert isinstance(model, Branches)
    assert model.conv.weight.flatten(1).any(1).all()
    assert (model.norm.weight != 0).all()
