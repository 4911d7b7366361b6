"""The running sums that criteria ask for while a network trains or sees calibration data."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsight.prune.criteria.criterion import Gatherer
from sparsight.prune.layer import LayerState


def _zeros(state: LayerState) -> Tensor:
    return torch.zeros_like(state.weight, dtype=torch.float32)


def _add_gradient(total: Tensor, state: LayerState, gradient: Tensor) -> Tensor:
    return total.add_(gradient.to(total.dtype))


def _add_gradient_weight(total: Tensor, state: LayerState, gradient: Tensor) -> Tensor:
    return total.addcmul_(gradient.to(total.dtype), state.weight.to(total.dtype))


GATHERERS: dict[str, Gatherer] = {
    "gradient": Gatherer("gradient", _zeros, _add_gradient),
    "gradient_weight": Gatherer("gradient", _zeros, _add_gradient_weight),
}
"""Name → running sum; the names are those of ``Criterion.needs``."""
