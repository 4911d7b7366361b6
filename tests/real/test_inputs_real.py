"""Input selection on handwritten digits: half of the pixels are enough, and the file shrinks with them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sparsight import nets
from sparsight.nets.export import export
from sparsight.prune import Selector, datasets, explain, select_inputs

pytestmark = pytest.mark.real

EPOCHS = 5
SEEDS = 3
REMOVED = 0.5
TOLERATED = 0.15
"""Points between means over the seeds. What a seed gains or loses has a standard deviation of 0.10, so the
mean of three has one of 0.06; this is two and a half times that."""


class Budget:
    """The same images in the same order for every network."""

    def __init__(self, data: datasets.ImageSet, seed: int) -> None:
        self.batches = datasets.Batches(data.train, 128, data.mean, data.std, seed=seed)
        self.test = datasets.Batches(data.test, 1000, data.mean, data.std)

    def train(self, model: nn.Module, step: Callable[[float], None] | None = None) -> None:
        model.train()
        total = EPOCHS * len(self.batches)
        optimizer = torch.optim.Adam(model.parameters())
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=total)
        done = 0
        for epoch in range(EPOCHS):
            for images, labels in self.batches.shuffled(epoch):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images), labels).backward()
                optimizer.step()
                rate.step()
                done += 1
                if step is not None:
                    step(done / total)

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        model.eval()
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in self.test.ordered())
        return 100 * right / len(self.test.labels)


def test_half_of_the_pixels_are_enough(assets: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = datasets.load("mnist", assets / "classification" / "mnist")
    whole, half = [], []
    for seed in range(SEEDS):
        budget = Budget(data, seed)
        torch.manual_seed(seed)
        dense = nets.build("mlp")
        budget.train(dense)
        whole.append(budget.accuracy(dense))
        torch.manual_seed(seed)
        selection = select_inputs(nets.build("mlp"), budget.train, sparsity=0, input_sparsity=REMOVED)
        half.append(budget.accuracy(selection.fused()))
        assert selection.kept.sum() <= (1 - REMOVED) * 784
    assert statistics.mean(whole) > 97.5
    assert statistics.mean(half) > statistics.mean(whole) - TOLERATED

    # What was never lit is not asked for.
    never = data.train.images.max(axis=0).ravel() == 0
    assert never.sum() > 50
    assert not selection.kept[never].any()
    explanation = explain(selection, (data.test.images[0] / 255.0).astype(np.float32))
    # The kept pixels lie where digits are written.
    assert explanation.map[7:21, 7:21].mean() > 0.7 > 0.4 > explanation.map[:3].mean()
    explanation.save(tmp_path / "kept.png")

    # Files: three quarters of the network's size sat in the first layer; data are stored at half the size.
    selection.save(tmp_path / "half")
    assert (tmp_path / "half" / "model.onnx").stat().st_size < 0.6 * len(export(dense, (1, 28, 28)))
    packed = Selector.load(tmp_path / "half" / "selector.json").pack(data.test.images)
    assert packed.dtype == np.uint8
    assert packed.nbytes <= (1 - REMOVED) * data.test.images.nbytes
    session = nets.Session(tmp_path / "half" / "model.onnx", "cpu")
    mean, std = data.mean[0], data.std[0]
    logits = session(((packed.astype(np.float32) / 255) - mean) / std)
    assert 100 * float((logits.argmax(1) == data.test.labels).mean()) == pytest.approx(half[-1], abs=0.05)
