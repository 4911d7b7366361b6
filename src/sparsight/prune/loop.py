"""The training loop: 1cycle, sparser at every step, a checkpoint after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparsight.errors import SparsightError
from sparsight.prune import checkpoint
from sparsight.prune.datasets import Batches
from sparsight.prune.devices import Engine
from sparsight.registry import lookup

OPTIMISERS = ("adam", "adamw", "sgd")

_WARM = 0.3
_START_DIVISOR = 25
_END_DIVISOR = 1e4
_MOMENTUM = (0.95, 0.85)


@dataclass(frozen=True)
class LoopOptions:
    """How to train.

    Attributes:
        epochs: passes over the training images.
        lr: highest learning rate of the cycle.
        optimiser: one of ``OPTIMISERS``.
        weight_decay: of the optimiser.
        seed: of the order of the images, their augmentation and dropout.
    """

    epochs: int
    lr: float = 1e-3
    optimiser: str = "adamw"
    weight_decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        lr: learning rate at its end.
        loss: mean cross-entropy over the training batches.
        test_loss: mean cross-entropy on the test images.
        accuracy: share of the test images that are right.
        sparsity: share of the prunable weights that are zero at its end.
        seconds: it took, the test included.
    """

    number: int
    lr: float
    loss: float
    test_loss: float
    accuracy: float
    sparsity: float
    seconds: float


class Masks(Protocol):
    """What the loop asks of a ``Sparsifier``."""

    def step(self, progress: float) -> Any:
        """Set the sparsity of ``progress`` in [0, 1]."""

    def state_dict(self) -> Mapping[str, Any]:
        """What a checkpoint keeps of it."""

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Put it back."""


def one_cycle_lr(t: float) -> tuple[float, float]:
    """The 1cycle policy at progress ``t`` in [0, 1]: learning rate and momentum.

    The rate rises along a cosine from 1/25 of its peak to the peak at 0.3, then falls along a cosine to
    1/250,000 of it; momentum (or Adam's β₁) goes from 0.95 to 0.85 and back. Source: Smith and Topin,
    *Super-Convergence* (arXiv 1708.07120); constants and cosines as in PyTorch's ``OneCycleLR``.

    Returns:
        Share of the peak learning rate, and momentum.
    """
    start, end = 1 / _START_DIVISOR, 1 / (_START_DIVISOR * _END_DIVISOR)
    if t <= _WARM:
        return _cosine(start, 1, t / _WARM), _cosine(*_MOMENTUM, t / _WARM)
    down = (t - _WARM) / (1 - _WARM)
    return _cosine(1, end, down), _cosine(*_MOMENTUM[::-1], down)


def fit(
    model: nn.Module,
    train: Batches,
    test: Batches,
    options: LoopOptions,
    engine: Engine,
    *,
    sparsifier: Masks | None = None,
    saved: Path | None = None,
    about: Mapping[str, Any] | None = None,
    watch: Callable[[int, int, Epoch | None], None] | None = None,
) -> list[Epoch]:
    """Train ``model`` in place, on the engine's device already, along one cycle.

    Args:
        model: the network.
        train: batches to learn from.
        test: batches to measure on after each epoch.
        options: how.
        engine: where.
        sparsifier: made for ``model``; stepped after every step of the optimiser.
        saved: a file kept up to date after each epoch; if it is there, training goes on from it.
        about: what the run depends on, by name; a file of another run is refused.
        watch: called after every step with the steps done, all steps, and the epoch that just ended, if one.

    Raises:
        SparsightError: an option out of range, a file of another run, or a loss that is not a number.
    """
    _check(options)
    optimiser = _optimiser(model, options)
    called, stepped = engine.prepare(model, optimiser)
    about = {**asdict(options), **(about or {})}
    rows: list[Epoch] = []
    if saved is not None and saved.is_file():
        rows = [Epoch(**row) for row in checkpoint.restore(saved, about, model, optimiser, sparsifier)]
    total = options.epochs * len(train)
    for epoch in range(len(rows), options.epochs):
        begin = time.perf_counter()
        # Everything random in an epoch follows from its number, so that none of it needs to be saved.
        torch.manual_seed((options.seed * 1_000_003 + epoch) * 1_009 + engine.rank)
        losses = torch.zeros((), device=engine.device)
        model.train()
        for index, (images, labels) in enumerate(train.shuffled(epoch)):
            step = epoch * len(train) + index
            _set_rate(optimiser, options.lr, step / max(1, total - 1))
            with engine.autocast():
                logits = called(images)
            loss = functional.cross_entropy(logits.float(), labels)
            optimiser.zero_grad(set_to_none=True)
            engine.backward(loss)
            stepped.step()
            if sparsifier is not None:
                sparsifier.step((step + 1) / total)
            losses += loss.detach()
            if watch is not None and index + 1 < len(train):
                watch(step + 1, total, None)
        mean = float(engine.total(losses)) / (len(train) * engine.world)
        if not math.isfinite(mean):
            raise SparsightError(
                f"training went astray in epoch {epoch + 1}: the loss is {mean}; lower the learning rate "
                f"(now {options.lr:g})."
            )
        test_loss, accuracy = evaluate(model, test, engine)
        rows.append(
            Epoch(
                epoch + 1,
                optimiser.param_groups[0]["lr"],
                mean,
                test_loss,
                accuracy,
                weight_sparsity(model),
                time.perf_counter() - begin,
            )
        )
        if saved is not None and engine.rank == 0:
            checkpoint.save(saved, about, model, optimiser, sparsifier, [asdict(row) for row in rows])
        engine.barrier()
        if watch is not None:
            watch((epoch + 1) * len(train), total, rows[-1])
    return rows


def evaluate(model: nn.Module, test: Batches, engine: Engine) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of ``model`` over ``test``, in full precision.

    The network is left in evaluation mode.
    """
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64)
    with torch.inference_mode():
        for images, labels in test.ordered():
            logits = model(images)
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            right = (logits.argmax(1) == labels).sum()
            sums += torch.stack(
                (loss.double(), right.double(), torch.full_like(loss, len(labels)).double())
            ).cpu()
    loss_sum, right_sum, count = engine.total(sums.to(engine.device)).tolist()
    return loss_sum / count, right_sum / count


