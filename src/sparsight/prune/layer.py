"""What a criterion may look at: one prunable layer and what was gathered about it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Kinds of layer whose weight can be sparsified."""


@dataclass
class LayerState:
    """One layer under sparsification.

    Attributes:
        name: the module's name in the model.
        module: the layer itself.
        mask: bool, shaped like the weight; False where it is zero.
        initial: the weight when sparsification began, if the criterion needs it, else None.
        previous: the weight when the masks were last chosen, if the criterion needs it, else None.
        gathered: running sums that the criterion asked for, by the names in ``criteria.GATHERERS``.
    """

    name: str
    module: nn.Module
    mask: Tensor
    initial: Tensor | None = None
    previous: Tensor | None = None
    gathered: dict[str, Tensor] = field(default_factory=dict)

    @property
    def weight(self) -> Tensor:
        """The weight now, detached: (out, in / groups, *kernel) for convolutions, (out, in) for Linear."""
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        return weight.detach()

    @property
    def groups(self) -> int:
        """Groups of a convolution; 1 for Linear."""
        return int(getattr(self.module, "groups", 1))


def prunable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Name → module of every layer in ``model`` that can be sparsified, each shared module once."""
    return {name: module for name, module in model.named_modules() if isinstance(module, PRUNABLE)}


def new_state(name: str, module: nn.Module) -> LayerState:
    """The state of a layer nothing of which is masked yet."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return LayerState(name, module, torch.ones_like(weight, dtype=torch.bool))
