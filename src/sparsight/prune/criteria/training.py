"""Criteria fed by what passes through the layer while the network trains, or sees calibration data."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsight.prune.criteria.criterion import needed, over_weights
from sparsight.prune.layer import LayerState

OBS_RIDGE = 1e-3
"""Added to the variances, as a share of their mean: what few samples seem to explain may be chance."""

_TINY = 1e-150
"""Keeps a matrix of zeros invertible."""


def movement(state: LayerState) -> Tensor:
    """−Σₜ gₜ · wₜ, signed: high where training pushes the weight away from zero.

    Sanh et al. 2020, Movement Pruning (the learning rate, common to all, left out).
    """
    return -needed(state, "gradient_weight")


def taylor(state: LayerState) -> Tensor:
    """(w · Σₜ gₜ)²: the squared first-order change of the loss when the weight is removed.

    Molchanov et al. 2019, Importance Estimation for Neural Network Pruning; a block's mean is their sum
    over its weights, over its size.
    """
    return (needed(state, "gradient") * state.weight).square()


def hrank(state: LayerState) -> Tensor:
    """Per filter, the rank of its map summed over images (Lin et al. 2020, HRank)."""
    return over_weights(needed(state, "output_rank"), state)


def wanda(state: LayerState) -> Tensor:
    """|wᵢⱼ| · ‖xⱼ‖₂, the norm over samples and positions of the input channel that the weight meets.

    Sun et al. 2023, A Simple and Effective Pruning Approach for Large Language Models, equation 1. For
    convolutions the norm of a channel stands for that of its shifted copies, which differ at the border only.
    """
    return state.weight.abs() * _met(needed(state, "input_square").sqrt(), state)


def flap(state: LayerState) -> Tensor:
    """wᵢⱼ² · var(xⱼ), the variance over samples and positions of the input channel that the weight meets.

    After the fluctuation metric of An et al. 2024, Fluctuation-based Adaptive Structured Pruning: what
    varies little can be left to the bias. For convolutions as ``wanda``.
    """
    count, total, square = needed(state, "input_moments")
    mean = total / count.clamp_min(1)
    return state.weight.square() * _met((square / count.clamp_min(1) - mean.square()).clamp_min(0), state)


def obs(state: LayerState) -> Tensor:
    """wᵢⱼ² · var(xⱼ | the kept inputs that count for more): what these cannot stand in for.

    Hassibi and Stork 1993, Second Order Derivatives for Network Pruning: Optimal Brain Surgeon, equation 5,
    for the layer's own squared error, as in Dong, Chen and Pan 2017, Layer-wise Optimal Brain Surgeon:
    removing wᵢⱼ costs wᵢⱼ² / [H⁻¹]ⱼⱼ once the other weights and the bias have made up for it as well as they
    can, where H is the inputs' covariance: wᵢⱼ² times the variance which all others leave unexplained. Summed
    over i it says which inputs count for more. Where several go at once they cannot stand in for one another
    (of two copies one must stay), so each is then scored given only those that count for more. ``flap`` is
    the same without any help. In convolutions a channel has that of others of its group, at the same
    position.
    """
    moments = needed(state, "input_covariances")
    moments = moments / moments[:, :1, :1].clamp_min(1)
    mean = moments[:, 1:, :1]
    covariances = moments[:, 1:, 1:] - mean @ mean.transpose(1, 2)
    groups, inputs = mean.shape[:2]
    kept = state.mask.reshape(groups, state.mask.shape[0] // groups, inputs, -1).any(3).any(1)
    covariances = covariances * (kept[:, :, None] & kept[:, None, :])
    ridge = OBS_RIDGE * covariances.diagonal(dim1=1, dim2=2).mean().clamp_min(_TINY)
    covariances = covariances + ridge * torch.eye(inputs, dtype=ridge.dtype, device=ridge.device)
    factor, failed = torch.linalg.cholesky_ex(covariances)
    if bool(failed.any()):
        return torch.full_like(state.weight, torch.nan)
    cost = 1 / torch.cholesky_inverse(factor).diagonal(dim1=1, dim2=2) - ridge
    squares = state.weight.reshape(groups, -1, inputs, state.weight[0, 0].numel()).square().sum(dim=(1, 3))
    order = (cost * squares).argsort(dim=1, descending=True)
    sorted_rows = covariances.take_along_dim(order[:, :, None], 1)
    # The squares on a Cholesky factor's diagonal are the variances given all rows before.
    pivots = torch.linalg.cholesky(sorted_rows.take_along_dim(order[:, None, :], 2))
    alone = pivots.diagonal(dim1=1, dim2=2).square() - ridge
    alone = torch.zeros_like(alone).scatter(1, order, alone).clamp_min(0)
    return state.weight.square() * _met(alone.flatten(), state)


def _met(per_channel: Tensor, state: LayerState) -> Tensor:
    """A value per input channel, (in,), at each weight that meets the channel: expandable to the weight."""
    weight, groups = state.weight, state.groups
    # Filters of group k meet the k-th share of the input channels.
    shares = per_channel.to(weight.dtype).view(groups, 1, weight.shape[1])
    met = shares.expand(groups, weight.shape[0] // groups, -1)
    return met.reshape(*weight.shape[:2], *[1] * (weight.dim() - 2))
