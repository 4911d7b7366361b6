from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_run
import torch
from small_run import ENGINE, EPOCHS, data, network, train
from torch import nn

from sparsight import SparsightError
from sparsight.prune.datasets import Batches
from sparsight.prune.loop import LoopOptions, evaluate, fit, one_cycle_lr, weight_sparsity


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_one_cycle_is_pytorchs() -> None:
    total = 20_001  # PyTorch puts the peak one step earlier; over so many, that does not show
    optimiser = torch.optim.Adam([nn.Parameter(torch.zeros(1))], 1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.4, total_steps=total)
    for step in range(total):
        share, momentum = one_cycle_lr(step / (total - 1))
        assert 0.4 * share == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-4)
        assert momentum == pytest.approx(optimiser.param_groups[0]["betas"][0], abs=1e-4)
        optimiser.step()
        if step < total - 1:
            reference.step()
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.4 * one_cycle_lr(1.0)[0], rel=1e-6)


def test_it_learns_and_prunes() -> None:
    model, rows = train(None)
    assert [row.number for row in rows] == list(range(1, EPOCHS + 1))
    assert rows[-1].accuracy > 0.9
    assert rows[-1].loss < rows[0].loss
    assert rows[-1].sparsity == pytest.approx(0.8, abs=0.01)
    assert rows[-1].sparsity == weight_sparsity(model)


def same(one: list, other: list) -> bool:
    drop = [[{**dataclasses.asdict(row), "seconds": 0} for row in rows] for rows in (one, other)]
    return drop[0] == drop[1]


class _Killed(Exception):
    pass


@pytest.mark.parametrize("criterion", ["l1", "movement", "taylor"])
def test_a_run_that_ended_early_goes_on_to_the_same_result(
    tmp_path: Path, criterion: str, monkeypatch
) -> None:
    whole, whole_rows = train(None, criterion)
    steps = 0
    original = small_run.Sparsifier.step

    def dying(self, progress=None) -> None:
        nonlocal steps
        steps += 1
        if steps == 15:  # in the third epoch of six steps each
            raise _Killed
        original(self, progress)

    monkeypatch.setattr(small_run.Sparsifier, "step", dying)
    with pytest.raises(_Killed):
        train(tmp_path / "checkpoint.pt", criterion)
    monkeypatch.setattr(small_run.Sparsifier, "step", original)
    assert (tmp_path / "epoch2").exists() and not (tmp_path / "epoch3").exists()
    resumed, resumed_rows = train(tmp_path / "checkpoint.pt", criterion)
    assert same(resumed_rows, whole_rows)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_killed_by_the_system_and_started_again(tmp_path: Path) -> None:
    command = [sys.executable, small_run.__file__, str(tmp_path)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not (tmp_path / "epoch2").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / f"epoch{EPOCHS}").exists()
    resumed, rows = train(tmp_path / "checkpoint.pt")
    whole, whole_rows = train(None)
    assert same(rows, whole_rows)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_finished_run_is_not_done_again(tmp_path: Path) -> None:
    first, rows = train(tmp_path / "checkpoint.pt")
    for number in range(1, EPOCHS + 1):
        (tmp_path / f"epoch{number}").unlink()
    again, rows_again = train(tmp_path / "checkpoint.pt")
    assert rows == rows_again
    assert not list(tmp_path.glob("epoch*"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "checkpoint.pt")
    with pytest.raises(SparsightError, match=r"another run \(seed was 5 and is now 6\).*--fresh"):
        train(tmp_path / "checkpoint.pt", seed=6)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"format": print}, 2)])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(SparsightError, match="damaged checkpoint"):
        train(tmp_path / "checkpoint.pt")


def test_a_checkpoint_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path(tmp_path / "evil").touch, ())

    torch.save({"format": "sparsight training 1", "x": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(SparsightError, match="damaged"):
        train(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "evil").exists()


def test_evaluation_counts_every_image(tmp_path: Path) -> None:
    model = network().eval()
    split = data(41)
    got_loss, got_accuracy = evaluate(model, Batches(split, 16, (0.3,), (0.2,)), ENGINE)
    x = (torch.from_numpy(split.images) / 255 - 0.3) / 0.2
    logits = model(x)
    assert got_accuracy == pytest.approx(float((logits.argmax(1).numpy() == split.labels).mean()))
    wanted = nn.functional.cross_entropy(logits, torch.from_numpy(split.labels))
    assert got_loss == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "0 epochs"),
        ({"lr": 0.0}, "learning rate"),
        ({"lr": float("nan")}, "learning rate"),
        ({"optimiser": "adma"}, "did you mean 'adam'"),
        ({"weight_decay": -1.0}, "weight decay"),
        ({"lr": 1e30, "optimiser": "sgd"}, "went astray in epoch 1"),
    ],
)
def test_bad_options(changes: dict[str, object], message: str) -> None:
    options = LoopOptions(**{"epochs": 2, **changes})  # type: ignore[arg-type]
    batches = Batches(data(), 16, (0.3,), (0.2,))
    with pytest.raises(SparsightError, match=message):
        fit(network(), batches, batches, options, ENGINE)
