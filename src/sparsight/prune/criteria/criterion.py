"""What a criterion is: a function from a layer's state to a score per weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sparsight.errors import SparsightError
from sparsight.prune.layer import LayerState

Batches = Iterable[tuple[Any, Any]]
"""Calibration data: (inputs, targets), where inputs is a tensor or a tuple of tensors given to the model."""

Loss = Callable[[Any, Any], Tensor]
"""``loss(outputs, targets)`` → scalar."""

Score = Callable[[LayerState], Tensor]
"""``score(state)`` → tensor shaped like the weight; the higher, the more it is kept."""

Prepare = Callable[[nn.Module, Sequence[LayerState], Batches | None, Loss | None], Mapping[str, Tensor]]
"""``prepare(model, states, batches, loss)`` → what the criterion computed for each layer, by its name."""

PREPARED = "prepared"
"""Where the sparsifier puts what ``prepare`` returned for a layer: ``state.gathered[PREPARED]``."""


@dataclass(frozen=True)
class Gatherer:
    """A running sum over what passes through a layer.

    Attributes:
        kind: what ``update`` is given as ``value``: the gradient of the layer's weight ("gradient": once
            after every backward pass, before the optimiser moves the weight), its input ("input") or its
            output ("output": both once per forward pass, detached).
        start: the sum before anything was seen, on the weight's device.
        update: (sum, state, value) → the new sum; ``sum`` may be changed in place and must not be used again.
    """

    kind: Literal["gradient", "input", "output"]
    start: Callable[[LayerState], Tensor]
    update: Callable[[Tensor, LayerState, Tensor], Tensor]


@dataclass(frozen=True)
class Criterion:
    """How worth keeping each weight is.

    Attributes:
        name: what users call it.
        score: state → tensor shaped like the weight; the higher, the more it is kept (negative allowed).
            A block is scored by the mean over its weights; a score of whole filters is spread over them.
        needs: what must be in the state: "initial", "previous" or names in ``GATHERERS``.
        prepare: computes something for all layers at once; its result is found in
            ``state.gathered[PREPARED]``. Called once before training, or, with ``every_time``, whenever masks
            are about to be chosen.
        every_time: see ``prepare``.
    """

    name: str
    score: Score
    needs: frozenset[str] = frozenset()
    prepare: Prepare | None = None
    every_time: bool = False


def needed(state: LayerState, name: str) -> Tensor:
    """What was gathered under ``name``.

    Raises:
        SparsightError: nothing was gathered yet.
    """
    try:
        return state.gathered[name]
    except KeyError:
        raise SparsightError(
            f"layer {state.name!r} has no {name!r} to score its weights by, since the model was not trained "
            "since the sparsifier was made: run a training step first (forward passes in evaluation mode and "
            "without gradients do not count), or give the sparsifier calibration batches."
        ) from None


def prepared(state: LayerState) -> Tensor:
    """The score of criteria that are computed for all layers at once."""
    return needed(state, PREPARED)


def over_weights(per_filter: Tensor, state: LayerState) -> Tensor:
    """Spread one score per filter, (O,), over the filters' weights: a view shaped like the weight."""
    weight = state.weight
    return per_filter.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1)).expand_as(weight)


def moved(value: Any, device: torch.device) -> Any:
    """Tensors in nested tuples, lists and mappings, on ``device``; all else as it is."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved(part, device) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(moved(part, device) for part in value)
    return value


def arguments(inputs: Any, device: torch.device) -> tuple[Any, ...]:
    """The inputs of ``Batches`` as a model takes them, on its device."""
    return tuple(moved(part, device) for part in (inputs if isinstance(inputs, (tuple, list)) else (inputs,)))
