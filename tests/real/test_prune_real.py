"""Pruning on Fashion-MNIST: a slice of ``benchmarks/prune/schedules.py``, and a whole run by the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sparsight import nets
from sparsight.app.prune_cmd import prune_app
from sparsight.prune import datasets
from sparsight.prune.datasets import Batches, ImageSet
from sparsight.prune.devices import Numerics, PlainEngine
from sparsight.prune.loop import LoopOptions, fit
from sparsight.prune.sparsifier import Sparsifier

pytestmark = [pytest.mark.real, pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def fashion() -> ImageSet:
    return datasets.load("fashion_mnist")


def test_what_is_known_of_the_data(fashion: ImageSet) -> None:
    assert (len(fashion.train), len(fashion.test)) == (60_000, 10_000)
    assert np.bincount(fashion.train.labels).tolist() == [6_000] * 10
    # The moments that the literature gives for its training images.
    assert fashion.mean == pytest.approx([0.2860], abs=1e-4)
    assert fashion.std == pytest.approx([0.3530], abs=1e-4)


def test_mnist_is_mnist(assets: Path) -> None:
    mnist = datasets.load("mnist", assets / "classification" / "mnist")
    assert np.bincount(mnist.train.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert mnist.mean == pytest.approx([0.1307], abs=1e-4)
    assert mnist.std == pytest.approx([0.3081], abs=1e-4)


def test_pictures_in_archives() -> None:
    cifar = datasets.load("cifar10")
    assert cifar.input_shape == (3, 32, 32)
    assert np.bincount(cifar.train.labels).tolist() == [5_000] * 10
    assert cifar.mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=2e-3)
    caltech = datasets.load("caltech101", size=32)
    assert len(caltech.classes) == 101
    assert len(caltech.train) + len(caltech.test) == 8_677


def trained(data: ImageSet, schedule: str | None) -> float:
    """Accuracy after two epochs on 8,000 images, 95% of the weights removed."""
    torch.manual_seed(0)
    model = nets.build("convnet", input_shape=data.input_shape, widths=(16, 16, 32, 32))
    train = Batches(data.train.first(8_000), 64, data.mean, data.std)
    test = Batches(data.test.first(4_000), 500, data.mean, data.std)
    engine = PlainEngine(torch.device("cpu"), Numerics("float32", "contiguous"))
    sparsifier = None if schedule is None else Sparsifier(model, 0.95, schedule=schedule)
    options = LoopOptions(2, lr=4e-3, optimiser="adam", weight_decay=0.0)
    rows = fit(model, train, test, options, engine, sparsifier=sparsifier)
    if schedule is not None:
        assert rows[-1].sparsity == pytest.approx(0.95, abs=1e-3)
    return rows[-1].accuracy


def test_a_schedule_that_starts_early_and_slowly_keeps_more(fashion: ImageSet) -> None:
    dense, one_cycle, iterative = (trained(fashion, name) for name in (None, "one_cycle", "iterative"))
    assert dense > 0.8
    assert dense > one_cycle > iterative + 0.02


def test_half_the_filters_for_little(tmp_path: Path) -> None:
    arguments = [
        "run", "--dataset", "fashion_mnist", "--model", "convnet(widths=(16, 32, 32))", "--images", "10000",
        "--epochs", "2", "--batch", "64", "--lr", "4e-3", "--round-to", "8", "--out", str(tmp_path),
        "--device", "cpu", "--baseline",
    ]  # fmt: skip
    CliRunner().invoke(prune_app, arguments, catch_exceptions=False)
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert result["accuracy"] > result["dense_accuracy"] - 0.1
    assert result["after"]["macs"] < 0.35 * result["before"]["macs"]
    assert result["after"]["bytes"] < 0.4 * result["before"]["bytes"]
    assert not result["skipped"]
    data = datasets.load("fashion_mnist")
    images = (data.test.images[:1000] / 255 - data.mean[0]) / data.std[0]
    logits = nets.Session(tmp_path / "model.onnx", "cpu")(images.astype(np.float32))
    accuracy = float((logits.argmax(1) == data.test.labels[:1000]).mean())
    assert accuracy == pytest.approx(result["accuracy"], abs=0.04)
