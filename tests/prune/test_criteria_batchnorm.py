from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.prune.criteria.batchnorm import following_norms, scale
from sparsight.prune.layer import new_state


class Crossed(nn.Module):
    """Registered in another order than they are called in."""

    def __init__(self, branches: bool = False) -> None:
        super().__init__()
        self.branches = branches
        self.late = nn.BatchNorm2d(4)
        self.one = nn.Conv2d(3, 4, 1)
        self.two = nn.Conv2d(4, 4, 1)
        self.early = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.branches and x.sum() > 0:
            x = -x
        x = self.early(self.one(x)).relu()
        return self.head(self.late(self.two(x)))


def test_the_norm_is_the_one_the_output_goes_into() -> None:
    model = Crossed()
    assert following_norms(model) == {"one": model.early, "two": model.late}


def test_a_model_that_cannot_be_traced_goes_by_the_order_of_registration() -> None:
    model = Crossed(branches=True)
    assert following_norms(model) == {"two": model.early}


def test_a_shared_layer_is_found_by_its_first_name() -> None:
    layer, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    model = nn.Sequential(nn.Identity(), layer, nn.ReLU(), layer, norm)
    assert following_norms(model) == {"1": norm}


def test_scale_is_the_size_of_gamma_for_every_weight_of_a_filter() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    gamma = torch.tensor([1.0, -3.0, 0.5, 0.0])
    model[1].weight.data = gamma
    state = new_state("0", model[0])
    assert torch.equal(
        scale(model, [state], None, None)["0"], gamma.abs().view(4, 1, 1, 1).expand(4, 1, 3, 3)
    )
    state.mask[1] = False
    assert not scale(model, [state], None, None)["0"][1].any()


def test_a_layer_without_a_norm_is_named() -> None:
    model = Crossed()
    with pytest.raises(SparsightError, match="'head' has none"):
        scale(model, [new_state("head", model.head)], None, None)
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, affine=False))
    with pytest.raises(SparsightError, match="'0' has none"):
        scale(plain, [new_state("0", plain[0])], None, None)
