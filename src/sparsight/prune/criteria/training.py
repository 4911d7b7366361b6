"""Criteria fed by what passes through the layer while the network trains, or sees calibration data."""

from __future__ import annotations

from torch import Tensor

from sparsight.prune.criteria.criterion import needed, over_weights
from sparsight.prune.layer import LayerState


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


def _met(per_channel: Tensor, state: LayerState) -> Tensor:
    """A value per input channel, (in,), at each weight that meets the channel: expandable to the weight."""
    weight, groups = state.weight, state.groups
    # Filters of group k meet the k-th share of the input channels.
    shares = per_channel.to(weight.dtype).view(groups, 1, weight.shape[1])
    met = shares.expand(groups, weight.shape[0] // groups, -1)
    return met.reshape(*weight.shape[:2], *[1] * (weight.dim() - 2))
