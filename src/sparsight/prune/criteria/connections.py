"""Criteria that differentiate the whole network: SNIP, GraSP and SynFlow.

All of them call the model on copies of its parameters and buffers, which are left as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparsight.errors import SparsightError
from sparsight.prune.criteria.criterion import Batches, Loss, arguments, moved
from sparsight.prune.layer import LayerState


def snip(
    model: nn.Module, states: Sequence[LayerState], batches: Batches | None, loss: Loss | None
) -> dict[str, Tensor]:
    """|∂L/∂c| / Σ|∂L/∂c| for a mask c at one, where ∂L/∂c = g · w.

    Lee et al. 2019, SNIP: Single-shot Network Pruning based on Connection Sensitivity; the gradient is
    summed over the batches.
    """
    weights = _leaves(states)
    gradients = _nothing(weights)
    with torch.enable_grad():
        for value in _losses("snip", model, states, weights, batches, loss):
            _add(gradients, _gradients(value, weights))
    scores = [(weight.detach() * gradient).abs() for weight, gradient in zip(weights, gradients, strict=True)]
    whole = torch.stack([score.sum() for score in scores]).sum().clamp_min(_TINY)
    return {state.name: score / whole for state, score in zip(states, scores, strict=True)}


def grasp(
    model: nn.Module, states: Sequence[LayerState], batches: Batches | None, loss: Loss | None
) -> dict[str, Tensor]:
    """w · (H g), signed: half of what removing the weight takes from the gradient's squared norm.

    Wang et al. 2020, Picking Winning Tickets Before Training by Preserving Gradient Flow: the highest
    of S(−θ) = −θ ⊙ Hg go; here it is the negative, as higher means keep. g and H are those of the mean loss
    over the batches, which are gone through twice.
    """
    weights = _leaves(states)
    batches = None if batches is None else list(batches)
    gradients, products = _nothing(weights), _nothing(weights)
    with torch.enable_grad():
        for value in _losses("grasp", model, states, weights, batches, loss):
            _add(gradients, _gradients(value, weights))
        for value in _losses("grasp", model, states, weights, batches, loss):
            here = _gradients(value, weights, create_graph=True)
            along = torch.stack([(a * b).sum() for a, b in zip(here, gradients, strict=True)]).sum()
            _add(products, _gradients(along, weights))
    count = len(batches or ())
    return {
        state.name: weight.detach() * product / count**2
        for state, weight, product in zip(states, weights, products, strict=True)
    }


def synflow(
    model: nn.Module, states: Sequence[LayerState], batches: Batches | None, loss: Loss | None
) -> dict[str, Tensor]:
    """(∂R/∂|w|) · |w| / R, where R is the sum of the outputs for an input of ones and |w| for weights.

    Tanaka et al. 2020, Pruning neural networks without any data by iteratively conserving synaptic flow.
    R is a product of weights, so what is added (biases, means of batch norms) is left out; then
    the scores of each layer that every path crosses sum to one. Only the shape of the first batch is looked
    at, and a model with an ``input_shape`` needs no batch. The iteration of algorithm 1 comes of choosing
    masks again and again on the way to the target: every choice is made on the flow that is left.
    """
    weights = [(state.weight * state.mask).double().abs().requires_grad_() for state in states]
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    linear = {name: _without_sign(name, value) for name, value in held.items()} | _named(states, weights)
    with torch.enable_grad(), _evaluating(model):
        flow = _sum(functional_call(model, linear, _ones(model, batches, weights[0].device)))
        gradients = _gradients(flow, weights)
    # Divided before it is made single again: the flow through a deep network exceeds its range.
    whole = flow.detach().clamp_min(torch.finfo(flow.dtype).tiny)
    return {
        state.name: (weight.detach() * gradient / whole).float()
        for state, weight, gradient in zip(states, weights, gradients, strict=True)
    }


_TINY = torch.finfo(torch.float32).tiny


def _leaves(states: Sequence[LayerState]) -> list[Tensor]:
    return [(state.weight * state.mask).requires_grad_() for state in states]


def _nothing(weights: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(weight, requires_grad=False) for weight in weights]


def _add(totals: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for total, value in zip(totals, values, strict=True):
        total.add_(value)


def _named(states: Sequence[LayerState], weights: Sequence[Tensor]) -> dict[str, Tensor]:
    # A model that is itself a layer has no name.
    return {f"{state.name}.weight".lstrip("."): weight for state, weight in zip(states, weights, strict=True)}


def _gradients(value: Tensor, weights: Sequence[Tensor], *, create_graph: bool = False) -> list[Tensor]:
    found = torch.autograd.grad(value, list(weights), create_graph=create_graph, materialize_grads=True)
    return list(found)


def _losses(
    name: str,
    model: nn.Module,
    states: Sequence[LayerState],
    weights: Sequence[Tensor],
    batches: Batches | None,
    loss: Loss | None,
) -> Iterator[Tensor]:
    """The loss on each batch as a function of ``weights``."""
    needs = (
        f"criterion {name!r} needs calibration batches of (inputs, targets) and a loss: give the sparsifier"
    )
    if batches is None or loss is None:
        raise SparsightError(f"{needs} both, as calibration=... and loss=....")
    device = weights[0].device
    empty = True
    for inputs, targets in batches:
        empty = False
        # Copies of the buffers: a batch norm in training mode writes to its own.
        held = {name: value.detach() for name, value in model.named_parameters()}
        held |= {name: value.clone() for name, value in model.named_buffers()}
        outputs = functional_call(model, held | _named(states, weights), arguments(inputs, device))
        yield loss(outputs, moved(targets, device))
    if empty:
        raise SparsightError(f"{needs} at least one batch.")


def _ones(model: nn.Module, batches: Batches | None, device: torch.device) -> tuple[Any, ...]:
    """The model's inputs, one sample, all ones in double precision."""
    for inputs, _ in batches or ():
        return tuple(
            torch.ones_like(part[:1], dtype=torch.float64) if torch.is_floating_point(part) else part[:1]
            for part in arguments(inputs, device)
        )
    shape = getattr(model, "input_shape", None)
    if shape is None:
        raise SparsightError(
            "criterion 'synflow' needs the shape of the model's input: give the sparsifier calibration=... "
            "with one batch of (inputs, targets)."
        )
    return (torch.ones(1, *shape, dtype=torch.float64, device=device),)


def _without_sign(name: str, value: Tensor) -> Tensor:
    value = value.detach()
    if not torch.is_floating_point(value):
        return value.clone()
    if name.rpartition(".")[2] in ("bias", "running_mean"):
        return torch.zeros_like(value, dtype=torch.float64)
    return value.double().abs()


def _sum(outputs: Any) -> Tensor:
    """The sum over all tensors that a model returned."""
    if isinstance(outputs, Tensor):
        return outputs.sum()
    parts = outputs.values() if isinstance(outputs, Mapping) else outputs
    return torch.stack([_sum(part) for part in parts]).sum()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
