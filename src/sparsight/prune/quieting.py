"""A removed filter gives nothing at all: its bias and its batch norm's shift go with its weights.

A filter whose weights are zero still carries a constant, its bias through batch norm and activation. Past the
zero padding of the next convolution that constant is not one number any more, so a channel would have to stay
to carry it, and widths that were rounded to a good multiple would end one above it. Kept at zero while the
network trains, it is nothing that anybody learns to rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsight.prune.sparsifier import Sparsifier


class Quieted:
    """A sparsifier that, where whole filters go, also silences what is left of them after every step.

    Args:
        sparsifier: made for ``model``, with a granularity that removes filters.
        model: what is trained.
        norms: batch norm → the layer that it alone follows, as ``fold_batchnorm`` finds them.
    """

    def __init__(self, sparsifier: Sparsifier, model: nn.Module, norms: Mapping[str, str]) -> None:
        self._sparsifier = sparsifier
        modules = dict(model.named_modules())
        norm_of = {layer: modules[norm] for norm, layer in norms.items()}
        self._layers = [(name, modules[name], norm_of.get(name)) for name in sparsifier.masks]
        self._seen: dict[str, tuple[Tensor, int, Tensor]] = {}

    def step(self, progress: float | None = None) -> None:
        """See ``Sparsifier.step``."""
        self._sparsifier.step(progress)
        masks = self._sparsifier.masks
        with torch.no_grad():
            for name, layer, norm in self._layers:
                dead = self._dead(name, masks[name])
                if len(dead):
                    for owner in (layer, norm):
                        _zero(owner, "bias", dead)
                    _zero(norm, "running_mean", dead)

    def state_dict(self) -> Mapping[str, Any]:
        """See ``Sparsifier.state_dict``."""
        return self._sparsifier.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See ``Sparsifier.load_state_dict``."""
        self._sparsifier.load_state_dict(state)

    def _dead(self, name: str, mask: Tensor) -> Tensor:
        """Indices of the filters that ``mask`` removes, looked up anew only when it has changed."""
        seen = self._seen.get(name)
        if seen is None or seen[0] is not mask or seen[1] != mask._version:
            dead = (~mask.flatten(1).any(1)).nonzero()[:, 0]
            self._seen[name] = seen = (mask, mask._version, dead)
        return seen[2]


def _zero(owner: nn.Module | None, attribute: str, indices: Tensor) -> None:
    tensor = getattr(owner, attribute, None)
    if isinstance(tensor, Tensor):
        tensor.index_fill_(0, indices.to(tensor.device), 0)
