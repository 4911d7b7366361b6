"""What a training run came to: accuracy, what is left of each layer, and what it costs before and after."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparsight import __version__, nets
from sparsight.nets.export import export
from sparsight.prune.layer import prunable_layers
from sparsight.prune.loop import Epoch
from sparsight.prune.profiling import Latency, Profile, interleave, profile, session_call
from sparsight.prune.saved import Recipe
from sparsight.prune.sparsity import LayerSparsity

if TYPE_CHECKING:
    from sparsight.prune.training import RunOptions

LATENCY_BATCHES = (1, 64)
"""Samples in the batches that are timed."""

_TIMED_ROUNDS = 30
_TIMED_SECONDS = 20.0


@dataclass(frozen=True)
class LayerFilters:
    """What is left of a layer's filters.

    Attributes:
        name: in the model.
        kept: for each filter, whether any of its weights is not zero.
        strength: for each filter, the L2 norm of its weights over the largest in the layer.
        pictures: of a first convolution, its filters (O, I, k, k) before anything was removed for real.
    """

    name: str
    kept: tuple[bool, ...]
    strength: tuple[float, ...]
    pictures: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        options: what was asked.
        sparsity: what was removed towards: the one asked for, or found for a latency.
        classes: names, in the order of the outputs.
        numerics: precision and layout that the training used.
        history: of each epoch.
        dense_history: likewise of the dense network, if one was trained.
        start_accuracy: of the weights that training began from, if any were given.
        accuracy: of the network that is saved.
        layers: sparsity of each layer before shrinking.
        shortfall: see ``SparsityReport.shortfall``.
        filters: of each layer before shrinking.
        removed: layer → channels that are gone.
        kept: layer → channels that are left.
        skipped: (layer, reason) where something zero could not be removed.
        before: cost of the network before pruning.
        after: cost of the network that is saved.
        files: what was written.
    """

    options: RunOptions
    sparsity: float
    classes: tuple[str, ...]
    numerics: tuple[str, str]
    history: tuple[Epoch, ...]
    dense_history: tuple[Epoch, ...]
    start_accuracy: float | None
    accuracy: float
    layers: tuple[LayerSparsity, ...]
    shortfall: str
    filters: tuple[LayerFilters, ...]
    removed: Mapping[str, int]
    kept: Mapping[str, int]
    skipped: tuple[tuple[str, str], ...]
    before: Profile
    after: Profile
    files: tuple[Path, ...]


def compare(
    dense: nn.Module, file: Path, small: nn.Module, input_shape: tuple[int, int, int]
) -> tuple[Profile, Profile]:
    """What two networks cost, in ONNX Runtime, timed turn by turn.

    Args:
        dense: one of them.
        file: the other, exported.
        small: the other.
        input_shape: channels, height, width of the input of both.
    """
    sessions = {
        "before": nets.Session(dense, "cpu", input_shape=input_shape),
        "after": nets.Session(file, "cpu", input_shape=input_shape),
    }
    calls = {
        (which, batch): session_call(session, batch)
        for batch, (which, session) in itertools.product(LATENCY_BATCHES, sessions.items())
    }
    times = interleave(calls, _TIMED_ROUNDS, _TIMED_SECONDS)

    def measured(which: str, model: nn.Module, size: int) -> Profile:
        latency = {batch: Latency.of(times[which, batch]) for batch in LATENCY_BATCHES}
        counted = profile(model, input_shape, batches=())
        return replace(counted, bytes=size, latency=latency, runtime="onnxruntime", device="cpu")

    return (
        measured("before", dense, len(export(dense, input_shape))),
        measured("after", small, file.stat().st_size),
    )


def layer_filters(model: nn.Module) -> list[LayerFilters]:
    """What is left of the filters of each prunable layer of ``model``."""
    rows = []
    for index, (name, module) in enumerate(prunable_layers(model).items()):
        weight = module.weight
        assert isinstance(weight, Tensor)
        flat = weight.detach().flatten(1).float().cpu()
        norms = flat.norm(dim=1)
        strength = norms / norms.max().clamp_min(torch.finfo(torch.float32).tiny)
        pictures = None
        if index == 0 and weight.ndim == 4 and weight.shape[1] in (1, 3) and weight.shape[2] > 1:
            pictures = weight.detach().float().cpu().numpy()
        rows.append(LayerFilters(name, tuple((norms > 0).tolist()), tuple(strength.tolist()), pictures))
    return rows


def with_recipe(data: bytes, recipe: Recipe) -> bytes:
    """An ONNX file that also says how to prepare its input and what its outputs mean."""
    model = onnx.load_from_string(data)
    about = {
        "input": f"{recipe.colours} in 0..1, minus mean, over std",
        "mean": json.dumps(recipe.mean),
        "std": json.dumps(recipe.std),
        "classes": json.dumps(recipe.classes),
        "network": recipe.network,
    }
    onnx.helper.set_model_props(model, about)
    written: bytes = model.SerializeToString()
    return written


def summary(result: RunResult) -> dict[str, Any]:
    """The result in types that JSON knows."""
    return {
        "sparsight": __version__,
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(result.options).items()},
        "sparsity": result.sparsity,
        "precision": result.numerics[0],
        "layout": result.numerics[1],
        "classes": list(result.classes),
        "start_accuracy": result.start_accuracy,
        "accuracy": result.accuracy,
        "dense_accuracy": result.dense_history[-1].accuracy if result.dense_history else None,
        "history": [asdict(epoch) for epoch in result.history],
        "dense_history": [asdict(epoch) for epoch in result.dense_history],
        "layers": [asdict(row) for row in result.layers],
        "shortfall": result.shortfall,
        "removed": dict(result.removed),
        "kept": dict(result.kept),
        "skipped": [{"name": name, "reason": reason} for name, reason in result.skipped],
        "before": asdict(result.before),
        "after": asdict(result.after),
    }
