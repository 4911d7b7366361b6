"""Sparsification inside PyTorch Lightning's and Hugging Face's own training loops.

Both are optional: neither is imported before its callback is asked for.
"""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsight.errors import SparsightError
from sparsight.files import replacing
from sparsight.prune.sparsifier import Sparsifier

FILE = "sparsifier.pt"
"""What the Trainer's checkpoints hold of the sparsifier."""


def lightning_callback(sparsity: float, **options: Any) -> Any:
    """A Lightning ``Callback`` that sparsifies the module while ``Trainer.fit`` runs.

    Its state is part of Lightning's checkpoints. Its attribute ``sparsifier`` is the ``Sparsifier``, None
    before training.

    Args:
        sparsity: as for ``Sparsifier``.
        options: likewise, without ``total_steps``, which the trainer knows.

    Raises:
        SparsightError: Lightning is not installed.
    """
    base = _imported(("lightning.pytorch", "pytorch_lightning"), "Callback", "pip install lightning")

    class SparsifyCallback(base):  # type: ignore[misc, valid-type]
        """Steps a sparsifier once for each optimiser step."""

        sparsifier: Sparsifier | None = None

        def __init__(self) -> None:
            super().__init__()
            self._saved: dict[str, Any] | None = None
            self._stepped = 0

        def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
            self._total = trainer.estimated_stepping_batches
            if not math.isfinite(self._total):
                raise SparsightError("the schedule needs an end: give Trainer max_epochs or max_steps.")
            self.sparsifier = Sparsifier(pl_module, sparsity, **options)
            if self._saved is not None:
                self.sparsifier.load_state_dict(self._saved)
                self._saved = None
            self._stepped = trainer.global_step

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            # Batches whose gradients are only added up take no step.
            if self.sparsifier is not None and trainer.global_step > self._stepped:
                self._stepped = trainer.global_step
                self.sparsifier.step(min(self._stepped / self._total, 1.0))

        def on_train_end(self, *_: Any) -> None:
            if self.sparsifier is not None:
                self.sparsifier.remove()

        def state_dict(self) -> dict[str, Any]:
            return {} if self.sparsifier is None else self.sparsifier.state_dict()

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self._saved = state_dict or None

    return SparsifyCallback()


def trainer_callback(sparsity: float, **options: Any) -> Any:
    """A Hugging Face ``TrainerCallback`` that sparsifies the model while ``Trainer.train`` runs.

    Its state is the file ``sparsifier.pt`` in the Trainer's checkpoint folders. Its attribute ``sparsifier``
    is the ``Sparsifier``, None before training.

    Args:
        sparsity: as for ``Sparsifier``.
        options: likewise, without ``total_steps``, which the trainer knows.

    Raises:
        SparsightError: transformers is not installed.
    """
    base = _imported(("transformers",), "TrainerCallback", "pip install transformers[torch]")

    class SparsifyCallback(base):  # type: ignore[misc, valid-type]
        """Steps a sparsifier once for each optimiser step."""

        sparsifier: Sparsifier | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
            self.sparsifier = Sparsifier(model, sparsity, **options)
            if state.global_step > 0:
                named = args.resume_from_checkpoint
                folder = Path(named) if isinstance(named, str) else _checkpoint(args, state)
                try:
                    saved = torch.load(folder / FILE, map_location="cpu", weights_only=True)
                except OSError:
                    raise SparsightError(
                        f"{folder} has no {FILE}: that training was not sparsified, or its folder was moved."
                    ) from None
                self.sparsifier.load_state_dict(saved)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            assert self.sparsifier is not None
            self.sparsifier.step(min(state.global_step / state.max_steps, 1.0))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.sparsifier is not None and state.is_world_process_zero:
                with replacing(_checkpoint(args, state) / FILE) as temporary:
                    torch.save(self.sparsifier.state_dict(), temporary)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.sparsifier is not None:
                self.sparsifier.remove()

    return SparsifyCallback()


def _imported(modules: tuple[str, ...], name: str, remedy: str) -> Any:
    """``name`` from the first of ``modules`` that is there; one in use already goes first."""
    for module in sorted(modules, key=lambda module: module not in sys.modules):
        try:
            return getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    raise SparsightError(f"{modules[0]} is not installed: {remedy}.")


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
