"""The callbacks inside the real training loops, where those are installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsight import SparsightError
from sparsight.prune import callbacks

DATA = [(torch.randn(4, 6), torch.randint(3, (4,))) for _ in range(12)]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def sparsity(model: nn.Module) -> float:
    weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)]
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


@pytest.fixture
def lightning() -> Any:
    return pytest.importorskip("lightning.pytorch")


def fit(lightning: Any, folder: Path, epochs: int, callback: Any, resume: Path | None = None) -> nn.Module:
    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network()
            self.seen: list[float] = []

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            self.seen.append(sparsity(self))
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)

    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        limit_train_batches=12,
        accumulate_grad_batches=3,
        callbacks=[callback, _Stop(epochs)] if epochs < 2 else [callback],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        default_root_dir=folder,
    )
    trainer.fit(
        module, torch.utils.data.DataLoader(DATA, batch_size=None), ckpt_path=resume, weights_only=True
    )
    trainer.save_checkpoint(folder / "last.ckpt")
    return module


def _Stop(epochs: int) -> Any:
    from lightning.pytorch import Callback

    class Stop(Callback):  # type: ignore[misc]
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = trainer.current_epoch + 1 >= epochs

    return Stop()


@pytest.mark.filterwarnings("ignore")
def test_lightning(lightning: Any, tmp_path: Path) -> None:
    callback = callbacks.lightning_callback(0.75, schedule="linear")
    module = fit(lightning, tmp_path, 2, callback)
    assert sparsity(module) == 0.75
    # 24 batches, a step after every third.
    assert module.seen == pytest.approx([0.75 * (index // 3) / 8 for index in range(24)], abs=1 / 144)
    assert callback.sparsifier.report().sparsity == 0.75


@pytest.mark.filterwarnings("ignore")
def test_lightning_resumes(lightning: Any, tmp_path: Path) -> None:
    whole = callbacks.lightning_callback(0.75)
    fit(lightning, tmp_path / "whole", 2, whole)
    fit(lightning, tmp_path / "part", 1, callbacks.lightning_callback(0.75))
    rest = callbacks.lightning_callback(0.75)
    fit(lightning, tmp_path / "rest", 2, rest, tmp_path / "part" / "last.ckpt")
    for name, mask in whole.sparsifier.masks.items():
        assert torch.equal(mask, rest.sparsifier.masks[name])


class Classifier(nn.Module):
    """As a Trainer wants it: the loss comes out first."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network()

    def forward(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.network(x)
        return nn.functional.cross_entropy(scores, labels), scores


def run(folder: Path, callback: Any, resume: str | None = None) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    model = Classifier()
    samples = [
        {"x": x, "labels": label} for images, labels in DATA for x, label in zip(images, labels, strict=True)
    ]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=8,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        save_steps=4,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        seed=0,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=samples, callbacks=[callback])
    trainer.train(resume_from_checkpoint=resume)
    return model


@pytest.mark.filterwarnings("ignore")
def test_trainer_and_its_resuming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = pytest.importorskip("transformers.trainer")
    # The folder of tests next to this file would pass for the package of that name.
    monkeypatch.setattr(trainer, "is_datasets_available", lambda: False)
    whole = callbacks.trainer_callback(0.75)
    model = run(tmp_path, whole)
    assert sparsity(model) == 0.75
    again = callbacks.trainer_callback(0.75)
    run(tmp_path, again, str(tmp_path / "checkpoint-4"))
    for name, mask in whole.sparsifier.masks.items():
        assert torch.equal(mask, again.sparsifier.masks[name])
    (tmp_path / "checkpoint-4" / callbacks.FILE).unlink()
    with pytest.raises(SparsightError, match=r"has no sparsifier\.pt"):
        run(tmp_path, callbacks.trainer_callback(0.75), str(tmp_path / "checkpoint-4"))


@pytest.mark.parametrize(
    ("make", "modules"),
    [
        (callbacks.lightning_callback, ["lightning.pytorch", "pytorch_lightning"]),
        (callbacks.trainer_callback, ["transformers"]),
    ],
)
def test_what_is_not_installed_is_said(
    make: Any, modules: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SparsightError, match="is not installed: pip install"):
        make(0.5)
