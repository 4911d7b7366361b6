"""Torch-Pruning 1.6.1 and fasterai 0.4.1 behind one interface with ours, to compare with.

They are no dependencies of this project; ``peers.txt`` says how to get them into a folder of their own.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsight.prune import Sparsifier, shrink
from sparsight.prune.shrinking.coupling import coupling

Prune = Callable[[nn.Module, Tensor, float], nn.Module]
"""(network, which may be changed; example; fraction of channels to remove) → the smaller network."""


def ours(scope: str, round_to: str | int | None) -> Prune:
    def prune(model: nn.Module, example: Tensor, fraction: float) -> nn.Module:
        found = coupling(model, example)
        with Sparsifier(
            model,
            fraction,
            granularity="filter",
            scope=scope,
            round_to=round_to,
            layers=found.layers,
            coupled=found.coupled,
        ) as sparsifier:
            sparsifier.mask()
        found.silence(model)  # as the peers do, whose channels are cut off with what they still say
        return shrink(model, example, found=found).model

    return prune


def torch_pruning(scope: str, round_to: int | None) -> Prune:
    tp = importlib.import_module("torch_pruning")

    def prune(model: nn.Module, example: Tensor, fraction: float) -> nn.Module:
        head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        pruner = tp.pruner.BasePruner(
            model,
            example,
            importance=tp.importance.GroupMagnitudeImportance(p=1),
            pruning_ratio=fraction,
            global_pruning=scope == "global",
            ignored_layers=[head],
            round_to=round_to,
        )
        pruner.step()
        return model

    return prune


def fasterai(scope: str) -> Prune:
    pruner = importlib.import_module("fasterai.prune.pruner")
    criteria = importlib.import_module("fasterai.core.criteria")

    def prune(model: nn.Module, example: Tensor, fraction: float) -> nn.Module:
        with contextlib.redirect_stdout(io.StringIO()):  # it tells which layers it leaves out
            pruner.Pruner(model, fraction, scope, criteria.large_final, example_inputs=example).prune_model()
        return model

    return prune


def contenders(site: Path | None, multiple: int) -> tuple[dict[str, Prune], dict[str, str]]:
    """Ours and what can be imported of the peers, by name; and why the others cannot.

    Args:
        site: the folder that the peers are in.
        multiple: what widths are rounded to where they are.
    """
    found: dict[str, Prune] = {
        "ours, local": ours("local", None),
        "ours, global": ours("global", None),
        f"ours, local, widths of {multiple}": ours("local", multiple),
        f"ours, global, widths of {multiple}": ours("global", multiple),
    }
    missing: dict[str, str] = {}
    if site is not None:
        # Behind our own packages, so that all run on the same PyTorch and NumPy.
        sys.path.append(str(site))
    warnings.simplefilter("ignore")
    try:
        found["Torch-Pruning, local"] = torch_pruning("local", None)
        found["Torch-Pruning, global"] = torch_pruning("global", None)
        found[f"Torch-Pruning, local, widths of {multiple}"] = torch_pruning("local", multiple)
        found[f"Torch-Pruning, global, widths of {multiple}"] = torch_pruning("global", multiple)
    except ImportError as error:
        missing["Torch-Pruning"] = str(error)
    try:
        _import_torchvision()
        found["fasterai, local"] = fasterai("local")
        found["fasterai, global"] = fasterai("global")
    except (ImportError, RuntimeError) as error:
        missing["fasterai"] = str(error)
    return found, missing


def versions() -> dict[str, str]:
    """Of the peers that are there."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("torch-pruning", "fasterai", "fastai", "torchvision"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


_declared: list[Any] = []


def _import_torchvision() -> None:
    """Import what fasterai imports but does not use here.

    Beside a CPU build of PyTorch, torchvision's compiled operators do not load, and without them it does not
    import: they are declared, with no body.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declared.append(library)  # what a library declares is gone when it is
    for _ in range(100):
        try:
            importlib.import_module("torchvision")
            return
        except RuntimeError as error:
            name = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if name is None:
                raise
            library.define(f"{name[1]}(Tensor x) -> Tensor")
            for loaded in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
                del sys.modules[loaded]
