"""How much of its input a network needs: accuracy with all of it and with what input selection leaves.

Dense and selected networks have the same start, the same order of batches and the same number of steps; the
selected one's masks grow within these. Each seed trains all of them in turn.

    python benchmarks/prune/inputs.py --data mnist --network mlp --draw kept.svg
    python benchmarks/prune/inputs.py --data mnist --network mlp --features lines
    python benchmarks/prune/inputs.py --data cifar10 --network convnet --front-end block_dct --size 4
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from sparsight import nets
from sparsight.nets.export import export
from sparsight.prune import datasets, explain, select_inputs
from sparsight.prune.inputs import FRONT_ENDS, Selection

Step = Callable[[float], None]


class Trainer:
    """One budget of training, the same for every network that is given to it."""

    def __init__(
        self, data: datasets.ImageSet, images: int | None, epochs: int, size: int, seed: int
    ) -> None:
        # Evenly spaced: some data sets come sorted by class.
        every = 1 if images is None else max(len(data.train) // images, 1)
        split = datasets.Split(data.train.images[::every], data.train.labels[::every])
        self.batches = datasets.Batches(split, size, data.mean, data.std, seed=seed)
        self.test = datasets.Batches(data.test, 1000, data.mean, data.std)
        self.epochs = epochs

    def train(self, model: nn.Module, step: Step | None = None) -> None:
        """Adam under the 1cycle learning-rate policy."""
        model.train()
        total = self.epochs * len(self.batches)
        optimizer = torch.optim.Adam(model.parameters())
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=total)
        done = 0
        for epoch in range(self.epochs):
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
        """Per cent of the test images."""
        model.eval()
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in self.test.ordered())
        return 100 * right / len(self.test.labels)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--network", default="mlp", choices=["mlp", "convnet"])
    parser.add_argument("--front-end", choices=sorted(FRONT_ENDS))
    parser.add_argument("--size", type=int, default=4, help="of the front end's blocks")
    parser.add_argument("--features", default="auto")
    parser.add_argument("--input-sparsity", type=float, nargs="+", default=[0.5, 0.6, 0.7, 0.8])
    parser.add_argument("--sparsity", type=float, default=0.0, help="of the other layers")
    parser.add_argument("--criterion", default="flap")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--images", type=int, help="train on about so many, evenly spaced")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--draw", type=Path, help="what the last network keeps, as .svg or .png")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = datasets.load(arguments.data, arguments.root)
    front_end = arguments.front_end and FRONT_ENDS[arguments.front_end](arguments.size)
    shape = front_end.feature_shape(data.input_shape) if front_end else data.input_shape

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        network = nets.build(arguments.network, input_shape=shape, num_classes=len(data.classes))
        return nn.Sequential(copy.deepcopy(front_end), network) if front_end else network

    accuracies: dict[str, list[float]] = {}
    rows: dict[str, list[str]] = {}
    selection: Selection | None = None
    for seed in range(arguments.seeds):
        trainer = Trainer(data, arguments.images, arguments.epochs, arguments.batch, seed)
        dense = build(seed)
        trainer.train(dense)
        accuracies.setdefault("all", []).append(trainer.accuracy(dense))
        parameters = sum(parameter.numel() for parameter in dense.parameters())
        size = len(export(dense, data.input_shape))
        values = torch.Size(data.input_shape).numel()
        rows["all"] = [f"{values}", f"{parameters}", f"{size / 1000:.0f}"]
        for sparsity in arguments.input_sparsity:
            selection = select_inputs(
                build(seed),
                trainer.train,
                sparsity=arguments.sparsity,
                input_sparsity=sparsity,
                features=arguments.features,
                criterion=arguments.criterion,
                input_shape=data.input_shape,
            )
            name = f"{1 - sparsity:.0%}"
            accuracies.setdefault(name, []).append(trainer.accuracy(selection.fused()))
            kept = torch.Size(selection.selector.output_shape).numel()
            parameters = sum(parameter.numel() for parameter in selection.model.parameters())
            rows[name] = [f"{kept}", f"{parameters}", f"{len(selection.export()) / 1000:.0f}"]
    table = Table(box=None, title=f"{arguments.network} on {data.name}, {arguments.seeds} seeds")
    headings = ("input", "values", "parameters", "ONNX kB", "accuracy %", "spread", "against all")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, values_ in accuracies.items():
        mean = statistics.mean(values_)
        against = mean - statistics.mean(accuracies["all"])
        table.add_row(
            name,
            *rows[name],
            f"{mean:.2f}",
            f"{min(values_):.2f} to {max(values_):.2f}",
            "" if name == "all" else f"{against:+.2f}",
        )
    Console(width=110).print(table)
    if arguments.draw and selection is not None:
        explain(selection, (data.test.images[0] / 255.0).astype("float32")).save(arguments.draw)


if __name__ == "__main__":
    main()
