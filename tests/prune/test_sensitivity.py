from __future__ import annotations

import copy

import pytest
import torch
from small_run import ENGINE, data, train
from torch import nn

from sparsight import SparsightError
from sparsight.prune import Sparsifier
from sparsight.prune.datasets import Batches
from sparsight.prune.loop import evaluate
from sparsight.prune.sensitivity import highest, sensitivity


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.set_num_threads(1)
    return train(None, "l1")[0].eval()


@pytest.fixture(scope="module")
def batches() -> Batches:
    return Batches(data(), 16, (0.3,), (0.2,))


@pytest.mark.parametrize("criterion", ["l1", "taylor", "snip"])
def test_each_layer_alone(model: nn.Module, batches: Batches, criterion: str) -> None:
    before = copy.deepcopy(model.state_dict())
    done: list[tuple[int, int]] = []
    found = sensitivity(
        model,
        batches,
        ENGINE,
        granularity="weight",
        criterion=criterion,
        sparsities=(0.9, 0.5),
        watch=lambda *count: done.append(count),
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found.sparsities == (0.0, 0.5, 0.9)
    assert set(found.accuracies) == {"0", "5"}
    assert found.accuracy == evaluate(model, batches, ENGINE)[1]
    assert all(values[0] == found.accuracy for values in found.accuracies.values())
    assert done == [(count, 4) for count in range(1, 5)]


def test_it_is_what_masking_that_layer_gives(model: nn.Module, batches: Batches) -> None:
    found = sensitivity(model, batches, ENGINE, granularity="filter", sparsities=(0.75,))
    masked = copy.deepcopy(model)
    with Sparsifier(masked, 0.75, granularity="filter", layers=["0"]) as sparsifier:
        sparsifier.mask()
        assert found.accuracies["0"][1] == evaluate(masked, batches, ENGINE)[1]
    assert list(found.accuracies) == ["0"]  # the last layer's filters are the classes


@pytest.mark.parametrize(
    ("accuracies", "wanted"),
    [
        ((0.9, 0.9, 0.9), 0.8),
        ((0.9, 0.88, 0.84), 0.2),  # 0.89 lies halfway along the first stretch
        ((0.9, 0.89, 0.5), 0.4),
        ((0.9, 0.5, 0.9), 0.01),  # what recovers later does not count
    ],
)
def test_suggestions(accuracies: tuple[float, ...], wanted: float) -> None:
    assert highest((0.0, 0.4, 0.8), accuracies, 0.89) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": 2.0}, "may be lost"),
        ({"sparsities": ()}, "sparsities to try"),
        ({"sparsities": (1.0,)}, "sparsities to try"),
        ({"criterion": "l3"}, "no criterion"),
        ({"layers": ["nothing"]}, "nothing"),
    ],
)
def test_bad_options(model: nn.Module, batches: Batches, options: dict, message: str) -> None:
    with pytest.raises(SparsightError, match=message):
        sensitivity(model, batches, ENGINE, **options)
