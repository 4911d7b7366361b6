"""Pruning on Fashion-MNIST: a slice of ``benchmarks/prune/schedules.py``, and a whole run by the command."""

from __future__ import annotations

import json
import statistics
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
from sparsight.prune.loop import LoopOptions, evaluate, fit
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


def trained(data: ImageSet, schedule: str | None, seed: int) -> float:
    """Accuracy after four epochs on 10,000 images, 95% of the convolutions' weights removed."""
    torch.manual_seed(seed)
    layout = Numerics("float32", "channels_last")
    model = nets.build("convnet", input_shape=data.input_shape, widths=(16, 16, 32, 32))
    model.to(memory_format=layout.memory_format)  # type: ignore[call-overload]
    scaling = {"mean": data.mean, "std": data.std, "memory_format": layout.memory_format}
    train = Batches(data.train.first(10_000), 64, seed=seed, **scaling)  # type: ignore[arg-type]
    glance = Batches(data.test.first(256), 256, **scaling)  # type: ignore[arg-type]
    test = Batches(data.test, 1000, **scaling)  # type: ignore[arg-type]
    engine = PlainEngine(torch.device("cpu"), layout)
    sparsifier = None if schedule is None else Sparsifier(model, 0.95, schedule=schedule, layers="features.*")
    options = LoopOptions(4, lr=4e-3, optimiser="adam", weight_decay=0.0, seed=seed)
    fit(model, train, glance, options, engine, sparsifier=sparsifier)
    if sparsifier is not None:
        assert sparsifier.report().sparsity == pytest.approx(0.95, abs=1e-3)
        sparsifier.remove()
    return evaluate(model, test, engine)[1]


def test_which_schedule_keeps_most(fashion: ImageSet) -> None:
    """What three seeds tell apart of ``make schedules``: one-cycle > AGP, one-shot > iterative."""
    torch.set_num_threads(1)
    schedules = ("one_cycle", "agp", "one_shot", "iterative")
    runs = {name: [trained(fashion, name, seed) for seed in range(3)] for name in schedules}
    mean = {name: statistics.mean(accuracies) for name, accuracies in runs.items()}
    # Measured: 79.07, 77.99, 76.92 and 67.23%; of the differences to one-cycle pruning, seed by seed, the
    # smallest is 0.9 points. AGP and one-shot pruning are not told apart on the larger budget.
    assert trained(fashion, None, 0) > mean["one_cycle"] + 0.02
    assert mean["one_cycle"] > max(mean["agp"], mean["one_shot"]), runs
    assert min(mean["agp"], mean["one_shot"]) > mean["iterative"] + 0.03, runs


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
