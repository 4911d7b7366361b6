"""Criteria that look at the weights alone, now and before."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from sparsight.prune.criteria.criterion import Criterion
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
