from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import data, network
from torch import nn

from sparsight import SparsightError, nets
from sparsight.prune import devices
from sparsight.prune.datasets import Batches
from sparsight.prune.devices import Numerics, start
from sparsight.prune.loop import LoopOptions, fit
from sparsight.prune.sparsifier import Sparsifier

SHAPE = (1, 12, 12)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSIGHT_CACHE", str(tmp_path))
    torch.set_num_threads(1)


@pytest.fixture
def model() -> nn.Module:
    return nets.build("convnet", input_shape=SHAPE, widths=(8,))


def test_what_is_asked_is_what_is_used(model: nn.Module) -> None:
    engine = start(model, SHAPE, 8, device="cpu", precision="bfloat16", layout="channels_last")
    assert engine.numerics == Numerics("bfloat16", "channels_last")
    with engine.autocast():
        assert model(torch.zeros(2, *SHAPE)).dtype == torch.bfloat16


def test_a_choice_is_measured_once_and_kept(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    chosen = start(model, SHAPE, 8, device="cpu").numerics
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    monkeypatch.setattr(devices, "_quickest", None)
    assert start(model, SHAPE, 8, device="cpu").numerics == chosen


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        ({}, Numerics("float32", "contiguous")),
        ({("float32", "channels_last"): 0.95}, Numerics("float32", "contiguous")),  # too little to matter
        ({("float32", "channels_last"): 0.8}, Numerics("float32", "channels_last")),
        (
            {("bfloat16", "contiguous"): 0.5, ("float32", "channels_last"): 0.8},
            Numerics("bfloat16", "contiguous"),
        ),
    ],
)
def test_the_quickest_wins_where_it_wins_clearly(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch, seconds: dict, wanted: Numerics
) -> None:
    took = lambda model, images, way: seconds.get((way.precision, way.layout), 1.0)  # noqa: E731
    monkeypatch.setattr(devices, "_step", took)
    assert start(model, SHAPE, 8, device="cpu").numerics == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "no device called 'gpu'"),
        ({"precision": "float16"}, "did you mean 'bfloat16'"),
        ({"layout": "last"}, "no layout"),
        ({"devices": 0}, "0 devices"),
    ],
)
def test_bad_options(model: nn.Module, options: dict, message: str) -> None:
    with pytest.raises(SparsightError, match=message):
        start(model, SHAPE, 8, **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_no_gpu(model: nn.Module) -> None:
    with pytest.raises(SparsightError, match="no CUDA device"):
        start(model, SHAPE, 8, device="cuda")


def test_fabric_missing(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(SparsightError, match="pip install lightning-fabric"):
        start(model, SHAPE, 8, device="cpu", devices=2)


def train_shared(saved: Path, processes: int) -> None:
    """A short run on so many processes; every one of them calls this."""
    torch.set_num_threads(1)
    model = network(dropout=0.0)
    model[1] = nn.Identity()  # a batch norm would see its own process's images only
    engine = start(
        model, SHAPE, 16, device="cpu", devices=processes, precision="float32", layout="contiguous"
    )
    train, test = (
        Batches(data(count), 16, (0.3,), (0.2,), rank=engine.rank, world=engine.world) for count in (96, 41)
    )
    options = LoopOptions(3, lr=0.01, optimiser="sgd")
    fit(model, train, test, options, engine, sparsifier=Sparsifier(model, 0.8), saved=saved)


@pytest.mark.slow
def test_two_processes_come_to_what_one_comes_to(tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric")
    train_shared(tmp_path / "one.pt", 1)
    command = [sys.executable, __file__, str(tmp_path / "two.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    for name, value in one["model"].items():
        assert torch.allclose(value, two["model"][name], atol=1e-5), name
        assert torch.equal(value == 0, two["model"][name] == 0)
    for row, other in zip(one["history"], two["history"], strict=True):
        assert row["accuracy"] == other["accuracy"]
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)


if __name__ == "__main__":
    train_shared(Path(sys.argv[1]), 2)
