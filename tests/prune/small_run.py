"""Train a small network in a process of its own, so that a test can kill it: python small_run.py FOLDER."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sparsight.prune.datasets import AUGMENTATIONS, Batches, Split
from sparsight.prune.devices import Numerics, PlainEngine
from sparsight.prune.loop import Epoch, LoopOptions, fit
from sparsight.prune.sparsifier import Sparsifier

EPOCHS = 4
ENGINE = PlainEngine(torch.device("cpu"), Numerics("float32", "contiguous"))


def data(count: int = 96) -> Split:
    """Images whose class shows: bright at the top, or at the bottom."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 120, (count, 1, 8, 8), np.uint8)
    images[labels == 0, :, :4] += 120
    images[labels == 1, :, 4:] += 120
    return Split(images, labels)


def network(dropout: float = 0.2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(512, 2),
    )


def train(
    saved: Path | None, criterion: str = "movement", pause: float = 0.0, **changes: object
) -> tuple[nn.Module, list[Epoch]]:
    """A run with all that has state: momentum, batch norm, dropout, augmentation, gathered scores."""
    torch.set_num_threads(1)
    model = network()
    options = {"mean": (0.3,), "std": (0.2,)}
    batches = Batches(data(), 16, augmentation=AUGMENTATIONS["flip"], **options)  # type: ignore[arg-type]
    test = Batches(data(40), 16, **options)  # type: ignore[arg-type]
    sparsifier = Sparsifier(model, 0.8, criterion=criterion)

    def watch(done: int, total: int, epoch: Epoch | None) -> None:
        if epoch is not None and saved is not None:
            (saved.parent / f"epoch{epoch.number}").touch()
        time.sleep(pause)

    rows = fit(
        model,
        batches,
        test,
        LoopOptions(EPOCHS, **{"lr": 0.01, "seed": 5, **changes}),  # type: ignore[arg-type]
        ENGINE,
        sparsifier=sparsifier,
        saved=saved,
        about={"data": "made up"},
        watch=watch,
    )
    return model, rows


if __name__ == "__main__":
    train(Path(sys.argv[1]) / "checkpoint.pt", pause=0.05)
