"""What is kept of a training run after each epoch: tensors and numbers, nothing that could be executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.nets.weights import fill

if TYPE_CHECKING:
    from sparsight.prune.loop import Masks

_FORMAT = "sparsight training 1"


def save(
    path: Path,
    about: Mapping[str, Any],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    sparsifier: Masks | None,
    history: list[dict[str, Any]],
) -> None:
    """Write all that training needs to go on, at once or not at all.

    Random generators are not in it: the loop seeds them anew for each epoch.
    """
    content = {
        "format": _FORMAT,
        "about": _plain(about),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "sparsifier": None if sparsifier is None else dict(sparsifier.state_dict()),
        "history": history,
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def restore(
    path: Path,
    about: Mapping[str, Any],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    sparsifier: Masks | None,
) -> list[dict[str, Any]]:
    """Put a run back as it was, and give its history.

    Raises:
        SparsightError: a damaged file, or the checkpoint of another run.
    """
    content = read(path)
    kept, wanted = content["about"], _plain(about)
    for name in (*wanted, *kept):
        if kept.get(name) != wanted.get(name):
            raise SparsightError(
                f"{path} is the checkpoint of another run ({name} was {kept.get(name)!r} and is now "
                f"{wanted.get(name)!r}): choose another folder, or start afresh with --fresh."
            )
    fill(model, content["model"], str(path))
    try:
        optimiser.load_state_dict(content["optimiser"])
        if sparsifier is not None:
            sparsifier.load_state_dict(content["sparsifier"])
        history: list[dict[str, Any]] = content["history"]
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise SparsightError(f"{path} does not fit this run ({error}): start afresh with --fresh.") from error
    return history


def read(path: Path) -> dict[str, Any]:
    """What ``save`` wrote.

    Raises:
        SparsightError: not such a file.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise SparsightError(f"{path} cannot be read: {error.strerror or error}.") from error
    # Whatever a damaged file makes the unpickler do, it is the file's fault.
    except Exception as error:
        raise SparsightError(f"{path} is a damaged checkpoint: remove it to start afresh.") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SparsightError(f"{path} is not a checkpoint of this version: remove it to start afresh.")
    return content


def _plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """As it reads back from JSON: tuples and lists are one, paths are text."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(about), default=str))
    return plain
