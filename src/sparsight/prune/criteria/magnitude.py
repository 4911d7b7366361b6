"""Criteria that look at the weights alone, now and before."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from sparsight.prune.criteria.criterion import Criterion, over_weights
from sparsight.prune.layer import LayerState


def random(seed: int = 0) -> Criterion:
    """A uniform score that depends on the seed and the layer's name alone, so that masks stay nested."""

    def score(state: LayerState) -> Tensor:
        # Drawn on the CPU: the same masks on every device.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}:{state.name}".encode()))
        return torch.rand(state.weight.shape, generator=generator).to(state.weight.device)

    return Criterion("random", score)


def l1(state: LayerState) -> Tensor:
    """|w| (Han et al. 2015, Learning both Weights and Connections; per filter: Li et al. 2017)."""
    return state.weight.abs()


def l2(state: LayerState) -> Tensor:
    """w²: a block's mean is its squared l2 norm over its size (He et al. 2018, Soft Filter Pruning)."""
    return state.weight.square()


def magnitude_movement(state: LayerState) -> Tensor:
    """|w · (w − w₀)|: large, and far from where it began.

    The movement |w − w₀| is that of Zhou et al. 2019, Deconstructing Lottery Tickets; times the magnitude
    it gives no credit to weights that moved to zero.
    """
    assert state.initial is not None
    return (state.weight * (state.weight - state.initial)).abs()


def updating_movement(state: LayerState) -> Tensor:
    """|w − w₁|: how far it went since masks were last chosen (the movement of Zhou et al. 2019, restarted).

    Before any training all scores are zero: let the schedule start later than the training.
    """
    assert state.previous is not None
    return (state.weight - state.previous).abs()


def fpgm(state: LayerState) -> Tensor:
    """Σⱼ ‖Fᵢ − Fⱼ‖₂ per filter: small near the geometric median, where a filter is replaceable.

    He et al. 2019, Filter Pruning via Geometric Median. The sum is over the filters that are not wholly
    masked; the masked ones score 0.
    """
    alive = state.mask.flatten(1).any(dim=1)
    filters = state.weight.flatten(1).double()  # cdist multiplies matrices, which cancels in single precision
    apart = torch.cdist(filters, filters[alive]).sum(dim=1)
    return over_weights(apart * alive, state)
