"""The running sums that criteria ask for while a network trains or sees calibration data.

All are plain sums, not means: every layer sees the same passes, so it makes no difference to any order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparsight.errors import SparsightError
from sparsight.prune.criteria.criterion import Gatherer
from sparsight.prune.layer import LayerState

RANKED_IMAGES = 8
"""How many images of a batch have the rank of their maps taken: it varies little between images (Lin et al.
2020, HRank), and each map costs a singular value decomposition."""

COVARIANCE_INPUTS = 4096
"""The most input channels of which covariances are kept: they take the square of it in memory (134 MB here)
and the cube in time."""

COVARIANCE_WORK = 2**24
"""How many products of channels a pass may cost; a wide layer's samples are thinned out to that."""

COVARIANCE_SAMPLES = 32
"""Of each pass, at least."""


def _per_weight(state: LayerState) -> Tensor:
    return torch.zeros_like(state.weight, dtype=torch.float32)


def _add_gradient(total: Tensor, state: LayerState, gradient: Tensor) -> Tensor:
    return total.add_(gradient.to(total.dtype))


def _add_gradient_weight(total: Tensor, state: LayerState, gradient: Tensor) -> Tensor:
    return total.addcmul_(gradient.to(total.dtype), state.weight.to(total.dtype))


def _per_input_channel(state: LayerState) -> Tensor:
    return torch.zeros(state.weight.shape[1] * state.groups, dtype=torch.float32, device=state.weight.device)


def _add_input_square(total: Tensor, state: LayerState, value: Tensor) -> Tensor:
    # Counted from the end, as the batch may be missing and tokens may come between.
    square = value.float().square().movedim(1 - state.weight.dim(), 0)
    return total.add_(square.flatten(1).sum(dim=1))


def _moments(state: LayerState) -> Tensor:
    # Double, because a variance is the small difference of two large sums.
    channels = state.weight.shape[1] * state.groups
    return torch.zeros(3, channels, dtype=torch.float64, device=state.weight.device)


def _add_moments(total: Tensor, state: LayerState, value: Tensor) -> Tensor:
    seen = value.float().movedim(1 - state.weight.dim(), 0).flatten(1)
    total[0] += seen.shape[1]
    total[1] += seen.sum(dim=1)
    total[2] += seen.square().sum(dim=1)
    return total


def _covariances(state: LayerState) -> Tensor:
    channels = state.weight.shape[1]
    if channels > COVARIANCE_INPUTS:
        raise SparsightError(
            f"criterion 'obs' needs the covariances of all inputs of layer {state.name!r}, and {channels} "
            f"are too many (at most {COVARIANCE_INPUTS}): use 'flap', which needs the variances alone."
        )
    size = (state.groups, 1 + channels, 1 + channels)
    return torch.zeros(size, dtype=torch.float64, device=state.weight.device)


def _add_covariances(total: Tensor, state: LayerState, value: Tensor) -> Tensor:
    seen = value.float().movedim(1 - state.weight.dim(), 0).flatten(1)
    few = max(COVARIANCE_WORK // (total.shape[1] * total.shape[1]), COVARIANCE_SAMPLES)
    # An odd stride, so that samples do not fall on the same place of every image.
    seen = seen[:, :: -(-seen.shape[1] // few) | 1]
    grouped = seen.reshape(state.groups, -1, seen.shape[1])
    with_one = torch.cat([torch.ones_like(grouped[:, :1]), grouped], 1)
    return total.add_(with_one @ with_one.transpose(1, 2))


def _per_map(state: LayerState) -> Tensor:
    if state.weight.dim() < 4:
        raise SparsightError(
            f"criterion 'hrank' needs maps to take the rank of, and layer {state.name!r} "
            f"({type(state.module).__name__}) has none: leave the layer out, or choose another criterion."
        )
    return torch.zeros(state.weight.shape[0], dtype=torch.float32, device=state.weight.device)


def _add_output_rank(total: Tensor, state: LayerState, value: Tensor) -> Tensor:
    # The maps after the activation, as in the authors' experiments: before it nearly all have full rank.
    maps = value.reshape(-1, *value.shape[1 - state.weight.dim() :])[:RANKED_IMAGES].float().relu()
    return total.add_(torch.linalg.matrix_rank(maps.flatten(2, -2)).sum(dim=0))


GATHERERS: dict[str, Gatherer] = {
    # Σ g, shaped like the weight.
    "gradient": Gatherer("gradient", _per_weight, _add_gradient),
    # Σ g · w with the weight of that moment, shaped like the weight.
    "gradient_weight": Gatherer("gradient", _per_weight, _add_gradient_weight),
    # Σ x² over samples and positions, (in,).
    "input_square": Gatherer("input", _per_input_channel, _add_input_square),
    # Σ 1, Σ x and Σ x² over samples and positions, (3, in).
    "input_moments": Gatherer("input", _moments, _add_moments),
    # Σ (1, x)(1, x)ᵀ over samples and positions, (groups, 1 + in / groups, 1 + in / groups).
    "input_covariances": Gatherer("input", _covariances, _add_covariances),
    # Σ rank of the map over images, (out,).
    "output_rank": Gatherer("output", _per_map, _add_output_rank),
}
"""Name → running sum; the names are those of ``Criterion.needs``."""
