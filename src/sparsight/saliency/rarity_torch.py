"""Rarity in PyTorch, for features that lie on a GPU and should stay there."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsight.saliency.rarity import BELOW_ONE, EPSILON, TINY

_BLOCK = 1 << 24  # values handled at once: 128 MiB of their places


def rarity_map_torch(features: Tensor, *, bins: int = 11, border: int = 1) -> Tensor:
    """As ``rarity.rarity_map``, on the device that ``features`` lie on.

    Args:
        features: (C, H, W) float32.
        bins: number of histogram bins.
        border: width in pixels of the border that is ignored.

    Returns:
        (H, W) float32 on the same device.
    """
    height, width = features.shape[1:]
    total = torch.zeros(height, width, device=features.device)
    inner = total[border : height - border, border : width - border]
    if min(height, width) > 2 * border:
        step = max(1, _BLOCK // inner.numel())
        for start in range(0, len(features), step):
            part = features[start : start + step, border : height - border, border : width - border]
            inner += _sum(part.flatten(1), bins, border, height * width).view_as(inner)
    return total


def _sum(values: Tensor, bins: int, border: int, size: int) -> Tensor:
    """What the channels (C, pixels inside the border) add, of ``size`` pixels in all."""
    rows = torch.arange(len(values), device=values.device)
    low, high = values.amin(1), values.amax(1)
    if border:  # the border's zeros are among the extremes
        low, high = low.clamp(max=0), high.clamp(min=0)
    scale = bins * BELOW_ONE / (high - low).clamp(min=TINY)
    codes = ((values - low[:, None]) * scale[:, None]).long()
    zero = ((-low).clamp(min=0).minimum(high - low) * scale).long()
    codes += bins * rows[:, None]
    inner = torch.bincount(codes.flatten(), minlength=len(values) * bins).view(-1, bins).float()
    counts = inner.clone()
    counts[rows, zero] += size - values.shape[1]
    rarity = -(counts / size + EPSILON).log()
    r = (rarity - rarity.amin(1, keepdim=True)) * (counts > 0)
    r = r / r.amax(1, keepdim=True).clamp(min=TINY)
    r = r * (1 - (r * counts).sum(1, keepdim=True) / size) ** 2
    q = r**2 * (inner > 0)
    top = q.amax(1, keepdim=True)
    table = (top - (q * inner).sum(1, keepdim=True) / size) ** 2 * q / top.clamp(min=TINY)
    return table.flatten()[codes].sum(0)
