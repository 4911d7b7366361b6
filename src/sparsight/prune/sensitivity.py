"""How much accuracy each layer costs: prune it alone, by ever more, and look."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from sparsight.errors import SparsightError
from sparsight.prune.criteria import CRITERIA
from sparsight.prune.datasets import Batches
from sparsight.prune.devices import Engine
from sparsight.prune.loop import evaluate
from sparsight.prune.selection import Layers
from sparsight.prune.sparsifier import Sparsifier
from sparsight.registry import lookup

SPARSITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

_CALIBRATION_BATCHES = 4


@dataclass(frozen=True)
class Sensitivity:
    """Accuracy against sparsity, layer by layer.

    Attributes:
        accuracy: of the network as it is.
        sparsities: tried, ascending from 0.
        accuracies: layer → accuracy at each of them, all other layers as they are.
        suggested: layer → highest sparsity at which no more than ``drop`` is lost.
        drop: accuracy that may be lost.
        granularity: what was cut.
        criterion: what decided.
    """

    accuracy: float
    sparsities: tuple[float, ...]
    accuracies: Mapping[str, tuple[float, ...]]
    suggested: Mapping[str, float]
    drop: float
    granularity: str
    criterion: str


def sensitivity(
    model: nn.Module,
    batches: Batches,
    engine: Engine,
    *,
    granularity: str = "filter",
    criterion: str = "l1",
    layers: Layers | None = None,
    sparsities: Sequence[float] = SPARSITIES,
    drop: float = 0.01,
    watch: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Prune each layer alone, without training, and measure the whole network.

    Args:
        model: a trained network, on the engine's device; the same after as before.
        batches: images to measure on, and to calibrate criteria that need it.
        engine: where.
        granularity: as for ``Sparsifier``.
        criterion: as for ``Sparsifier``.
        layers: as for ``Sparsifier``.
        sparsities: to try, each in (0, 1).
        drop: accuracy that may be lost, for the suggestions.
        watch: told how many of how many measurements are done.

    Raises:
        SparsightError: settings that cannot be, a drop out of range.
    """
    if not 0 <= drop < 1:
        raise SparsightError(f"the accuracy that may be lost cannot be {drop}: give a share such as 0.01.")
    if not sparsities or not all(0 < value < 1 for value in sparsities):
        raise SparsightError("sparsities to try are numbers between 0 and 1, such as 0.5 and 0.9.")
    tried = sorted(set(sparsities))
    chosen = lookup("criterion", criterion, CRITERIA)
    calibration = None
    if chosen.needs - {"initial", "previous"} or chosen.prepare is not None:
        calibration = list(itertools.islice(batches.ordered(), _CALIBRATION_BATCHES))
    options = {"granularity": granularity, "criterion": chosen, "calibration": calibration}
    if calibration is not None:
        options["loss"] = functional.cross_entropy
    with Sparsifier(model, tried[0], layers=layers, granularity=granularity) as sparsifier:
        names = list(sparsifier.masks)
    base = evaluate(model, batches, engine)[1]
    modules = dict(model.named_modules())
    accuracies: dict[str, tuple[float, ...]] = {}
    done = 0
    for name in names:
        weight = modules[name].weight
        assert isinstance(weight, torch.Tensor)
        whole = weight.detach().clone()
        values = [base]
        for value in tried:
            with Sparsifier(model, value, layers=[name], **options) as sparsifier:  # type: ignore[arg-type]
                sparsifier.mask()
                values.append(evaluate(model, batches, engine)[1])
            with torch.no_grad():
                weight.copy_(whole)
            done += 1
            if watch is not None:
                watch(done, len(names) * len(tried))
        accuracies[name] = tuple(values)
    return Sensitivity(
        base,
        (0.0, *tried),
        accuracies,
        {name: highest((0.0, *tried), values, base - drop) for name, values in accuracies.items()},
        drop,
        granularity,
        chosen.name,
    )


def highest(sparsities: Sequence[float], accuracies: Sequence[float], least: float) -> float:
    """The sparsity up to which the accuracy stays at ``least`` or above, lines drawn between the points."""
    for (low, before), (high, after) in itertools.pairwise(zip(sparsities, accuracies, strict=True)):
        if after < least:
            return low + (high - low) * (before - least) / (before - after)
    return sparsities[-1]
