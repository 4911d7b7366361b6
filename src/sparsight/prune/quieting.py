"""A removed filter gives nothing at all: its bias and its batch norm go with its weights.

A filter whose weights are zero still carries a constant, its bias through batch norm and activation. Past the
zero padding of the next convolution that constant is not one number any more, so a channel would have to stay
to carry it, and widths that were rounded to a good multiple would end one above it. Kept at zero while the
network trains, it is nothing that anybody learns to rely on.

The scale of a batch norm goes only at the end: a filter that a criterion takes back could not learn past
one of zero. Until then what is left of the constant is the memory of earlier means, which fades.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sparsight.prune.shrinking.coupling import Coupling
from sparsight.prune.sparsifier import Sparsifier


class Quieted:
    """A sparsifier that, where whole filters go, also silences what is left of them after every step.

    Args:
        sparsifier: made for ``model``, with a granularity that removes filters.
        model: what is trained.
        found: which of its biases and norms speak for which filters.
    """

    def __init__(self, sparsifier: Sparsifier, model: nn.Module, found: Coupling) -> None:
        self._sparsifier = sparsifier
        self._model = model
        self._found = found
        self._seen: list[tuple[Tensor, int]] = []
        self._shifts: list[tuple[Tensor, Tensor]] = []

    def step(self, progress: float) -> None:
        """See ``Sparsifier.step``; the last step is that of progress 1."""
        self._sparsifier.step(progress)
        masks = [(mask, mask._version) for mask in self._sparsifier.masks.values()]
        if not self._is_seen(masks):
            self._seen = masks
            parameters = dict(self._model.named_parameters())
            self._shifts = [
                (parameters[name], indices.to(parameters[name].device))
                for name, indices in self._found.voices(self._model).items()
                if name.endswith("bias")
            ]
        with torch.no_grad():
            for shift, indices in self._shifts:
                shift.index_fill_(0, indices, 0)
        if progress >= 1:
            self._found.silence(self._model)

    def state_dict(self) -> Mapping[str, Any]:
        """See ``Sparsifier.state_dict``."""
        return self._sparsifier.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See ``Sparsifier.load_state_dict``."""
        self._sparsifier.load_state_dict(state)

    def _is_seen(self, masks: list[tuple[Tensor, int]]) -> bool:
        """Whether the masks are the same tensors, unchanged since."""
        return len(masks) == len(self._seen) and all(
            mask is old and version == then
            for (mask, version), (old, then) in zip(masks, self._seen, strict=True)
        )