def weight_sparsity(model: nn.Module) -> float:
    """Share of the prunable layers' weights that are exactly zero."""
    from sparsight.prune.layer import prunable_layers

    weights = [module.weight for module in prunable_layers(model).values()]
    zeros = sum(int((weight == 0).sum()) for weight in weights if isinstance(weight, Tensor))
    return zeros / max(1, sum(weight.numel() for weight in weights if isinstance(weight, Tensor)))


def _cosine(start: float, end: float, t: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2


def _check(options: LoopOptions) -> None:
    lookup("optimiser", options.optimiser, dict.fromkeys(OPTIMISERS))
    if options.epochs < 1:
        raise SparsightError(f"training cannot take {options.epochs} epochs: give at least 1.")
    if not 0 < options.lr < math.inf:
        raise SparsightError(
            f"the learning rate cannot be {options.lr}: give a positive number, such as 1e-3."
        )
    if not 0 <= options.weight_decay < math.inf:
        raise SparsightError(f"the weight decay cannot be {options.weight_decay}: give 0 or more.")


def _optimiser(model: nn.Module, options: LoopOptions) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if options.optimiser == "sgd":
        return torch.optim.SGD(parameters, options.lr, momentum=0.9, weight_decay=options.weight_decay)
    kind = torch.optim.AdamW if options.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, options.lr, weight_decay=options.weight_decay)


def _set_rate(optimiser: torch.optim.Optimizer, peak: float, t: float) -> None:
    share, momentum = one_cycle_lr(t)
    for group in optimiser.param_groups:
        group["lr"] = peak * share
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum
